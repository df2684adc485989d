//! A form that is rendered again with its errors.

use std::fmt;

use axum_core::extract::FromRequest;
use http::Method;

use crate::extract::{FieldError, form_data, read_body};
use crate::{Error, Request};

/// A form as it was submitted, and its data or its errors: to render the page again, with each error beside its field.
///
/// `E` is the extractor of the form, such as `Form<T>` or `Valid<Form<T>>`. If single fields are at fault, the handler runs, and
/// [`result`](Self::result) is the refusal. Any other refusal, such as a 413 or 415, is the response. The body is read up to
/// [its limit](crate::extract::MaxBody). It must be the last argument of a handler.
///
/// The submitted values are texts of the client: escape them in HTML. Don't render passwords again.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::extract::Submitted;
/// use tower_chain::{Chain, Form, IntoResponse, Redirect, Response, StatusCode, Valid};
/// use validator::Validate;
///
/// #[derive(Deserialize, Validate)]
/// struct Contact {
///     #[validate(email(message = "Enter an email address"))]
///     email: String,
/// }
///
/// async fn contact(form: Submitted<Valid<Form<Contact>>>) -> Response {
///     match form.result() {
///         Ok(Valid(contact)) => {
///             println!("{}", contact.email);
///             Redirect::to("/thanks").see_other().into_response()
///         }
///         Err(error) => {
///             let email = escape(form.value("email").unwrap_or_default());
///             let wrong = form.errors("email").map(|e| escape(e.detail())).collect::<Vec<_>>().join(", ");
///             let page = format!("<form method=post><input name=email value=\"{email}\">{wrong}</form>");
///             (error.status(), [("content-type", "text/html; charset=utf-8")], page).into_response()
///         }
///     }
/// }
///
/// fn escape(text: &str) -> String {
///     text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
/// }
///
/// let chain = Chain::new().post(contact);
/// # let _ = chain.build();
/// ```
pub struct Submitted<E> {
    result: Result<E, Error>,
    pairs: Vec<(String, String)>,
}

impl<E> Submitted<E> {
    /// The data, or the refusal with the errors of the fields.
    ///
    /// # Errors
    ///
    /// If fields are at fault.
    pub fn result(&self) -> Result<&E, &Error> {
        self.result.as_ref()
    }

    /// The data, or the refusal, without the submitted values.
    ///
    /// # Errors
    ///
    /// If fields are at fault.
    pub fn into_result(self) -> Result<E, Error> {
        self.result
    }

    /// The first value that was submitted with this name, as in the form: `items[0][sku]`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// All values that were submitted with this name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.pairs.iter().filter(move |(own, _)| own == name);
        named.map(|(_, value)| &**value)
    }

    /// All names and values, in the order of the form.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The errors of the field with this name, as in the form. The name `items[0][sku]` has those with the pointer `/items/0/sku`, and `tags` and
    /// `tags[]` those of the list and of its items. The empty name has the errors of the form as a whole.
    pub fn errors(&self, name: &str) -> impl Iterator<Item = &FieldError> {
        let pointer = form_data::pointer(name);
        let is_list = !name.is_empty();
        let errors = self.result.as_ref().err().map(Error::field_errors).unwrap_or_default();
        errors.iter().filter(move |error| match error.pointer().strip_prefix(&*pointer) {
            Some("") => true,
            Some(rest) => is_list && is_item(rest),
            None => false,
        })
    }
}

/// Whether the rest of a pointer is an index.
fn is_item(rest: &str) -> bool {
    rest.strip_prefix('/')
        .is_some_and(|index| !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit()))
}

impl<S, E> FromRequest<S> for Submitted<E>
where
    S: Sync,
    E: FromRequest<S, Rejection = Error> + Send,
{
    type Rejection = Error;

    async fn from_request(mut req: Request, state: &S) -> Result<Self, Error> {
        let text = match [Method::GET, Method::HEAD].contains(req.method()) {
            true => req.uri().query().unwrap_or_default().to_owned().into(),
            false => {
                let body = read_body(&mut req).await?;
                *req.body_mut() = body.clone().into();
                body
            }
        };
        let result = E::from_request(req, state).await;
        match result {
            Err(error) if error.field_errors().is_empty() => Err(error),
            result => Ok(Self { result, pairs: form_data::texts(&text) }),
        }
    }
}

