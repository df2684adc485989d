//! A chain is used twice.

use tower_chain::Chain;

fn main() {
    let base = Chain::new();
    let _ = base.get(async || "one").build();
    let _ = base.get(async || "two").build();
}
