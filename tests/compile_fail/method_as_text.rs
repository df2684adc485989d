//! A method is a text.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().on("GET", async || "ok").build();
}
