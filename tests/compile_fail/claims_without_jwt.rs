//! A handler takes claims without a `Jwt` before it.

use tower_chain::{Chain, Claims};

#[derive(serde::Deserialize)]
struct Member {
    sub: String,
}

async fn me(claims: Claims<Member>) -> String {
    claims.sub.clone()
}

fn main() {
    let _ = Chain::new().get(me).build();
}
