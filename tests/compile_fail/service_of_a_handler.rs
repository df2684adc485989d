//! A handler is passed to `service`.

use tower_chain::Chain;

async fn hello() -> &'static str {
    "hello"
}

fn main() {
    let _ = Chain::new().service("/hello", hello).build();
}
