//! A chain in a salvo application, with its adapter for tower.
//!
//! Run with
//!
//! ```sh
//! cargo run -p interop --example salvo
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! salvo = { version = "0.85", features = ["tower-compat"] }
//! ```
//!
//! ```sh
//! curl localhost:3000/hello
//! # hello
//! curl -i -X DELETE localhost:3000/hello
//! # HTTP/1.1 405 Method Not Allowed
//! # allow: GET, HEAD, OPTIONS
//! ```

use salvo::conn::TcpListener;
use salvo::http::ReqBody;
use salvo::prelude::TowerServiceCompat;
use salvo::{Listener, Router, Server};
use tower_chain::{Chain, ChainService};

fn api() -> ChainService {
    Chain::new().at("/hello", |c| c.get(async || "hello\n")).build()
}

#[tokio::main]
async fn main() {
    // salvo requires bodies that are `Sync`. A chain accepts any body type, so the type is named here.
    let chain = TowerServiceCompat::<ReqBody, _, _, _>::compat(api().with_sync_bodies());
    let router = Router::with_path("{**path}").goal(chain);
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = TcpListener::new(format!("127.0.0.1:{port}")).bind().await;
    Server::new(listener).serve(router).await;
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
