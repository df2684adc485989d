//! A middleware function without its `Request`.

use tower_chain::{Chain, Next, Response};

async fn log(next: Next<'_>) -> Response {
    let _ = next;
    Response::default()
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "hello").build();
}
