//! Middleware that is a closure and captures something.

use tower_chain::{Chain, Next, Request};

fn main() {
    let prefix = String::from("> ");
    let log = async move |req: Request, next: Next<'_>| {
        println!("{prefix}{}", req.uri());
        next.run(req).await
    };
    let _ = Chain::new().use_(log).get(async || "hello").build();
}
