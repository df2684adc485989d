//! A reference is passed to `use_`.

use tower_chain::{Chain, Endpoint, Middleware, Next, Response};

struct Log;

impl Middleware for Log {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        next.run().await
    }
}

fn main() {
    let _ = Chain::new().use_(&Log).get(async || "ok").build();
}
