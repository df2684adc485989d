//! A path is passed to `use_`, as in Express.

use tower_chain::{Chain, Next, Response};

async fn log(next: Next<'_>) -> Response {
    next.run().await
}

fn main() {
    let _ = Chain::new().use_("/admin", log).get(async || "ok").build();
}
