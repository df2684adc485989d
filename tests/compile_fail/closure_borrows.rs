//! A closure borrows the variable that it captures.

use tower_chain::Chain;

fn main() {
    let name = String::from("Ann");
    let _ = Chain::new().get(async || name.clone()).build();
}
