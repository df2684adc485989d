//! The arguments of a closure have no types.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().get(async |id| format!("{id}")).build();
}
