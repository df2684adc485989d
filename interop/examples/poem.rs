//! A chain in a poem application, with its adapter for tower.
//!
//! Run with
//!
//! ```sh
//! cargo run -p interop --example poem
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! poem = { version = "3.1", features = ["tower-compat"] }
//! ```
//!
//! ```sh
//! curl localhost:3000/api/hello
//! # hello
//! curl -i -X DELETE localhost:3000/api/hello
//! # HTTP/1.1 405 Method Not Allowed
//! # allow: GET, HEAD, OPTIONS
//! ```

use poem::endpoint::TowerCompatExt;
use poem::listener::TcpListener;
use poem::{Route, Server};
use tower_chain::{Chain, ChainService};

fn api() -> ChainService {
    Chain::new().at("/hello", |c| c.get(async || "hello\n")).build()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    // poem requires bodies that are `Sync`.
    let app = Route::new().nest("/api", api().with_sync_bodies().compat());
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Server::new(TcpListener::bind(format!("127.0.0.1:{port}"))).run(app).await
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
