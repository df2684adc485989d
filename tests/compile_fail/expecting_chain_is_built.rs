//! A chain that expects a value is built, not mounted.

use tower_chain::{Chain, Provided};

fn main() {
    let _ = Chain::expecting::<(u32,)>().get(async |_: Provided<u32>| "hello").build();
}
