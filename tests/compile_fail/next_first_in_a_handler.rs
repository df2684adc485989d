//! `Next` is the first argument of a handler.

use http::Uri;
use tower_chain::{Chain, Next, Response};

async fn page(next: Next<'_>, _: Uri) -> Response {
    next.run().await
}

fn main() {
    let _ = Chain::new().get(page).build();
}
