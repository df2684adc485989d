//! A hook takes a value that only matched requests have.

use tower_chain::{Chain, Error, Provided};

async fn user() -> Result<u32, Error> {
    Ok(1)
}

async fn nothing(_: Provided<u32>) -> &'static str {
    "nothing here"
}

fn main() {
    let _ = Chain::new().guard(user).on_no_match(nothing).get(async || "ok").build();
}
