//! `#[derive(Fields)]`: the names of the client, and every error at once.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test may fail, and fields are only read by serde"
)]

mod attributes;
mod complete;
mod names;
mod numbers;
mod oracle;
mod schemas;

use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tower_chain::{Body, ChainService};

async fn send(chain: &ChainService, req: Request<Body>) -> (u16, Value) {
    let response = chain.handle(req).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn json(path: &str, body: impl ToString) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

fn form(path: &str, body: &str) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// The pointers and codes of a refusal, as `/name length`.
fn errors(body: &Value) -> Vec<String> {
    let text = |error: &Value, member: &str| error[member].as_str().unwrap().to_owned();
    let errors = body["errors"].as_array().unwrap_or_else(|| panic!("{body}"));
    errors
        .iter()
        .map(|error| format!("{} {}", text(error, "pointer"), text(error, "code")))
        .collect()
}
