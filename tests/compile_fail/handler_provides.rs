//! A handler provides a value.

use tower_chain::{Chain, NextWith, Response};

async fn first(next: NextWith<'_, (u32,)>) -> Response {
    next.run_with(1).await
}

fn main() {
    let _ = Chain::new().get(first).get(async || "ok").build();
}
