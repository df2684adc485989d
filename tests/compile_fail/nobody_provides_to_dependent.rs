//! Middleware depends on a value that no earlier step provides.

use tower_chain::chain::Dependent;
use tower_chain::{BoxMiddleware, Chain, MiddlewareExt, Next, Provided, Response, from_fn};

#[derive(Clone)]
struct User;

async fn pass(next: Next<'_>) -> Response {
    next.run().await
}

struct Members;

impl Dependent for Members {
    type Needs = (Provided<User>,);
    type Middleware = BoxMiddleware;

    fn into_middleware(self) -> BoxMiddleware {
        from_fn(pass).boxed()
    }
}

fn main() {
    let _ = Chain::new().provide(User).use_(Members).get(async || "members").build();
    let _ = Chain::new().use_(Members).get(async || "members").build();
}
