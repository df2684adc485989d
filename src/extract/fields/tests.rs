//! What a small request can cost, and what a refusal may contain.

use http::Request;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::extract::ByField;
use crate::{Body, Chain, ChainService, Fields, Json};

const JSON: &str = "application/json";

/// The status of the response, and its JSON.
async fn send(chain: &ChainService, kind: &str, body: impl Into<Body>) -> (u16, Value) {
    let req = Request::post("/").header("content-type", kind).body(body.into()).unwrap();
    let res = chain.handle(req).await;
    let status = res.status().as_u16();
    let text = res.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&text).unwrap_or_default())
}

/// A variant is read from the members beside the tag, which may be those of the variant around it.
#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Expr {
    Eq { a: u8 },
    Not(Box<Expr>),
    Maybe(Option<Box<Expr>>),
    Other(Box<Mutual>),
    Outer(Flat),
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Mutual {
    Other(Box<Expr>),
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
struct Flat {
    #[serde(flatten)]
    inner: Box<Expr>,
}

#[tokio::test]
async fn a_variant_that_contains_its_own_type_does_not_overflow_the_stack() {
    let chain = Chain::new().post(async |_: ByField<Json<Expr>>| "fine").build();
    let list = Chain::new().post(async |_: ByField<Json<Vec<Expr>>>| "fine").build();
    for op in ["not", "maybe", "other", "outer"] {
        let body = json!({"op": op});
        assert_eq!(send(&chain, JSON, body.to_string()).await.0, 422, "{op}");
        assert_eq!(send(&list, JSON, json!([body, body]).to_string()).await.0, 422, "{op}");
    }
    let (status, body) = send(&chain, JSON, r#"{"op":"eq","a":"x"}"#).await;
    assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!("/a")));
}

/// The first variant contains the type five times, so stand-ins to a depth of eight would have 390,625 values.
#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
enum Wide {
    Five(Box<Wide>, Box<Wide>, Box<Wide>, Box<Wide>, Box<Wide>),
    Leaf,
}

#[test]
fn a_stand_in_is_small() {
    fn values(tree: &super::document::Tree<'_>) -> usize {
        use super::document::Tree;
        1 + match tree {
            Tree::Object(members) => members.iter().map(|(_, tree)| values(tree)).sum(),
            Tree::List(items) => items.iter().map(values).sum(),
            _ => 0,
        }
    }
    for another in [false, true] {
        let made = super::stand_in::of(Wide::shape(), another);
        assert!(made.is_none_or(|(tree, _)| values(&tree) <= 4000));
    }
}
