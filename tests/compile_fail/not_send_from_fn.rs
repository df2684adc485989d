//! `from_fn` and `handler_fn` report the type that isn't `Send`.

use std::rc::Rc;

use tower_chain::{Chain, Next, Response, from_fn, handler_fn};

async fn log(next: Next<'_>) -> Response {
    let counter = Rc::new(1);
    let response = next.run().await;
    drop(counter);
    response
}

async fn hello() -> &'static str {
    let counter = Rc::new(1);
    std::future::ready(()).await;
    drop(counter);
    "hello"
}

fn main() {
    let _ = Chain::new().use_(from_fn(log)).get(handler_fn::<(), _, _>(hello)).build();
}
