//! Middleware provides a value, but its `Next` doesn't name the type.

use tower_chain::{Endpoint, Middleware, Next, Response};

struct User;

impl Middleware for User {
    type Provides = (u32,);

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        next.run_with(1).await
    }
}

fn main() {}
