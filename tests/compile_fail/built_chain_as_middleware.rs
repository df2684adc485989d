//! A chain that is built is middleware.

use tower_chain::{Chain, Next, Response};

async fn log(next: Next<'_>) -> Response {
    next.run().await
}

fn main() {
    let api = Chain::new().use_(log).get(async || "ok").build();
    let _ = Chain::new().use_(api).get(async || "ok").build();
}
