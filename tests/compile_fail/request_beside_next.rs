//! Middleware takes a `Request` as well as `Next`, which holds it.

use tower_chain::{Chain, Next, Request, Response, from_fn};

async fn log(req: Request, next: Next<'_>) -> Response {
    println!("{}", req.uri());
    next.run(req).await
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "hello").build();
    let _ = from_fn(log);
}
