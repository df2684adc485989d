//! Middleware is a closure that captures and returns an `async` block.

use tower_chain::{Chain, Next};

fn main() {
    let prefix = String::from("> ");
    let log = move |next: Next<'_>| {
        let prefix = prefix.clone();
        async move {
            println!("{prefix}{}", next.uri());
            next.run().await
        }
    };
    let _ = Chain::new().use_(log).get(async || "hello").build();
}
