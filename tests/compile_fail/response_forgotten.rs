//! Middleware does not return the response.

use tower_chain::{Next, Response};

async fn log(next: Next<'_>) -> Response {
    let response = next.run().await;
    println!("{}", response.status());
}

fn main() {}
