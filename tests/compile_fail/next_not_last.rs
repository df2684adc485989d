//! `Next` stands before `Request`.

use tower_chain::{Chain, Next, Request, Response, from_fn};

async fn log(next: Next<'_>, req: Request) -> Response {
    next.run(req).await
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "hello").build();
    let _ = from_fn(log);
}
