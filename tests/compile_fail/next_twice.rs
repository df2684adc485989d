//! `next.run` is called twice.

use tower_chain::{Chain, Next, Response};

async fn retry(next: Next<'_>) -> Response {
    let response = next.run().await;
    if response.status().is_server_error() {
        return next.run().await;
    }
    response
}

fn main() {
    let _ = Chain::new().use_(retry).get(async || "hello").build();
}
