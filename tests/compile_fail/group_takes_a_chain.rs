//! A chain is passed to `group`.

use tower_chain::Chain;

fn main() {
    let users = Chain::new().get(async || "users");
    let _ = Chain::new().group(users).build();
}
