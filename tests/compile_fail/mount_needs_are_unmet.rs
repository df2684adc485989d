//! A mounted chain expects a value that the outer chain does not provide.

use tower_chain::{Chain, Provided, Sealed};

#[derive(Clone)]
struct Database;

fn users() -> Sealed<(Database,)> {
    Chain::expecting::<(Database,)>().get(async |_: Provided<Database>| "users").seal()
}

fn main() {
    let _ = Chain::new().mount("/users", users()).build();
}
