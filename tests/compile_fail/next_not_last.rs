//! `Next` is not the last argument.

use http::HeaderMap;
use tower_chain::{Chain, Next, Response, from_fn_with};

async fn log(next: Next<'_>, _: HeaderMap) -> Response {
    next.run().await
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "hello").build();
    let _ = from_fn_with::<(HeaderMap,), _, _>(log);
}
