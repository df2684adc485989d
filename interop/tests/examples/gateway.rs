//! A substitute for `cargo lambda watch` and API Gateway: converts requests to events for the function, and its results to responses.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde_json::json;
use tokio::runtime::Runtime;
use tower_chain::{Chain, Provided, Response, Server};

use crate::support::aws::{Lambda, event};

/// A gateway to one function. It is stopped when this is dropped.
pub(crate) struct Gateway {
    pub(crate) lambda: Lambda,
    _runtime: Runtime,
}

impl Gateway {
    pub(crate) fn start(port: u16) -> Self {
        let runtime = Runtime::new().unwrap();
        let lambda = runtime.block_on(async {
            let lambda = Lambda::start().await;
            let gateway = Chain::new().provide(lambda.clone()).all(pass_on).build();
            let server = Server::bind(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(server.serve_until(std::future::pending(), gateway));
            lambda
        });
        Self { lambda, _runtime: runtime }
    }
}

async fn pass_on(
    Provided(lambda): Provided<Lambda>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers: BTreeMap<_, _> =
        headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    let query = uri.query().unwrap_or_default();
    let body = (!body.is_empty()).then_some(&*body);
    let event = event(method.as_str(), uri.path(), query, json!(headers), body);
    let answer = lambda.ask(event).await;
    let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let Some(status) = status else {
        return (StatusCode::BAD_GATEWAY, Json(answer)).into_response();
    };
    let mut response =
        (status, answer["body"].as_str().unwrap_or_default().to_owned()).into_response();
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        let name = http::HeaderName::try_from(name).unwrap();
        response.headers_mut().insert(name, value.as_str().unwrap().parse().unwrap());
    }
    response
}
