//! A longer chain is assigned to the same variable.

use tower_chain::Chain;

fn main() {
    let mut chain = Chain::new();
    chain = chain.get(async || "ok");
    let _ = chain.build();
}
