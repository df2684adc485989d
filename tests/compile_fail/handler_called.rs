//! A handler is called where it should be named.

use tower_chain::Chain;

async fn hello() -> &'static str {
    "hello"
}

fn main() {
    let _ = Chain::new().get(hello()).build();
}
