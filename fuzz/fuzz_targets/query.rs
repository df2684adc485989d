//! A query is parsed like a form, and never causes a 5xx.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use tower_chain::extract::Params;
use tower_chain::{Body, Chain, ChainService, Json, Query};
use tower_chain_fuzz::send;

#[derive(Deserialize, Serialize)]
struct All {
    #[serde(default)]
    a: Vec<i16>,
    b: Option<char>,
    f: Option<f32>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

static CHAIN: LazyLock<ChainService> = LazyLock::new(|| {
    Chain::new()
        .at("/pairs", |c| c.get(async |Query(pairs): Query<Vec<(String, String)>>| Json(pairs)))
        .at("/all", |c| c.get(async |Query(all): Query<All>| Json(all)))
        .at("/merged/{name}", |c| c.get(async |Params(named): Params<Named>| Json(named.name)))
        .build()
});

fuzz_target!(|data: &[u8]| {
    let get = |path: &str| {
        let mut target = path.as_bytes().to_vec();
        target.push(b'?');
        target.extend_from_slice(data);
        let uri = http::Uri::try_from(target).ok()?;
        http::Request::get(uri).body(Body::empty()).ok()
    };
    let Some(req) = get("/pairs") else { return };
    let query = req.uri().query().unwrap_or_default().as_bytes().to_vec();
    let (status, body) = send(&CHAIN, req);
    if status == 200 {
        let ours: Vec<(String, String)> = serde_json::from_slice(&body).expect("JSON");
        let theirs: Vec<(String, String)> =
            url::form_urlencoded::parse(&query).into_owned().collect();
        assert_eq!(ours, theirs);
    } else {
        assert_eq!(status, 400);
    }
    if let Some(req) = get("/all") {
        let (status, body) = send(&CHAIN, req);
        let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert!(
            status == 400 || status == 200 && (answer["f"].is_null() || answer["f"].is_number())
        );
    }
    if let Some(req) = get("/merged/mine") {
        let (status, body) = send(&CHAIN, req);
        // The path parameter replaces the query parameter.
        assert!(status == 400 || (status, &*body) == (200, b"\"mine\""));
    }
});
