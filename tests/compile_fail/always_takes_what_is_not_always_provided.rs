//! A step that always runs takes what only a matched request has.

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
