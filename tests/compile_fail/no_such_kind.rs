//! Something that is no middleware at all.

use tower_chain::Chain;

struct Logger;

fn main() {
    let _ = Chain::new().use_(Logger).get(async || "hello").build();
}
