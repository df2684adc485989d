//! A handler is called instead of being passed.

use tower_chain::Chain;

async fn hello() -> &'static str {
    "hello"
}

fn main() {
    let _ = Chain::new().get(hello()).build();
}
