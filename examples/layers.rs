//! Layers of tower-http in a chain: request ids, compression, timeouts, files, traces without secrets. For CORS see `cors`.
//!
//! Run with
//!
//! ```sh
//! cargo run --example layers --features problem-details,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tower-http = { version = "0.7", features = ["compression-gzip", "fs", "request-id", "sensitive-headers", "timeout", "trace"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i -H 'x-request-id: 7' localhost:3000/hello
//! # HTTP/1.1 200 OK
//! # x-request-id: 7
//! #
//! # hello
//! curl -i -H 'x-request-id: <script>' localhost:3000/nowhere
//! # HTTP/1.1 404 Not Found
//! # x-request-id: ..-..-..-..-..
//! curl -i -H 'accept-encoding: gzip' localhost:3000/files/Cargo.toml -o Cargo.toml.gz -D -
//! # HTTP/1.1 200 OK
//! # content-encoding: gzip
//! curl -i localhost:3000/files/none
//! # HTTP/1.1 404 Not Found
//! # content-type: application/problem+json
//! ```

use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use tower_chain::{Chain, ChainService, Next, ProblemDetails, Response, StatusCode};
use tower_http::compression::CompressionLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::services::ServeDir;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Removes a request id that is not a short word, because it is written to logs.
async fn checked_id(mut next: Next<'_>) -> Response {
    let plain = |id: &HeaderValue| {
        let id = id.as_bytes();
        id.len() <= 64 && id.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    if !next.headers().get(REQUEST_ID).is_some_and(plain) {
        next.headers_mut().remove(REQUEST_ID);
    }
    next.run().await
}

fn site() -> ChainService {
    Chain::new()
        .always(checked_id)
        .always(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .always(PropagateRequestIdLayer::new(REQUEST_ID))
        .always(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .always(TraceLayer::new_for_http())
        .always(ProblemDetails::new())
        .use_(CompressionLayer::new())
        .use_(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
        .at("/hello", |c| c.get(async || "hello\n"))
        .service("/files", ServeDir::new("."))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), site()).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    site().audit().assert_none();
}
