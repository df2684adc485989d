//! A closure that is not async is a handler.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().get(|| "hello").build();
}
