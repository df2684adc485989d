//! A chain is a layer of axum.

use axum::Router;
use tower_chain::{Chain, Next, Response};

async fn log(next: Next<'_>) -> Response {
    next.run().await
}

fn main() {
    let _: Router = Router::new().layer(Chain::new().use_(log));
}
