use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tower::ServiceExt;

use super::*;
use crate::extract::{ByField, InvalidInput, Path};
use crate::test_log::Log;
use crate::{Body, Chain, Error, Form, Json, Query};

struct Slug;

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match &*String::deserialize(deserializer)? {
            "good" => Ok(Self),
            "careless" => Err(D::Error::custom("careless is not good")),
            // What a client could send, in the hope that a type repeats it.
            forged if forged.contains('\u{1f}') => Err(D::Error::custom(forged)),
            _ => Err(D::Error::custom(InputError::new("slug", "Is not a slug at line 3"))),
        }
    }
}

#[derive(Deserialize, crate::Fields)]
#[allow(dead_code, reason = "only read")]
struct Page {
    slug: Option<Slug>,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    ok: bool,
}

#[derive(Default, Deserialize, crate::Fields)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    News,
    Blog,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only read")]
struct Flat {
    #[serde(flatten)]
    page: Numbers,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only read")]
struct Numbers {
    n: Option<u32>,
    text: Option<String>,
}

#[tokio::test]
async fn refusals_help_and_repeat_nothing() {
    let chain = Chain::new()
        .at("/json", |c| c.post(async |_: Json<Page>| "fine"))
        .at("/form", |c| c.post(async |_: Form<Page>| "fine"))
        .at("/fields/json", |c| c.post(async |_: ByField<Json<Page>>| "fine"))
        .at("/fields/form", |c| c.post(async |_: ByField<Form<Page>>| "fine"))
        .at("/slug/{slug}", |c| c.post(async |_: Path<Slug>| "fine"))
        .at("/kind/{kind}", |c| c.post(async |_: Path<Kind>| "fine"))
        .at("/fields/slug/{slug}", |c| c.post(async |_: ByField<Path<Page>>| "fine"))
        .at("/fields/kind/{kind}", |c| c.post(async |_: ByField<Path<Page>>| "fine"))
        .build();
    let forged = "0000000000000000: a\u{1f}SECRET\u{1f}";
    for (field, value, code, detail) in [
        ("slug", "bad", "slug", "Is not a slug at line 3"),
        ("slug", "careless", "invalid", "Is not valid"),
        ("slug", forged, "invalid", "Is not valid"),
        ("kind", "SECRET", "choice", "Must be one of news, blog"),
        ("kind", "x`, expected `SECRET", "choice", "Must be one of news, blog"),
    ] {
        let json = serde_json::json!({ field: value }).to_string();
        let form = serde_html_form::to_string([(field, value)]).unwrap();
        let form_type = "application/x-www-form-urlencoded";
        let in_path =
            percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        let (path, by_field) =
            (format!("/{field}/{in_path}"), format!("/fields/{field}/{in_path}"));
        for (path, kind, body) in [
            ("/json", "application/json", json.clone()),
            ("/form", form_type, form.clone()),
            ("/fields/json", "application/json", json),
            ("/fields/form", form_type, form),
            (&*path, "", String::new()),
            (&*by_field, "", String::new()),
        ] {
            let req = http::Request::post(path).header("content-type", kind);
            let response =
                chain.clone().oneshot(req.body(Body::from(body)).unwrap()).await.unwrap();
            let error = Error::of(&response).cloned().unwrap();
            let [found] = error.field_errors() else { panic!("{value}") };
            assert_eq!((found.code(), found.detail()), (code, detail), "{path} {value}");
            assert_eq!(found.pointer(), format!("/{field}"));
            assert!(!error.members().any(|(_, json)| json.contains("SECRET")), "{value}");
        }
    }
    for (path, kind, body) in [
        ("/json", "application/json", r#"{"ok":"yes"}"#),
        ("/form", "application/x-www-form-urlencoded", "ok=yes"),
    ] {
        let req = http::Request::post(path).header("content-type", kind);
        let response = chain.clone().oneshot(req.body(Body::from(body)).unwrap()).await.unwrap();
        let error = Error::of(&response).cloned().unwrap();
        assert_eq!(error.field_errors()[0].detail(), "Must be true or false");
    }
}

#[tokio::test]
async fn a_type_that_no_query_can_fill_is_a_mistake_of_the_program() {
    let log = Log::start();
    let chain =
        Chain::new().get(async |_: Query<Flat>| "fine").post(async |_: Form<Flat>| "fine").build();
    for (query, status) in [("", 200), ("text=a", 200), ("n=5", 500), ("n=x", 500)] {
        let get = http::Request::get(format!("/?{query}")).body(Body::empty()).unwrap();
        let post = http::Request::post("/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(query))
            .unwrap();
        for req in [get, post] {
            assert_eq!(chain.clone().oneshot(req).await.unwrap().status(), status, "{query}");
        }
    }
    let text = log.text();
    assert_eq!(text.matches("ERROR").count(), 4, "{text}");
    assert!(text.contains("Flat: a number or bool in a flattened field"), "{text}");
}

#[tokio::test]
async fn a_translation_covers_titles_and_details() {
    let invalid = InvalidInput::new()
        .max_values(3)
        .translate(|error, _| (error.code() == "missing").then(|| "Fehlt".to_owned()))
        .translate_problem(|error, headers| match headers.get("accept-language") {
            Some(_) => error.with_title("Ungültig").with_detail("Bitte prüfen"),
            None => error,
        });
    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Need {
        a: u8,
    }
    let chain = Chain::new()
        .provide(invalid)
        .at("/json", |c| c.post(async |_: Json<Need>| "fine"))
        .at("/form", |c| c.post(async |_: Form<Need>| "fine"))
        .at("/path/{a}", |c| c.post(async |_: Path<u8>| "fine"))
        .build();
    for (path, body, status) in [
        ("/json", "{}", 422),
        ("/json", "{", 400),
        ("/json", "", 400),
        ("/form", "b=1", 422),
        ("/form", "a=%ff", 400),
        ("/form", "a&a&a&a", 413),
        ("/path/x", "", 400),
    ] {
        for (language, title) in [(Some("de"), "Ungültig"), (None, "")] {
            let kind = match path {
                "/json" => "application/json",
                _ => "application/x-www-form-urlencoded",
            };
            let mut req = http::Request::post(path).header("content-type", kind);
            if let Some(language) = language {
                req = req.header("accept-language", language);
            }
            let response =
                chain.clone().oneshot(req.body(Body::from(body)).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{path} {body}");
            let error = Error::of(&response).cloned().unwrap();
            let translated = (error.title(), error.detail()) == (title, "Bitte prüfen");
            assert_eq!(translated, language.is_some(), "{path} {body} {error}");
        }
    }
}
