//! `Next` has the lifetime `'static`.

use tower_chain::{Chain, Next, Response};

async fn log(next: Next<'static>) -> Response {
    next.run().await
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "hello").build();
}
