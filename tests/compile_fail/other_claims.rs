//! A handler takes claims of another type than the `Jwt` before it provides.

use tower_chain::middleware::jwt::JwtError;
use tower_chain::{Chain, Claims, Jwt};

#[derive(serde::Deserialize)]
struct Member {
    sub: String,
}

#[derive(serde::Deserialize)]
struct Admin {
    sub: String,
}

async fn me(claims: Claims<Admin>) -> String {
    claims.sub.clone()
}

fn main() -> Result<(), JwtError> {
    let jwt = Jwt::<Member>::hs256("a secret that has thirty-two bytes")?;
    let _ = Chain::new().use_(jwt).get(me).build();
    Ok(())
}
