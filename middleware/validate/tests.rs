use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Valid, Validate};
use crate::{Body, Chain, Form, Json, Path, Query};

#[derive(Clone, Debug, Deserialize, validator::Validate)]
struct NewUser {
    #[validate(length(min = 1))]
    name: String,
    #[validate(email)]
    email: String,
}

async fn send(service: crate::ChainService, req: Request<Body>) -> (StatusCode, Value) {
    let res = service.oneshot(req).await.unwrap();
    let status = res.status();
    let bytes = res.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    (status, body)
}

fn post_json(body: &str) -> Request<Body> {
    Request::post("/")
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn all_errors_come_at_once() {
    let chain =
        Chain::new().post(async |Valid(user): Valid<Json<NewUser>>| user.name.clone()).build();
    let (status, body) = send(chain.clone(), post_json(r#"{"name":"","email":"x"}"#)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        body["errors"],
        json!([
            {"location": "body", "pointer": "/email", "code": "email", "detail": "Must be an email address"},
            {"location": "body", "pointer": "/name", "code": "length", "detail": "Must not be empty", "params": {"min": 1}},
        ])
    );
    let (status, body) = send(chain, post_json(r#"{"name":"Ann","email":"a@b.de"}"#)).await;
    assert_eq!((status, body), (StatusCode::OK, json!("Ann")));
}

#[tokio::test]
async fn every_extractor_is_validated_in_a_handler() {
    #[derive(Clone, Deserialize, validator::Validate)]
    struct Page {
        #[validate(range(min = 1, max = 9))]
        n: u32,
    }
    let chain = Chain::new()
        .at("/q", |c| c.get(async |Valid(Query(page)): Valid<Query<Page>>| page.n.to_string()))
        .at("/p/{n}", |c| {
            c.get(async |Valid(Path(page)): Valid<Path<Page>>, _: String| page.n.to_string())
        })
        .at("/f", |c| c.post(async |Valid(Form(page)): Valid<Form<Page>>| page.n.to_string()))
        .build();
    for (path, location) in [("/q?n=0", "query"), ("/p/10", "path")] {
        let req = Request::get(path).body(Body::empty()).unwrap();
        let (status, body) = send(chain.clone(), req).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert_eq!(body["errors"][0]["location"], location, "{path}");
        assert_eq!(body["errors"][0]["pointer"], "/n", "{path}");
    }
    let form = |text: &'static str| {
        Request::post("/f")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(text))
            .unwrap()
    };
    assert_eq!(send(chain.clone(), form("n=0")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send(chain, form("n=3")).await, (StatusCode::OK, json!(3)));
}

#[tokio::test]
async fn the_step_provides_the_data_and_leaves_the_body() {
    let chain = Chain::new()
        .use_(Validate::<Json<NewUser>>::new())
        .post(async |Valid(user): Valid<NewUser>, text: String| {
            format!("{} {}", user.name, text.len())
        })
        .build();
    let (status, body) = send(chain.clone(), post_json(r#"{"name":"Ann","email":"a@b.de"}"#)).await;
    assert_eq!((status, body), (StatusCode::OK, json!("Ann 31")));
    let (status, _) = send(chain, post_json(r#"{"name":"Ann","email":"a"}"#)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}
