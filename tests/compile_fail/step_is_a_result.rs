//! A built-in step that may fail is added without `?`.

use tower_chain::{Chain, Jwt};

#[derive(serde::Deserialize)]
struct Member {}

fn main() {
    let secret = "a secret that has thirty-two bytes";
    let _ = Chain::new().use_(Jwt::<Member>::hs256(secret)).get(async || "hello").build();
}
