//! The small built-in steps: security headers, one format for errors, a limit for bodies, entity tags.
//!
//! Run with
//!
//! ```sh
//! cargo run --example small_steps --features body-limit,etag,problem-details,security-headers,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tower-http = { version = "0.7", features = ["compression-gzip", "validate-request"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i localhost:3000/page
//! # HTTP/1.1 200 OK
//! # etag: W/".."
//! # x-content-type-options: nosniff
//! #
//! # A page
//! curl -i -H 'if-none-match: *' localhost:3000/page
//! # HTTP/1.1 304 Not Modified
//! #
//! head -c 2000 /dev/zero | curl -i --data-binary @- localhost:3000/
//! # HTTP/1.1 413 Payload Too Large
//! # content-type: application/problem+json
//! #
//! # {..,"status":413,..,"limit":1024}
//! curl -i -H 'accept: image/png' localhost:3000/page
//! # HTTP/1.1 406 Not Acceptable
//! # content-type: application/problem+json
//! ```

use std::error::Error;

use tower_chain::extract::Text;
use tower_chain::{BodyLimit, Chain, ChainService, ETag, ProblemDetails, SecurityHeaders};
use tower_http::compression::CompressionLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

fn site() -> ChainService {
    Chain::new()
        .always(SecurityHeaders::new())
        .always(ProblemDetails::new())
        .use_(CompressionLayer::new())
        .use_(ValidateRequestHeaderLayer::accept("text/plain"))
        .use_(BodyLimit::bytes(1024))
        .use_(ETag::new())
        .at("/page", |c| c.get(async || "A page\n"))
        .allow("open-write", "nothing is stored")
        .at("/", |c| c.post(async |Text(text): Text| text))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), site()).await?)
}

#[tokio::test]
async fn errors_have_one_shape() -> Result<(), Box<dyn Error>> {
    let page = || http::Request::get("/page");
    let large = http::Request::post("/").body("x".repeat(2000).into())?;
    let empty = tower_chain::Body::empty;
    let kinds = [
        (page().body(empty())?, 200),
        (page().header("if-none-match", "*").body(empty())?, 304),
        (page().header("accept", "image/png").body(empty())?, 406),
        (large, 413),
    ];
    for (req, status) in kinds {
        let res = site().handle(req).await;
        assert_eq!(res.status(), status);
        assert_eq!(res.headers()["x-content-type-options"], "nosniff");
        if status > 400 {
            assert_eq!(res.headers()["content-type"], "application/problem+json");
        }
    }
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    site().audit().assert_none();
}
