//! A value that isn't `Send` is held across an await.

use std::rc::Rc;

use tower_chain::{Chain, Next, Response};

async fn log(next: Next<'_>) -> Response {
    let counter = Rc::new(1);
    let response = next.run().await;
    drop(counter);
    response
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "hello").build();
}
