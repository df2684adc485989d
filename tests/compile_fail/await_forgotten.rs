//! `next.run()` is not awaited.

use tower_chain::{Next, Response};

async fn log(next: Next<'_>) -> Response {
    let response = next.run();
    println!("{}", response.status());
    response
}

fn main() {}
