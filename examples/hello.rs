//! JSON for `GET /api/hello`, and nothing else.
//!
//! Next.js API routes: the first handler.
//!
//! Run with
//!
//! ```sh
//! cargo run --example hello --features json,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! serde = { version = "1", features = ["derive"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i localhost:3000/api/hello
//! # HTTP/1.1 200 OK
//! # content-type: application/json
//! #
//! # {"name":"John Doe"}
//! curl localhost:3000/api/nowhere
//! # {"type":"about:blank","title":"Not Found","status":404,"detail":"Nothing answers at this path"}
//! ```

use serde::Serialize;
use tower_chain::serve::ServeError;
use tower_chain::{Chain, ChainService, Json};

#[derive(Serialize)]
struct Hello {
    name: &'static str,
}

async fn hello() -> Json<Hello> {
    Json(Hello { name: "John Doe" })
}

fn api() -> ChainService {
    Chain::new().at("/api/hello", |c| c.get(hello)).build()
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    tower_chain::serve(format!("127.0.0.1:{port}"), api()).await
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
