//! The type of a sealed chain does not name what it expects.

use tower_chain::{Chain, Provided, Sealed};

fn users() -> Sealed {
    Chain::expecting::<(u32,)>().get(async |_: Provided<u32>| "users").seal()
}

fn main() {
    let _ = Chain::new().provide(1_u32).mount("/users", users()).build();
}
