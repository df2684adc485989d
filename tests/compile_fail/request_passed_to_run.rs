//! The request is passed to `run`, as in axum.

use tower_chain::{Next, Response};

async fn log(next: Next<'_>) -> Response {
    let request = http::Request::new(());
    next.run(request).await
}

fn main() {}
