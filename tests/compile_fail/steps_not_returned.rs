//! The closure of `at` does not return the chain.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().at("/hello", |c| { c.get(async || "hello"); }).build();
}
