//! Comparison with other implementations: URL parsing of browsers, axum's JSON parsing, axum's handlers.

use axum::routing::{get, post};
use axum_core::extract::FromRequest;
use axum_core::response::IntoResponse;
use futures_util::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use proptest::prelude::*;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tower::ServiceExt;
use tower_chain::extract::Binary;
use tower_chain::{Body, Chain, Json, Query, Redirect, Valid};
use validator::Validate;

#[derive(Debug, Deserialize, PartialEq, Serialize, Validate)]
struct Item {
    #[serde(rename = "n")]
    #[validate(range(min = 1))]
    number: u8,
    #[serde(default)]
    list: Vec<String>,
}

proptest! {
    /// `Url` resolves references like browsers (WHATWG URL).
    #[test]
    fn a_redirect_never_leaves_the_origin(target in r"[/\\:@?#.%\t\r\n a-bE2F0é-]{0,12}|(https?|javascript|//|/\\|\\/):?[/\\]{0,3}[a-b.@:]{0,8}") {
        let response = Redirect::to(&*target).into_response();
        if let Some(location) = response.headers().get("location") {
            let base = Url::parse("https://home.example/dir/page").unwrap();
            let joined = base.join(location.to_str().unwrap()).unwrap();
            prop_assert_eq!(joined.origin(), base.origin());
        } else {
            prop_assert_eq!(response.status(), 400);
        }
    }

    #[test]
    fn an_allowed_origin_is_the_only_other_one(target in r"https?:[/\\]{0,3}(good\.example|evil\.example|[a-b])?[@:/\\?#.]{0,3}(good\.example|evil\.example|80|443)?[/?#a@]{0,4}") {
        let response = Redirect::to(&*target).allow_origin("https://good.example").into_response();
        if let Some(location) = response.headers().get("location") {
            let base = Url::parse("https://home.example/").unwrap();
            let joined = base.join(location.to_str().unwrap()).unwrap();
            let good = Url::parse("https://good.example").unwrap();
            prop_assert!(joined.origin() == base.origin() || joined.origin() == good.origin(), "{}", joined);
        }
    }

    #[test]
    fn json_is_read_as_axum_reads_it(text in r#"[{]("n":([0-9]{1,3}|-1|"x"|null|1e2|1\.0)|"list":\[("a",?)*\]|"m":\{\}|,| ){0,4}[}]?( |x)?"#) {
        let req = || {
            Request::post("/")
                .header("content-type", "application/json")
                .body(Body::from(text.clone()))
                .unwrap()
        };
        let ours = Json::<Item>::from_request(req(), &()).now_or_never().unwrap();
        let theirs = axum::Json::<Item>::from_request(req(), &()).now_or_never().unwrap();
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours.0, theirs.0),
            (Err(ours), Err(theirs)) => {
                prop_assert_eq!(ours.status(), theirs.into_response().status());
            }
            (ours, theirs) => prop_assert!(false, "{ours:?} {theirs:?} {text}"),
        }
    }

    /// Validation returns a response for any input, and the same one each time.
    #[test]
    fn refusals_are_the_same_each_time(text in r#"\{("(n|list|x)":(0|7|\[("a"|\[\])?\]|\{"n":0\}|"s"),?){0,3}"n":0\}"#) {
        let answer = || {
            let req = Request::post("/")
                .header("content-type", "application/json")
                .body(Body::from(text.clone()))
                .unwrap();
            let refusal = Valid::<Json<Item>>::from_request(req, &()).now_or_never().unwrap();
            let members = |error: tower_chain::Error| {
                error.members().map(|(name, json)| format!("{name}{json}")).collect::<String>()
            };
            refusal.map(|_| ()).map_err(members)
        };
        let first = answer();
        prop_assert!(first.is_err());
        prop_assert_eq!(answer(), first);
    }
}

#[tokio::test]
async fn the_extractors_work_in_axum_and_axums_work_here() {
    let app = axum::Router::new()
        .route("/json", post(async |Valid(Json(item)): Valid<Json<Item>>| Json(item)))
        .route("/query", get(async |Query(item): Query<Item>| item.number.to_string()));
    let chain = Chain::new()
        .at("/json", |c| c.post(async |axum::Json(item): axum::Json<Item>| axum::Json(item)))
        .at("/query", |c| {
            c.get(async |query: axum::extract::Query<Item>| query.0.number.to_string())
        })
        .build();
    for (uri, body, status) in [
        ("/json", r#"{"n":1}"#, 200),
        ("/json", r#"{"n":"x"}"#, 422),
        ("/query?n=1", "", 200),
        ("/query?n=x", "", 400),
    ] {
        let req = || {
            let method = if body.is_empty() { "GET" } else { "POST" };
            let req = Request::builder().method(method).uri(uri);
            req.header("content-type", "application/json").body(Body::from(body)).unwrap()
        };
        let theirs = app.clone().oneshot(req()).await.unwrap();
        let ours = chain.handle(req()).await;
        assert_eq!((theirs.status().as_u16(), ours.status().as_u16()), (status, status), "{uri}");
        if status == 200 {
            let theirs = theirs.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(ours.into_body().collect().await.unwrap().to_bytes(), theirs);
        }
    }
}

/// A webhook: the middleware reads the body to check it, and the handler still receives it.
#[tokio::test]
async fn a_middleware_may_read_the_body() {
    async fn signed(
        mut next: tower_chain::Next<'_>,
    ) -> Result<tower_chain::Response, tower_chain::Error> {
        let body = tower_chain::extract::read_body(&mut next).await?;
        if !body.starts_with(b"signed") {
            return Err(tower_chain::Error::new(http::StatusCode::UNAUTHORIZED, "Not signed"));
        }
        *next.body_mut() = body.into();
        Ok(next.run().await)
    }
    let chain =
        Chain::new().use_(signed).post(async |Binary(body): Binary| body.len().to_string()).build();
    for (body, status, length) in
        [("signed ".repeat(20_000), 200, "140000"), ("x".to_owned(), 401, "")]
    {
        let res = chain.handle(Request::post("/").body(Body::from(body)).unwrap()).await;
        assert_eq!(res.status(), status);
        if !length.is_empty() {
            assert_eq!(res.into_body().collect().await.unwrap().to_bytes(), length);
        }
    }
}
