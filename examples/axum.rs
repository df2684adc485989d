//! A chain in an axum application: as a layer around its routes, and as a service for other paths.
//!
//! Run with
//!
//! ```sh
//! cargo run --example axum
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! axum = "0.8"
//! http = "1"
//! tower = { version = "0.5", features = ["util"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl localhost:3000/me
//! # {"type":"about:blank","title":"Unauthorized","status":401,"detail":"Say who you are"}
//! curl -H 'Authorization: Ann' localhost:3000/me
//! # you are Ann
//! curl localhost:3000/chain/hello
//! # hello
//! ```

use axum::Router;
use axum::extract::Extension;
use axum::http::HeaderMap;
use axum::routing::get;
use tower_chain::{Chain, ChainService, Error, StatusCode};

#[derive(Clone)]
struct Caller(String);

async fn caller(headers: HeaderMap) -> Result<Caller, Error> {
    match headers.get("authorization").and_then(|name| name.to_str().ok()) {
        Some(name) => Ok(Caller(name.to_owned())),
        None => Err(Error::new(StatusCode::UNAUTHORIZED, "Say who you are")),
    }
}

/// An axum handler takes a value that the chain provides as an `Extension`.
async fn me(Extension(Caller(name)): Extension<Caller>) -> String {
    format!("you are {name}\n")
}

fn chain() -> ChainService {
    Chain::new().at("/hello", |c| c.get(async || "hello\n")).build()
}

fn app() -> Router {
    Router::new()
        .route("/me", get(me))
        .route_layer(Chain::new().guard(caller).into_layer())
        .nest_service("/chain", chain())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app()).await?)
}

#[cfg(test)]
#[tokio::test]
async fn the_layer_refuses_who_says_no_name() -> Result<(), Box<dyn std::error::Error>> {
    use tower::ServiceExt;
    let ask = |path: &str| {
        app().oneshot(http::Request::get(path).body(axum::body::Body::empty()).unwrap())
    };
    assert_eq!(ask("/me").await?.status(), 401);
    assert_eq!(ask("/chain/hello").await?.status(), 200);
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    chain().audit().assert_none();
}
