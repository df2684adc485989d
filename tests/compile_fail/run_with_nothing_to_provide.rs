//! A function passes on a value, and its `Next` provides none.

use tower_chain::{Next, Response};

async fn user(next: Next<'_>) -> Response {
    next.run_with(7).await
}

fn main() {}
