//! `next.run(req)` is not awaited.

use tower_chain::{Next, Request, Response};

async fn log(req: Request, next: Next<'_>) -> Response {
    let response = next.run(req);
    println!("{}", response.status());
    response
}

fn main() {}
