//! Requests from pages of other origins: CORS for the allowed origins, and CSRF protection against the others, with layers of tower-http.
//!
//! Run with
//!
//! ```sh
//! cargo run --example cors --features problem-details,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tower-http = { version = "0.7", features = ["cors", "csrf"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i -X OPTIONS -H 'origin: https://app.example' -H 'access-control-request-method: GET' localhost:3000/hello
//! # HTTP/1.1 204 No Content
//! # access-control-allow-origin: https://app.example
//! # access-control-allow-methods: GET,POST
//! curl -i -H 'origin: https://app.example' localhost:3000/nowhere
//! # HTTP/1.1 404 Not Found
//! # access-control-allow-origin: https://app.example
//! curl -i -X POST -H 'sec-fetch-site: cross-site' -H 'origin: https://evil.example' localhost:3000/hello
//! # HTTP/1.1 403 Forbidden
//! # content-type: application/problem+json
//! ```

use http::{HeaderValue, Method};
use tower_chain::{Chain, ChainService, Next, ProblemDetails, Response, StatusCode};
use tower_http::cors::CorsLayer;
use tower_http::csrf::CsrfLayer;

/// Changes the layer's answer to a preflight, a 200 without a body, into a 204.
async fn preflight_204(next: Next<'_>) -> Response {
    let preflight = *next.method() == Method::OPTIONS
        && next.headers().contains_key("access-control-request-method");
    let mut res = next.run().await;
    if preflight && res.status() == StatusCode::OK {
        *res.status_mut() = StatusCode::NO_CONTENT;
        res.headers_mut().remove("content-length");
    }
    res
}

fn api() -> ChainService {
    let cors = CorsLayer::new()
        .allow_origin(HeaderValue::from_static("https://app.example"))
        .allow_methods([Method::GET, Method::POST]);
    Chain::new()
        .always(ProblemDetails::new())
        .always(preflight_204)
        .always(cors)
        .use_(CsrfLayer::new())
        .allow("open-write", "nothing is stored")
        .at("/hello", |c| c.get(async || "hello\n").post(async || "posted\n"))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api()).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
