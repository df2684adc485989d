//! A type that is not middleware is passed to `use_`.

use tower_chain::Chain;

struct Logger;

fn main() {
    let _ = Chain::new().use_(Logger).get(async || "hello").build();
}
