//! JSON or a form, whichever the client sends.

use axum_core::extract::FromRequest;
use http::header::ACCEPT;
use http::{HeaderValue, Method, StatusCode};
use serde_core::de::DeserializeOwned;

use crate::extract::input::RawInput;
use crate::extract::media_type::ContentType;
use crate::extract::typed_input::Input;
use crate::extract::{Document, Form, Json, Location, TextAsJson};
use crate::{Error, Request};

/// Data from a JSON body or from an HTML form, by the content type of the request, as Next.js and Express read it.
///
/// A body of the type `application/x-www-form-urlencoded`, and the query of a GET or HEAD request, is read as by [`Form`]; another body as by
/// [`Json`]. Any other content type is a 415, whose `Accept` lists both. A field must have a type that both formats have: a form has no numbers
/// within flattened fields, for instance.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::extract::JsonOrForm;
/// use tower_chain::{Chain, Valid};
/// use validator::Validate;
///
/// #[derive(Deserialize, Validate)]
/// struct Post {
///     #[validate(length(min = 1))]
///     title: String,
/// }
///
/// let chain = Chain::new().post(async |Valid(JsonOrForm(post)): Valid<JsonOrForm<Post>>| post.title);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JsonOrForm<T>(pub T);

super::transparent!(JsonOrForm);

impl<T: DeserializeOwned + Send> Input for JsonOrForm<T> {
    super::data_of!(T);
    const LOCATION: Location = Location::Body;

    async fn read(req: &mut Request) -> Result<RawInput, Error> {
        let is_query = [Method::GET, Method::HEAD].contains(req.method());
        if is_query || ContentType::is_form_body(req.headers()) {
            return Form::<T>::read(req).await.map(RawInput::for_form);
        }
        let is_json =
            ContentType::is_json_body(req.headers()) || TextAsJson::allows((&*req).into());
        if !is_json {
            let detail = "The content type must be application/json or application/x-www-form-urlencoded, in UTF-8";
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
                .with_header(ACCEPT, JSON_OR_FORM));
        }
        Json::<T>::read(req).await
    }

    fn parse(source: &RawInput) -> Result<Self, Error> {
        match source.is_form() {
            true => Form::parse(source).map(|Form(data)| Self(data)),
            false => Json::parse(source).map(|Json(data)| Self(data)),
        }
    }

    fn document(source: &RawInput) -> Option<Document<'_>> {
        match source.is_form() {
            true => Form::<T>::document(source),
            false => Json::<T>::document(source),
        }
    }
}

super::from_body!(JsonOrForm);

const JSON_OR_FORM: HeaderValue =
    HeaderValue::from_static("application/json, application/x-www-form-urlencoded");

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde::Deserialize;
    use tower::ServiceExt;

    use super::*;
    use crate::{Body, Chain};

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Post {
        post_title: String,
        #[serde(default)]
        is_draft: bool,
    }

    #[tokio::test]
    async fn json_and_forms_are_read_by_their_content_type() {
        let show = async |JsonOrForm(post): JsonOrForm<Post>| {
            format!("{} {}", post.post_title, post.is_draft)
        };
        let chain = Chain::new()
            .at("/", |c| c.get(show).post(show))
            .at("/text", |c| c.provide(TextAsJson).post(show))
            .build();
        let json = r#"{"postTitle":"a","isDraft":true}"#;
        let form = "postTitle=a&isDraft=on";
        for (method, path, kind, body, status, pointer) in [
            ("POST", "/", "application/json", json, 200, ""),
            ("POST", "/", "application/vnd.api+json; charset=utf-8", json, 200, ""),
            ("POST", "/", "application/x-www-form-urlencoded", form, 200, ""),
            ("POST", "/", "Application/X-WWW-Form-Urlencoded; charset=\"UTF-8\"", form, 200, ""),
            ("GET", "/?postTitle=a&isDraft=on", "", "", 200, ""),
            ("POST", "/", "application/json", "{}", 422, "/postTitle"),
            ("POST", "/", "application/x-www-form-urlencoded", "isDraft=on", 422, "/postTitle"),
            ("GET", "/?isDraft=on", "", "", 400, "/postTitle"),
            ("POST", "/", "application/json", form, 400, ""),
            ("POST", "/", "application/x-www-form-urlencoded", json, 422, "/postTitle"),
            ("POST", "/", "application/json; charset=latin1", json, 415, ""),
            ("POST", "/", "application/x-www-form-urlencoded; charset=latin1", form, 415, ""),
            ("POST", "/", "multipart/form-data; boundary=x", form, 415, ""),
            ("POST", "/", "", json, 415, ""),
            // What `fetch` sends for a text.
            ("POST", "/", "text/plain;charset=UTF-8", json, 415, ""),
            ("POST", "/text", "text/plain;charset=UTF-8", json, 200, ""),
            ("POST", "/text", "text/plain", json, 200, ""),
            ("POST", "/text", "application/json", json, 200, ""),
            ("POST", "/text", "text/plain;charset=latin1", json, 415, ""),
            ("POST", "/text", "text/html", json, 415, ""),
            ("POST", "/text", "", json, 415, ""),
            ("POST", "/text", "text/plain", form, 400, ""),
        ] {
            let mut req = http::Request::builder().method(method).uri(path);
            if !kind.is_empty() {
                req = req.header("content-type", kind);
            }
            let response =
                chain.clone().oneshot(req.body(Body::from(body)).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{path} {kind} {body}");
            if status == 415 {
                assert!(response.headers().contains_key("accept"), "{kind}");
            }
            let error = Error::of(&response).cloned();
            let found = error.as_ref().and_then(|error| error.field_errors().first());
            assert_eq!(found.map_or("", |field| field.pointer()), pointer, "{path} {kind} {body}");
            if status == 200 {
                let text = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(text, "a true", "{path} {kind}");
            }
        }
    }

    #[tokio::test]
    async fn an_encoded_body_is_a_415_that_names_what_is_accepted() {
        use crate::extract::{Binary, Text};
        let chain = Chain::new()
            .at("/json", |c| c.post(async |Json(text): Json<String>| text))
            .at("/form", |c| c.post(async |Form(post): Form<Post>| post.post_title))
            .at("/both", |c| c.post(async |JsonOrForm(post): JsonOrForm<Post>| post.post_title))
            .at("/text", |c| c.post(async |Text(text): Text| text))
            .at("/binary", |c| c.post(async |Binary(bytes): Binary| bytes))
            .build();
        let form = "application/x-www-form-urlencoded";
        for (path, kind, encoding, status) in [
            ("/json", "application/json", "gzip", 415),
            ("/json", "application/json", "br", 415),
            ("/json", "application/json", "identity, gzip", 415),
            ("/json", "application/json", "x", 415),
            ("/form", form, "gzip", 415),
            ("/both", form, "deflate", 415),
            ("/text", "text/plain", "zstd", 415),
            ("/form", form, "identity", 200),
            ("/form", form, " Identity ,", 200),
            ("/text", "text/plain", "", 200),
            // It takes any bytes.
            ("/binary", "application/gzip", "gzip", 200),
        ] {
            let req = http::Request::post(path)
                .header("content-type", kind)
                .header("content-encoding", encoding)
                .body(Body::from("postTitle=a"))
                .unwrap();
            let response = chain.clone().oneshot(req).await.unwrap();
            assert_eq!(response.status(), status, "{path} {encoding}");
            let accepted = response.headers().get("accept-encoding");
            assert_eq!(accepted.map(|v| v.as_bytes()), (status == 415).then_some(&b"identity"[..]));
        }
    }
}
