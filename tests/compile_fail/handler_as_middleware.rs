//! A handler is passed to `use_`.

use tower_chain::{Chain, from_fn};

async fn hello() -> &'static str {
    "hello"
}

fn main() {
    let _ = Chain::new().use_(hello).get(async || "hello").build();
    let _ = from_fn(hello);
}
