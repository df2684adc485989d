//! `next` runs at most once.

use tower_chain::{Chain, Next, Request, Response};

async fn retry(req: Request, next: Next<'_>) -> Response {
    let response = next.run(req).await;
    if response.status().is_server_error() {
        return next.run(Request::default()).await;
    }
    response
}

fn main() {
    let _ = Chain::new().use_(retry).get(async || "hello").build();
}
