//! Handlers are added in a loop.

use tower_chain::Chain;

fn main() {
    let mut chain = Chain::new();
    for path in ["/a", "/b"] {
        chain = chain.at(path, |c| c.get(async || "hello"));
    }
    let _ = chain.build();
}
