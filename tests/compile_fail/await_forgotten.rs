//! `next.run(req)` is not awaited.

use tower_chain::{Next, Request, Response};

async fn log(next: Next<'_>) -> Response {
    let response = next.run();
    println!("{}", response.status());
    response
}

fn main() {}
