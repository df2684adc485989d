//! A middleware that takes what no step before it provides.

use tower_chain::{Chain, Next, Provided, Response};

#[derive(Clone)]
struct Database;

async fn count(_: Provided<Database>, next: Next<'_>) -> Response {
    next.run().await
}

fn main() {
    let _ = Chain::new().use_(count).get(async || "users").build();
}
