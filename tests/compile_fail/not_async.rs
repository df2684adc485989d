//! A handler without `async`.

use tower_chain::{Chain, handler_fn};

fn hello() -> &'static str {
    "hello"
}

fn main() {
    let _ = Chain::new().get(hello).build();
    let _ = handler_fn::<(), _, _>(hello);
}
