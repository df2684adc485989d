//! A documented handler returns a `Response`, which describes nothing.

use tower_chain::{Chain, Response};

async fn page() -> Response {
    Response::default()
}

fn main() {
    let _ = Chain::new().documented().get(page).build();
}
