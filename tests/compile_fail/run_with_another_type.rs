//! Middleware provides a value of another type than `Provides` names.

use tower_chain::{Endpoint, Middleware, Next, NextWith, Response};

struct User;

impl Middleware for User {
    type Provides = (u32,);

    async fn call<N: Endpoint>(&self, next: Next<'_, N, (u32,)>) -> Response {
        next.run_with("Ann").await
    }
}

async fn user(next: NextWith<'_, (u32, String)>) -> Response {
    next.run_with(1).await
}

fn main() {}
