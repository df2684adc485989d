//! The types that a function provides are not a tuple.

use tower_chain::{Chain, NextWith, Response};

async fn user(next: NextWith<'_, u32>) -> Response {
    next.run_with(1).await
}

fn main() {
    let _ = Chain::new().use_(user).get(async || "hello").build();
}
