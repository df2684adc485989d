//! A chain as an AWS Lambda function behind API Gateway.
//!
//! Run with [cargo-lambda](https://www.cargo-lambda.info)
//!
//! ```sh
//! cargo lambda watch -p interop --example lambda
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! lambda_http = "1.3"
//! ```
//!
//! ```sh
//! curl localhost:9000/hello
//! # hello
//! curl -i -X DELETE localhost:9000/hello
//! # HTTP/1.1 405 Method Not Allowed
//! # allow: GET, HEAD, OPTIONS
//! ```

use tower_chain::{Chain, ChainService};

fn api() -> ChainService {
    Chain::new().at("/hello", |c| c.get(async || "hello\n")).build()
}

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lambda_http::run(api()).await
}

#[cfg(test)]
#[tokio::test]
async fn the_chain_takes_requests_of_lambda() -> Result<(), http::Error> {
    let request = http::Request::get("/hello").body(lambda_http::Body::Empty)?;
    assert_eq!(api().handle(request).await.status(), 200);
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
