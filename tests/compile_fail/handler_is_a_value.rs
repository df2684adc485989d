//! A value is passed instead of a handler.

use tower_chain::{Chain, Json};

fn main() {
    let _ = Chain::new().get(Json("hello")).build();
}
