//! A part of the request is still borrowed when the request is passed on.

use tower_chain::{Next, Response};

async fn log(next: Next<'_>) -> Response {
    let path = next.uri().path();
    let response = next.run().await;
    println!("{path} {}", response.status());
    response
}

fn main() {}
