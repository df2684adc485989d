//! What a middleware provides is not written as a tuple.

use tower_chain::{Endpoint, Middleware, Request, Response, Rest};

struct User;

impl Middleware for User {
    type Provides = u32;

    async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N, u32>) -> Response {
        next.run_with(req, 1).await
    }
}

fn main() {}
