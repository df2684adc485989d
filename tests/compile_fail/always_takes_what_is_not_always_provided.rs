//! An `always` step takes a value that only matched requests have.

use std::convert::Infallible;

use tower_chain::{Chain, Next, Provided, Response};

async fn user() -> Result<u32, Infallible> {
    Ok(1)
}

async fn log(_: Provided<u32>, next: Next<'_>) -> Response {
    next.run().await
}

fn main() {
    let _ = Chain::new().guard(user).always(log).get(async || "users").build();
}
