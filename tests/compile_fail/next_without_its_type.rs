//! `Next` in a closure has no type.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().use_(async |next| next.run().await).get(async || "ok").build();
}
