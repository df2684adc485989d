//! A function has no methods of middleware.

use tower_chain::{Chain, MiddlewareExt, Next, Response};

async fn log(next: Next<'_>) -> Response {
    next.run().await
}

fn main() {
    let _ = Chain::new().use_(log.when(|_| true)).get(async || "ok").build();
}
