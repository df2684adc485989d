//! Pairs are parsed as browsers write them, and the error for an invalid form names its fields.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use tower_chain::{Body, Chain, ChainService, Form, Json, Valid};
use tower_chain_fuzz::send;
use validator::Validate;

#[derive(Deserialize, Serialize, Validate)]
struct All {
    #[serde(default)]
    #[validate(length(max = 3))]
    a: Vec<u8>,
    b: Option<u32>,
    #[serde(default)]
    c: bool,
    #[validate(length(min = 2))]
    s: Option<String>,
    #[validate(range(min = 1.0))]
    f: Option<f64>,
}

static CHAIN: LazyLock<ChainService> = LazyLock::new(|| {
    Chain::new()
        .at("/pairs", |c| c.post(async |Form(pairs): Form<Vec<(String, String)>>| Json(pairs)))
        .at("/all", |c| c.post(async |Valid(Form(all)): Valid<Form<All>>| Json(all)))
        .build()
});

fuzz_target!(|data: &[u8]| {
    let post = |path: &str| {
        http::Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(data.to_vec()))
            .expect("a request")
    };
    let (status, body) = send(&CHAIN, post("/pairs"));
    if status == 200 {
        let ours: Vec<(String, String)> = serde_json::from_slice(&body).expect("JSON");
        let theirs: Vec<(String, String)> =
            url::form_urlencoded::parse(data).into_owned().collect();
        assert_eq!(ours, theirs);
    } else {
        assert_eq!(status, 400);
    }
    let (status, body) = send(&CHAIN, post("/all"));
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    match status {
        200 => assert!(answer["f"].is_null() || answer["f"].as_f64().is_some_and(|f| f >= 1.0)),
        400 => {}
        422 => assert!(!answer["errors"].as_array().expect("a list").is_empty()),
        _ => panic!("{status}"),
    }
});
