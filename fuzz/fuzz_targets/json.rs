//! For any JSON, the response contains only names that the type declares, and no submitted text.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use tower_chain::extract::ByField;
use tower_chain::{Body, Chain, ChainService, Fields, Json, Valid};
use tower_chain_fuzz::send;
use validator::Validate;

#[derive(Deserialize, Fields, Validate)]
#[serde(rename_all = "camelCase")]
struct Order {
    #[validate(length(min = 2))]
    user_name: String,
    #[serde(rename = "e-mail")]
    #[validate(email)]
    email: Option<String>,
    #[serde(default)]
    #[validate(nested)]
    lines: Vec<Line>,
    #[serde(default)]
    #[validate(nested)]
    map: BTreeMap<String, Line>,
    #[serde(default)]
    #[allow(dead_code)]
    limits: BTreeMap<String, u8>,
    #[allow(dead_code)]
    shape: Option<Shape>,
}

#[derive(Deserialize, Fields, Validate)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "qty")]
    #[validate(range(min = 1))]
    count: u8,
}

#[derive(Deserialize, Fields)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum Shape {
    Point,
    Circle { radius: u8 },
    Named(BTreeMap<String, u8>),
}

#[derive(Deserialize, Fields, Validate)]
struct Flat {
    #[validate(length(min = 2))]
    name: String,
    #[serde(flatten)]
    #[validate(nested)]
    rest: BTreeMap<String, Line>,
}

const DECLARED: [&str; 14] = [
    "userName", "e-mail", "lines", "map", "limits", "shape", "qty", "point", "circle", "named",
    "radius", "name", "rest", "*",
];

static CHAIN: LazyLock<ChainService> = LazyLock::new(|| {
    Chain::new()
        .at("/order", |c| c.post(async |_: Valid<Json<Order>>| "fine"))
        .at("/flat", |c| c.post(async |_: Valid<Json<Flat>>| "fine"))
        .at("/by_field/order", |c| c.post(async |_: Valid<ByField<Json<Order>>>| "fine"))
        .at("/by_field/flat", |c| c.post(async |_: Valid<ByField<Json<Flat>>>| "fine"))
        .at("/any", |c| c.post(async |Json(value): Json<serde_json::Value>| Json(value)))
        .build()
});

fuzz_target!(|data: &[u8]| {
    let post = |path: &str| {
        http::Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(data.to_vec()))
            .expect("a request")
    };
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let theirs = serde_json::from_slice::<serde_json::Value>(text);
    let (status, body) = send(&CHAIN, post("/any"));
    assert_eq!(status, if theirs.is_ok() { 200 } else { 400 });
    if let Ok(theirs) = theirs {
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).expect("JSON"), theirs);
    }
    for path in ["/order", "/flat", "/by_field/order", "/by_field/flat"] {
        let (status, body) = send(&CHAIN, post(path));
        if status == 200 || status == 400 {
            continue;
        }
        assert_eq!(status, 422);
        let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let errors = answer["errors"].as_array().expect("a list");
        assert!((1..=100).contains(&errors.len()));
        for error in errors {
            let pointer = error["pointer"].as_str().expect("a pointer");
            for step in pointer.split('/').skip(1) {
                let index = step.parse::<usize>().is_ok();
                assert!(index || DECLARED.contains(&step), "{pointer}");
            }
        }
    }
});
