//! A page for members: log in to get a token, then send it.
//!
//! Run with
//!
//! ```sh
//! JWT_SECRET=$(openssl rand -base64 32) cargo run --example jwt --features jwt,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! jsonwebtoken = { version = "12", default-features = false, features = ["aws_lc_rs"] }
//! serde = { version = "1", features = ["derive"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i localhost:3000/me
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer realm="api"
//! TOKEN=$(curl -X POST localhost:3000/login)
//! curl -H "Authorization: Bearer $TOKEN" localhost:3000/me
//! # hello, ada
//! ```

use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header, crypto};
use serde::{Deserialize, Serialize};
use tower_chain::{Chain, ChainService, Claims, Error, Jwt, Provided};

#[derive(Serialize, Deserialize)]
struct Member {
    sub: String,
    exp: u64,
}

async fn me(member: Claims<Member>) -> String {
    format!("hello, {}\n", member.sub)
}

async fn sign_in(key: Provided<EncodingKey>) -> Result<String, Error> {
    // If both backends of `jsonwebtoken` are compiled in, one must be installed before the first token is signed.
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let expires = SystemTime::now() + Duration::from_secs(15 * 60);
    let exp = expires.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let member = Member { sub: "ada".to_owned(), exp };
    Ok(jsonwebtoken::encode(&Header::default(), &member, &key)?)
}

fn api(secret: &str) -> Result<ChainService, Box<dyn std::error::Error>> {
    let jwt = Jwt::<Member>::hs256(secret).map_err(|error| format!("JWT_SECRET: {error}"))?;
    let key = EncodingKey::from_secret(secret.as_bytes())?;
    Ok(Chain::new()
        .at("/login", |c| {
            c.allow("open-write", "a login has no token yet").provide(key).post(sign_in)
        })
        .mount("/me", Chain::new().use_(jwt).get(me))
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let secret = std::env::var("JWT_SECRET").map_err(|_| "JWT_SECRET is not set")?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api(&secret)?).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn std::error::Error>> {
    api("a secret of at least 32 bytes for tests")?.audit().assert_none();
    Ok(())
}
