//! Middleware has more than eight arguments before `Next`.

use http::Method;
use tower_chain::{Chain, Next, Response};

async fn log(
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    next: Next<'_>,
) -> Response {
    next.run().await
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "ok").build();
}
