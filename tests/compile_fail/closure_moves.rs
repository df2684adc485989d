//! An async closure captures by move.

use tower_chain::Chain;

fn main() {
    let name = String::from("Ann");
    let _ = Chain::new().get(async move || name.clone()).build();
}
