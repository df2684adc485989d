//! A chain is middleware.

use tower_chain::{Chain, Next, Response};

async fn log(next: Next<'_>) -> Response {
    next.run().await
}

fn main() {
    let _ = Chain::new().use_(Chain::new().use_(log)).get(async || "ok").build();
}
