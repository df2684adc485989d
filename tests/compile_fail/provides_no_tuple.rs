//! The types that middleware provides are not a tuple.

use tower_chain::{Endpoint, Middleware, Next, Response};

struct User;

impl Middleware for User {
    type Provides = u32;

    async fn call<N: Endpoint>(&self, next: Next<'_, N, u32>) -> Response {
        next.run_with(1).await
    }
}

fn main() {}
