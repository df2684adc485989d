//! An API that accepts the tokens of an OpenID issuer. Here the issuer is a part of the program; yours is a URL.
//!
//! Run with
//!
//! ```sh
//! cargo run --example oidc --features json,jwks,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! aws-lc-rs = "1"
//! jsonwebtoken = { version = "12", default-features = false, features = ["aws_lc_rs"] }
//! serde_json = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i localhost:3000/me
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer realm="api"
//! TOKEN=$(curl -X POST localhost:3000/token)
//! curl -H "Authorization: Bearer $TOKEN" localhost:3000/me
//! # hello, ada
//! ```

use std::future::ready;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::{EncodingKey, Header, crypto, jwk::Jwk};
use serde_json::{Value, json};
use tower_chain::extract::Json;
use tower_chain::middleware::jwt::Algorithm;
use tower_chain::{Chain, ChainService, Claims, Error, Jwt};

async fn me(claims: Claims<Value>) -> String {
    format!("hello, {}\n", claims["sub"].as_str().unwrap_or("you"))
}

fn token(key: &EncodingKey, issuer: &str) -> Result<String, Error> {
    let mut header = Header::new(jsonwebtoken::Algorithm::ES256);
    header.kid = Some("1".to_owned());
    let exp = jsonwebtoken::get_current_timestamp() + 15 * 60;
    let claims = json!({ "iss": issuer, "aud": "api", "sub": "ada", "exp": exp });
    Ok(jsonwebtoken::encode(&header, &claims, key)?)
}

fn app(issuer: String) -> Result<ChainService, Box<dyn std::error::Error>> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let key = EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref());
    let mut jwk = Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::ES256)?;
    jwk.common.key_id = Some("1".to_owned());
    let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
    let jwt = Jwt::<Value>::oidc(&issuer, "api", [Algorithm::Es256])?;
    Ok(Chain::new()
        .at("/.well-known/openid-configuration", |c| c.get(move || ready(Json(metadata.clone()))))
        .at("/keys", |c| c.get(move || ready(Json(json!({ "keys": [jwk] })))))
        .at("/token", |c| {
            c.allow("open-write", "this stand-in gives a token to anyone")
                .post(move || ready(token(&key, &issuer)))
        })
        .mount("/me", Chain::new().use_(jwt).get(me))
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let app = app(format!("http://127.0.0.1:{port}"))?;
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), app).await?)
}

#[tokio::test]
async fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn std::error::Error>> {
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    app("http://127.0.0.1:9".to_owned())?.audit().assert_none();
    Ok(())
}
