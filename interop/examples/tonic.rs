//! A chain in front of gRPC services, with HTTP on the same port.
//!
//! Run with
//!
//! ```sh
//! cargo run -p interop --example tonic
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! axum = "0.8"
//! http = "1"
//! tonic = "0.14"
//! ```
//!
//! ```sh
//! curl localhost:3000/health
//! # well
//! curl -i --http2-prior-knowledge -H 'content-type: application/grpc' -d '' localhost:3000/greeter.Greeter/Hello
//! # HTTP/2 200
//! # grpc-status: 16
//! # grpc-message: Sign in first
//! ```

use axum::http::HeaderMap;
use tonic::service::Routes;
use tower_chain::middleware::grpc_status::GrpcStatus;
use tower_chain::serve::ServeError;
use tower_chain::{Chain, ChainService, Error, StatusCode};

#[derive(Clone)]
struct Caller;

async fn caller(headers: HeaderMap) -> Result<Caller, Error> {
    match headers.contains_key("authorization") {
        true => Ok(Caller),
        false => Err(Error::new(StatusCode::UNAUTHORIZED, "Sign in first")),
    }
}

fn api(grpc: Routes) -> ChainService {
    Chain::new()
        .always(GrpcStatus::new())
        .at("/health", |c| c.get(async || "well\n"))
        .guard(caller)
        .service("/", grpc)
        .build()
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    // Your services: Routes::new(GreeterServer::new(..)).add_service(..)
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    tower_chain::serve(format!("127.0.0.1:{port}"), api(Routes::default())).await
}

#[cfg(test)]
#[tokio::test]
async fn a_refusal_is_a_grpc_status() -> Result<(), http::Error> {
    let request = http::Request::post("/greeter.Greeter/Hello")
        .header("content-type", "application/grpc")
        .body(tower_chain::Body::empty())?;
    let response = api(Routes::default()).handle(request).await;
    assert_eq!(response.headers()["grpc-status"], "16");
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api(Routes::default()).audit().assert_none();
}
