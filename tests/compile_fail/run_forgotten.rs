//! The request is not passed on: `next` is not used, or its future is not awaited.

#![deny(unused)]

use tower_chain::{Chain, Next, Response};

async fn unused(next: Next<'_>) -> Response {
    Response::default()
}

async fn not_awaited(next: Next<'_>) -> Response {
    next.run();
    Response::default()
}

fn main() {
    let _ = Chain::new().use_(unused).use_(not_awaited).get(async || "hello").build();
}
