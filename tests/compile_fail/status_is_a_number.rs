//! The status of a response is a number.

use tower_chain::Chain;

async fn missing() -> (u16, &'static str) {
    (404, "nothing here")
}

fn main() {
    let _ = Chain::new().get(missing).build();
}
