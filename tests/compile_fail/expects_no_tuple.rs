//! What a chain expects is not written as a tuple.

use tower_chain::Chain;

fn main() {
    let _ = Chain::expecting::<u32>().get(async || "hello");
}
