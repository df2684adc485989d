//! Middleware changes itself.

use tower_chain::{Endpoint, Middleware, Next, Response};

struct Count(u32);

impl Middleware for Count {
    type Provides = ();

    async fn call<N: Endpoint>(&mut self, next: Next<'_, N>) -> Response {
        self.0 += 1;
        next.run().await
    }
}

fn main() {}
