//! A function provides a value, but takes `Next` instead of `NextWith`.

use tower_chain::{Next, Response};

async fn user(next: Next<'_>) -> Response {
    next.run_with(7).await
}

fn main() {}
