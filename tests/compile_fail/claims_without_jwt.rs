//! Claims that no `Jwt` before the handler provides.

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
