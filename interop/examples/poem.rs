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
use tower_chain::Chain;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let chain = Chain::new().at("/hello", |c| c.get(async || "hello\n")).build();
    // poem requires bodies that are `Sync`.
    let app = Route::new().nest("/api", chain.with_sync_bodies().compat());
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Server::new(TcpListener::bind(format!("127.0.0.1:{port}"))).run(app).await
}
