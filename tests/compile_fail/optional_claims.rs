//! A handler takes claims after `Jwt::optional`.

use tower_chain::middleware::jwt::JwtError;
use tower_chain::{Chain, Claims, Jwt};

#[derive(serde::Deserialize)]
struct Member {
    sub: String,
}

async fn me(claims: Claims<Member>) -> String {
    claims.sub.clone()
}

fn main() -> Result<(), JwtError> {
    let jwt = Jwt::<Member>::hs256("a secret that has thirty-two bytes")?.optional();
    let _ = Chain::new().use_(jwt).get(me).build();
    Ok(())
}
