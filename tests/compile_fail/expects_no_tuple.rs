//! The types that a chain expects are not a tuple.

use tower_chain::Chain;

fn main() {
    let _ = Chain::expecting::<u32>().get(async || "hello");
}
