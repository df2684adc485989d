//! What tower-http does well, in a chain: CORS, CSRF, compression, request ids, timeouts, files, traces without secrets.
//!
//! Run with
//!
//! ```sh
//! cargo run --example layers --features problem-details,serve
//! ```
//!
//! ```sh
//! curl -i -X OPTIONS -H 'origin: https://app.example' -H 'access-control-request-method: GET' localhost:3000/hello
//! # HTTP/1.1 204 No Content
//! # access-control-allow-origin: https://app.example
//! # access-control-allow-methods: GET,POST
//! curl -i -H 'x-request-id: 7' localhost:3000/hello
//! # HTTP/1.1 200 OK
//! # x-request-id: 7
//! #
//! # hello
//! curl -i -X POST -H 'sec-fetch-site: cross-site' -H 'origin: https://evil.example' localhost:3000/hello
//! # HTTP/1.1 403 Forbidden
//! # content-type: application/problem+json
//! curl -i localhost:3000/files/Cargo.toml
//! # HTTP/1.1 200 OK
//! # content-type: ..
//! #
//! # [package]
//! # ..
//! ```

use std::error::Error;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use tower_chain::{Chain, ChainService, Next, ProblemDetails, Request, Response};
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::services::ServeDir;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Drops an id that is no short word: it goes into logs.
async fn checked_id(mut req: Request, next: Next<'_>) -> Response {
    let plain = |id: &HeaderValue| {
        let id = id.as_bytes();
        id.len() <= 64 && id.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    if !req.headers().get(REQUEST_ID).is_some_and(plain) {
        req.headers_mut().remove(REQUEST_ID);
    }
    next.run(req).await
}

/// The layer answers a preflight with 200 and no body, which is a 204.
async fn preflight_204(req: Request, next: Next<'_>) -> Response {
    let preflight = *req.method() == Method::OPTIONS
        && req.headers().contains_key("access-control-request-method");
    let mut res = next.run(req).await;
    if preflight && res.status() == StatusCode::OK {
        *res.status_mut() = StatusCode::NO_CONTENT;
        res.headers_mut().remove("content-length");
    }
    res
}

fn site() -> Result<ChainService, Box<dyn Error>> {
    let origin: HeaderValue = "https://app.example".parse()?;
    Ok(Chain::new()
        .always(checked_id)
        .always(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .always(PropagateRequestIdLayer::new(REQUEST_ID))
        .always(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .always(TraceLayer::new_for_http())
        .always(ProblemDetails::new())
        .always(preflight_204)
        .always(CorsLayer::new().allow_origin(origin).allow_methods([Method::GET, Method::POST]))
        .use_(CsrfLayer::new())
        .use_(CompressionLayer::new())
        .use_(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
        .at("/hello", |c| c.get(async || "hello\n").post(async || "posted\n"))
        .service("/files", ServeDir::new("."))
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), site()?).await?)
}

#[tokio::test]
async fn each_layer_does_its_part() -> Result<(), Box<dyn Error>> {
    let site = site()?;
    let preflight = [("origin", "https://app.example"), ("access-control-request-method", "GET")];
    let foreign = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    for (method, path, headers, status) in [
        ("OPTIONS", "/hello", &preflight[..], 204),
        ("GET", "/hello", &[("x-request-id", "7")][..], 200),
        ("POST", "/hello", &foreign[..], 403),
        ("GET", "/files/Cargo.toml", &[][..], 200),
        ("GET", "/nowhere", &[][..], 404),
    ] {
        let mut req = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            req = req.header(*name, *value);
        }
        let res = site.handle(req.body(tower_chain::Body::empty())?).await;
        assert_eq!(res.status(), status, "{method} {path}");
        assert!(res.headers().contains_key(REQUEST_ID), "{method} {path}");
        if status > 400 {
            assert_eq!(res.headers()["content-type"], "application/problem+json", "{path}");
        }
    }
    Ok(())
}
