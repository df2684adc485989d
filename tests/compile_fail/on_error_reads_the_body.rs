//! `on_error` reads the body.

use tower_chain::{Chain, Error};

async fn render(_: Error, body: String) -> String {
    body
}

fn main() {
    let _ = Chain::new().on_error(render).get(async || "ok").build();
}
