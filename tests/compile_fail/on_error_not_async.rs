//! The function of `on_error` is not async.

use tower_chain::{Chain, Error};

fn render(error: Error) -> String {
    error.title().to_owned()
}

fn main() {
    let _ = Chain::new().on_error(render).get(async || "ok").build();
}
