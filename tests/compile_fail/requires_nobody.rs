//! `Require` has no authentication before it.

use tower_chain::grants::Grants;
use tower_chain::{Chain, Require};

#[derive(Clone)]
struct Member;

impl Grants for Member {}

fn main() {
    let admins = Require::<Member>::role("admin").unwrap();
    let _ = Chain::new().use_(admins).get(async || "hello").build();
}
