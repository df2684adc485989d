//! A method of axum.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().route("/hello", async || "hello").build();
}
