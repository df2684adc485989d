//! The steps of a path are not given back.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().at("/hello", |c| { c.get(async || "hello"); }).build();
}
