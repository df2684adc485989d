//! `next` runs at most once.

use tower_chain::{Chain, Next, Request, Response};

async fn retry(next: Next<'_>) -> Response {
    let response = next.run().await;
    if response.status().is_server_error() {
        return next.run(Request::default()).await;
    }
    response
}

fn main() {
    let _ = Chain::new().use_(retry).get(async || "hello").build();
}
