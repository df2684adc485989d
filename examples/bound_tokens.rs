//! Tokens that are useless to a thief: bound to a key of the client (DPoP, RFC 9449), or to its certificate (RFC 8705).
//!
//! Here the client, the issuer and the API are one program, which prints the responses of the API. Run with
//!
//! ```sh
//! cargo run --example bound_tokens --features jwt
//! # bound to a key
//! #   the token alone: 401
//! #   with a proof for this request: 200, hello, ada
//! #   with the same proof again: 401
//! #   with a proof for another request: 401
//! # bound to a certificate
//! #   on a connection without one: 401
//! #   on a connection with it: 200, hello, ada
//! #   on a connection with another: 401
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! aws-lc-rs = "1"
//! axum = "0.8"
//! base64 = "0.23"
//! getrandom = { version = "0.4", features = ["std"] }
//! http = "1"
//! jsonwebtoken = { version = "12", default-features = false, features = ["aws_lc_rs"] }
//! serde_json = "1"
//! sha2 = "0.10"
//! ```

use std::error::Error;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto, encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower_chain::extract::ClientCertificate;
use tower_chain::middleware::jwt::{CertificateThumbprint, Dpop, Mtls};
use tower_chain::{Body, Chain, ChainService, Claims, Jwt};

const SECRET: &[u8] = b"an example secret of 256 bits !!";

fn api() -> Result<ChainService, Box<dyn Error>> {
    let me =
        async |claims: Claims<Value>| format!("hello, {}", claims["sub"].as_str().unwrap_or("you"));
    // The URL that clients use. The client chooses `Host`, so it is not used.
    let dpop = Dpop::new("https://api.example.com")?.required(true);
    // The server inserts the certificate, with `Tls::client_certificates`. If TLS ends at a proxy, use `Mtls::header`.
    let mtls = Mtls::new(|_, extensions| {
        let certificate = extensions.get::<ClientCertificate>()?;
        Some(CertificateThumbprint::of_der(certificate.der()))
    });
    let by_key = Jwt::<Value>::hs256(SECRET)?.dpop(dpop);
    let by_certificate = Jwt::<Value>::hs256(SECRET)?.mtls(mtls.required(true));
    Ok(Chain::new()
        .allow("shared-secret", "one issuer signs the tokens of both paths")
        .at("/key/me", |c| c.use_(by_key).get(me))
        .at("/certificate/me", |c| c.use_(by_certificate).get(me))
        .build())
}

/// The token that the issuer sends to a client that has proved possession of its key or certificate.
fn token(confirmation: Value) -> Result<String, Box<dyn Error>> {
    let exp = jsonwebtoken::get_current_timestamp() + 300;
    let claims = json!({ "sub": "ada", "exp": exp, "cnf": confirmation });
    Ok(encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)?)?)
}

/// The key of a client.
struct Key(EncodingKey, Jwk);

impl Key {
    fn new() -> Result<Self, Box<dyn Error>> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref());
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        Ok(Self(key, jwk))
    }

    /// Creates a proof, for one request, that the sender of the token has the key.
    fn proof(&self, method: &str, url: &str, token: &str) -> Result<String, Box<dyn Error>> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".to_owned());
        header.jwk = Some(self.1.clone());
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(token));
        let now = jsonwebtoken::get_current_timestamp();
        let id = getrandom::u64()?.to_string();
        let claims = json!({ "jti": id, "htm": method, "htu": url, "iat": now, "ath": digest });
        Ok(encode(&header, &claims, &self.0)?)
    }
}

async fn ask(
    api: &ChainService,
    what: &str,
    request: http::request::Builder,
) -> Result<(), Box<dyn Error>> {
    let response = api.handle(request.body(Body::empty())?).await;
    let status = response.status().as_u16();
    let text = axum::body::to_bytes(response.into_body(), 1024).await?;
    let text = if status == 200 { format!(", {}", str::from_utf8(&text)?) } else { String::new() };
    println!("  {what}: {status}{text}");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let api = api()?;

    println!("bound to a key");
    let key = Key::new()?;
    let bound = token(json!({ "jkt": key.1.thumbprint(ThumbprintHash::SHA256)? }))?;
    let request = || http::Request::get("/key/me");
    let with = |proof: &str| {
        request().header("authorization", format!("DPoP {bound}")).header("dpop", proof)
    };
    let proof = key.proof("GET", "https://api.example.com/key/me", &bound)?;
    let other = key.proof("GET", "https://api.example.com/key/other", &bound)?;
    ask(&api, "the token alone", request().header("authorization", format!("Bearer {bound}")))
        .await?;
    ask(&api, "with a proof for this request", with(&proof)).await?;
    ask(&api, "with the same proof again", with(&proof)).await?;
    ask(&api, "with a proof for another request", with(&other)).await?;

    println!("bound to a certificate");
    let der = |name: &'static str| ClientCertificate::from_der(name.as_bytes());
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest("the certificate, in DER"));
    let bearer = format!("Bearer {}", token(json!({ "x5t#S256": digest }))?);
    let request = || http::Request::get("/certificate/me").header("authorization", &bearer);
    ask(&api, "on a connection without one", request()).await?;
    ask(&api, "on a connection with it", request().extension(der("the certificate, in DER")))
        .await?;
    ask(&api, "on a connection with another", request().extension(der("another"))).await?;
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    api()?.audit().assert_none();
    Ok(())
}
