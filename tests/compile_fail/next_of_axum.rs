//! `Next` is the type of axum.

use axum::middleware::Next;
use tower_chain::{Chain, Request, Response, from_fn};

async fn log(req: Request, next: Next) -> Response {
    next.run(req).await
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "hello").build();
    let _ = from_fn(log);
}
