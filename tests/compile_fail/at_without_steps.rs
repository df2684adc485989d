//! `at` has no steps, as `app.route` of Express.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().at("/hello").get(async || "hello").build();
}
