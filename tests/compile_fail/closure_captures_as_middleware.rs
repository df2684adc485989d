//! Middleware is a closure that captures a variable.

use tower_chain::{Chain, Next};

fn main() {
    let prefix = String::from("> ");
    let log = async move |next: Next<'_>| {
        println!("{prefix}{}", next.uri());
        next.run().await
    };
    let _ = Chain::new().use_(log).get(async || "hello").build();
}
