//! `Next` is awaited.

use tower_chain::{Next, Response};

async fn log(next: Next<'_>) -> Response {
    next.await
}

fn main() {}
