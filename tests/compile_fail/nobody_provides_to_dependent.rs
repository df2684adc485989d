use tower_chain::{Chain, Dependent, Next, Provided, Request, Response, from_fn};

#[derive(Clone)]
struct User;

async fn pass(next: Next<'_>) -> Response {
    next.run().await
}

struct Members;

impl Dependent for Members {
    type Needs = (Provided<User>,);
    type Middleware = tower_chain::BoxMiddleware;

    fn into_middleware(self) -> tower_chain::BoxMiddleware {
        tower_chain::Middleware::boxed(from_fn(pass))
    }
}

fn main() {
    let _ = Chain::new().provide(User).use_(Members).get(async || "members").build();
    let _ = Chain::new().use_(Members).get(async || "members").build();
}
