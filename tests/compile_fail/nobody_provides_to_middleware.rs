//! Middleware takes a value that no earlier step provides.

use tower_chain::{Chain, Next, Provided, Response};

#[derive(Clone)]
struct Database;

async fn count(_: Provided<Database>, next: Next<'_>) -> Response {
    next.run().await
}

fn main() {
    let _ = Chain::new().use_(count).get(async || "users").build();
}
