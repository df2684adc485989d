//! State does not implement `Clone`.

use tower_chain::Chain;

struct Database;

fn main() {
    let _ = Chain::new().provide(Database).get(async || "hello").build();
}
