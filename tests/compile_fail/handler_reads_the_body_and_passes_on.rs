//! A handler that may pass the request on reads its body.

use tower_chain::{Chain, Next, Response};

async fn draft(body: String, next: Next<'_>) -> Response {
    if body.is_empty() {
        return Response::default();
    }
    next.run().await
}

fn main() {
    let _ = Chain::new().post(draft).post(async || "ok").build();
}
