//! The arms of a `match` have different routes.

use tower_chain::Chain;

fn main() {
    let chain = Chain::new();
    let chain = match std::env::args().len() {
        1 => chain.get(async || "one"),
        _ => chain.post(async || "many").put(async || "many"),
    };
    let _ = chain.build();
}