/// The submitted values are left out.
impl<E> fmt::Debug for Submitted<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitted")
            .field("error", &self.result.as_ref().err())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde::Deserialize;
    use tower::ServiceExt;

    use super::*;
    use crate::extract::{BracketSyntax, MaxBody};
    use crate::{Body, Chain, Form};

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Order {
        name: String,
        #[serde(default)]
        counts: Vec<u8>,
        #[serde(default)]
        items: Vec<Item>,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Item {
        n: u8,
    }

    /// Lists the errors beside the values, as a page does.
    async fn page(form: Submitted<Form<Order>>) -> String {
        assert!(!format!("{form:?}").contains("SECRET"));
        let line = |name: &str| {
            let codes: Vec<_> = form.errors(name).map(|error| error.code().to_owned()).collect();
            format!(
                "{name}={} {}",
                form.values(name).collect::<Vec<_>>().join("|"),
                codes.join("|")
            )
        };
        match form.result() {
            Ok(Form(order)) => format!("ok {} {}", order.name, form.pairs().count()),
            Err(error) => {
                let names = ["name", "counts", "counts[]", "items[1][n]", "items[0][n]", ""];
                format!("{} {}", error.status().as_u16(), names.map(line).join(", "))
            }
        }
    }

    #[tokio::test]
    async fn a_handler_has_the_errors_and_what_was_submitted() {
        let chain = Chain::new()
            .provide(MaxBody::bytes(100))
            .at("/", |c| c.get(page).post(page))
            .at("/brackets", |c| c.provide(BracketSyntax::new()).post(page))
            .build();
        let long = "x".repeat(101);
        for (method, path, body, status, expected) in [
            ("POST", "/", "name=a&counts=1", 200, "ok a 2"),
            (
                "POST",
                "/",
                "counts=1",
                200,
                "422 name= missing, counts=1 , counts[]= , items[1][n]= , items[0][n]= , = ",
            ),
            (
                "POST",
                "/",
                "name=%3Cb%3E&counts=1&counts=SECRET",
                200,
                "422 name=<b> , counts=1|SECRET type, counts[]= type, items[1][n]= , items[0][n]= , = ",
            ),
            (
                "GET",
                "/?counts=1",
                "",
                200,
                "400 name= missing, counts=1 , counts[]= , items[1][n]= , items[0][n]= , = ",
            ),
            (
                "POST",
                "/brackets",
                "name=a&items[0][n]=1&items[1][n]=x",
                200,
                "422 name=a , counts= , counts[]= , items[1][n]=x type, items[0][n]=1 , = ",
            ),
            (
                "POST",
                "/brackets",
                "name=a&counts[]=1&counts[]=x",
                200,
                "422 name=a , counts= type, counts[]=1|x type, items[1][n]= , items[0][n]= , = ",
            ),
            (
                "POST",
                "/brackets",
                "name=a&x[=1",
                200,
                "422 name=a , counts= , counts[]= , items[1][n]= , items[0][n]= , = brackets",
            ),
            // No field is at fault.
            ("POST", "/", "name=%ff", 400, ""),
            ("POST", "/", &long, 413, ""),
        ] {
            let req = http::Request::builder()
                .method(method)
                .uri(path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(body.to_owned()))
                .unwrap();
            let response = chain.clone().oneshot(req).await.unwrap();
            assert_eq!(response.status(), status, "{path} {body}");
            let text = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&text);
            assert!(status != 200 || text == expected, "{path} {body}\n{text}\n{expected}");
        }
        let req = http::Request::post("/").body(Body::from("name=a")).unwrap();
        assert_eq!(chain.oneshot(req).await.unwrap().status(), 415);
    }
}
