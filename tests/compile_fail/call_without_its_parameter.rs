//! `call` lacks the type of the rest of the chain.

use tower_chain::{Middleware, Next, Response};

struct Log;

impl Middleware for Log {
    type Provides = ();

    async fn call(&self, next: Next<'_>) -> Response {
        next.run().await
    }
}

fn main() {}
