//! A path is passed to `get`, as in axum and Express.

use tower_chain::Chain;

async fn hello() -> &'static str {
    "hello"
}

fn main() {
    let _ = Chain::new().get("/hello", hello).build();
}
