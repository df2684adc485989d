//! Middleware that provides a value runs under a condition.

use tower_chain::{Chain, Endpoint, Middleware, MiddlewareExt, Next, Response};

struct User;

impl Middleware for User {
    type Provides = (u32,);

    async fn call<N: Endpoint>(&self, next: Next<'_, N, (u32,)>) -> Response {
        next.run_with(1).await
    }
}

fn main() {
    let _ = Chain::new().use_(User.when(|_| true)).get(async || "ok").build();
}
