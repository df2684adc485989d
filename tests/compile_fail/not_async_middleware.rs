//! A middleware function without `async`.

use tower_chain::{Chain, Next, Response, from_fn};

fn closed(_: Next<'_>) -> Response {
    Response::default()
}

fn main() {
    let _ = Chain::new().use_(closed).get(async || "hello").build();
    let _ = from_fn(closed);
}
