//! A middleware keeps the response.

use tower_chain::{Next, Request, Response};

async fn log(req: Request, next: Next<'_>) -> Response {
    let response = next.run(req).await;
    println!("{}", response.status());
}

fn main() {}
