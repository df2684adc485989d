//! Middleware is passed to `guard`.

use tower_chain::{Chain, Error, Next, Response};

async fn check(next: Next<'_>) -> Result<Response, Error> {
    Ok(next.run().await)
}

fn main() {
    let _ = Chain::new().guard(check).get(async || "hello").build();
}
