//! A chain that expects something can be mounted, not built.

use tower_chain::{Chain, Provided};

fn main() {
    let _ = Chain::expecting::<(u32,)>().get(async |_: Provided<u32>| "hello").build();
}
