//! Log in with a password, get a token with a role, and use the routes that this role may use.
//!
//! Next.js API routes: JSON Web Tokens with roles. An invalid token is a 401 and a missing role a 403 (RFC 6750).
//!
//! Run with
//!
//! ```sh
//! JWT_SECRET=$(openssl rand -base64 32) ADA_PASSWORD='correct horse battery' JOE_PASSWORD='staple for my paper' \
//!     cargo run --example jwt_roles --features authenticate,json,jwt,require,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! jsonwebtoken = { version = "12", default-features = false, features = ["aws_lc_rs"] }
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i localhost:3000/api/admin
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer realm="api"
//! JOE=$(curl -u 'joe:staple for my paper' -X POST localhost:3000/api/login)
//! curl -H "Authorization: Bearer $JOE" localhost:3000/api/me
//! # {"message":"Authorized","user":{"exp":..,"role":"member","sub":"joe"}}
//! curl -i -H "Authorization: Bearer $JOE" localhost:3000/api/admin
//! # HTTP/1.1 403 Forbidden
//! ADA=$(curl -u 'ada:correct horse battery' -X POST localhost:3000/api/login)
//! curl -H "Authorization: Bearer $ADA" localhost:3000/api/admin
//! # {"message":"Welcome, ada"}
//! curl -i -H "Authorization: Bearer ${ADA}x" localhost:3000/api/admin
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer realm="api", error="invalid_token", ..
//! ```

use std::env;
use std::error::Error as StdError;

use jsonwebtoken::{EncodingKey, Header, crypto};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_chain::grants::Grants;
use tower_chain::{Authenticate, Chain, ChainService, Claims, Error, Json};
use tower_chain::{Jwt, Principal, Provided, Require};

#[derive(Deserialize, Serialize)]
struct Member {
    sub: String,
    role: String,
    exp: u64,
}

impl Grants for Member {
    fn has_role(&self, role: &str) -> bool {
        self.role == role
    }
}

async fn login(who: Principal, key: Provided<EncodingKey>) -> Result<String, Error> {
    let role = if who.name() == "ada" { "admin" } else { "member" }.to_owned();
    let exp = jsonwebtoken::get_current_timestamp() + 15 * 60;
    let member = Member { sub: who.name().to_owned(), role, exp };
    Ok(jsonwebtoken::encode(&Header::default(), &member, &key)?)
}

async fn me(member: Claims<Member>) -> Json<Value> {
    Json(json!({ "message": "Authorized", "user": *member }))
}

async fn admin(member: Claims<Member>) -> Json<Value> {
    Json(json!({ "message": format!("Welcome, {}", member.sub) }))
}

fn api(secret: &str, ada: &str, joe: &str) -> Result<ChainService, Box<dyn StdError>> {
    let jwt = Jwt::<Member>::hs256(secret).map_err(|error| format!("JWT_SECRET: {error}"))?;
    let passwords = Authenticate::users([("ada", ada), ("joe", joe)])
        .map_err(|error| format!("ADA_PASSWORD, JOE_PASSWORD: {error}"))?;
    let key = EncodingKey::from_secret(secret.as_bytes())?;
    let admins = Require::<Claims<Member>>::role("admin")?;
    Ok(Chain::new()
        .at("/api/login", |c| c.provide(key).use_(passwords).post(login))
        .use_(jwt)
        .at("/api/me", |c| c.get(me))
        .at("/api/admin", |c| c.use_(admins).get(admin))
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    // With both backends compiled in, one must be chosen before the first token is signed.
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let secret = |name: &str| env::var(name).map_err(|_| format!("{name} is not set"));
    let api = api(&secret("JWT_SECRET")?, &secret("ADA_PASSWORD")?, &secret("JOE_PASSWORD")?)?;
    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn StdError>> {
    api("a secret of at least 32 bytes for tests", "the password of ada", "the password of joe")?
        .audit()
        .assert_none();
    Ok(())
}
