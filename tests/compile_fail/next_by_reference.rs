//! Middleware takes `Next` by reference.

use tower_chain::{Chain, Next, Response};

async fn log(next: &mut Next<'_>) -> Response {
    println!("{}", next.uri());
    Response::default()
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "ok").build();
}
