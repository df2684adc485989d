//! A middleware that forgets to hand on what it says that it provides.

use tower_chain::{Endpoint, Middleware, Request, Response, Next};

struct User;

impl Middleware for User {
    type Provides = (u32,);

    async fn call<N: Endpoint>(&self, next: Next<'_, N, (u32,)>) -> Response {
        next.run().await
    }
}

fn main() {}
