//! `on_error` takes a value that only matched requests have.

use tower_chain::{Chain, Error, Provided};

async fn user() -> Result<u32, Error> {
    Ok(1)
}

async fn render(_: Error, user: Provided<u32>) -> String {
    user.0.to_string()
}

fn main() {
    let _ = Chain::new().guard(user).on_error(render).get(async || "ok").build();
}
