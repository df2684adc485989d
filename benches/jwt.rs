//! What verifying a token takes, beside what the library takes and beside the bare signature check.
//!
//! `cargo bench --bench jwt --features jwt`. Each line is the least of many batches, so that a busy machine disturbs it little; the ratios are what
//! counts.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa::KeySize};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use tower_chain::Jwt;
use tower_chain::middleware::jwt::{Algorithm, Key, TokenCache};

#[derive(Deserialize)]
#[expect(dead_code, reason = "read by no one, made all the same")]
struct Member {
    iss: String,
    aud: String,
    sub: String,
    name: String,
    email: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    roles: Vec<String>,
}

const CLAIMS: &str = r#"{"iss":"https://issuer.example.org","aud":"https://api.example.org","sub":"248289761001","name":"Ada Lovelace","email":"ada@example.org","iat":1500000000,"nbf":1500000000,"exp":4000000000,"roles":["member","admin"]}"#;

fn token(name: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{name}","typ":"JWT"}}"#));
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(CLAIMS));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The least time of one call, in nanoseconds.
fn nanos(mut call: impl FnMut()) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        for _ in 0..50 {
            call();
        }
        least = least.min(start.elapsed().as_nanos() as f64 / 50.0);
    }
    least
}

fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn compare(
    algorithm: Algorithm,
    token: &str,
    key: Key,
    library: (jsonwebtoken::Algorithm, DecodingKey),
    bare: impl Fn(&[u8], &[u8]) -> bool,
) {
    let jwt = || {
        let jwt = Jwt::<Member>::new(key.clone());
        jwt.issuer("https://issuer.example.org").audience("https://api.example.org")
    };
    let plain = jwt();
    let ours = nanos(|| assert!(ready(plain.verify(black_box(token))).is_ok()));
    let cached = TokenCache::new(10_000).map(|cache| jwt().cache(cache));
    let hit = cached.map(|jwt| nanos(|| assert!(ready(jwt.verify(black_box(token))).is_ok())));
    let hit = hit.unwrap_or(f64::NAN);

    let mut validation = Validation::new(library.0);
    validation.set_issuer(&["https://issuer.example.org"]);
    validation.set_audience(&["https://api.example.org"]);
    validation.validate_nbf = true;
    let decode = nanos(|| {
        let decoded = jsonwebtoken::decode::<Member>(black_box(token), &library.1, &validation);
        assert!(decoded.is_ok());
    });

    let (message, signature) = token.rsplit_once('.').unwrap_or_default();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    let bare = nanos(|| assert!(bare(black_box(message.as_bytes()), &signature)));
    println!(
        "jwt/{algorithm}: {ours:.0} ns; library {decode:.0} ns ({:.2}x), bare check {bare:.0} ns ({:.2}x, +{:.0} ns), cache hit {hit:.0} ns ({:.1} times less)",
        ours / decode,
        ours / bare,
        ours - bare,
        ours / hit,
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use jsonwebtoken::Algorithm as Library;
    let _ = DEFAULT_PROVIDER.install_default();
    let random = SystemRandom::new();

    let secret = b"a secret that has thirty-two bytes";
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signed = token("HS256", |message| hmac::sign(&key, message).as_ref().to_vec());
    compare(
        Algorithm::Hs256,
        &signed,
        Key::secret(Algorithm::Hs256, secret)?,
        (Library::HS256, DecodingKey::from_secret(secret)),
        |message, signature| hmac::verify(&key, message, signature).is_ok(),
    );

    let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let signed = token("RS256", |message| {
        let mut signature = vec![0; pair.public_modulus_len()];
        let signing = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
        signing.map(|()| signature).unwrap_or_default()
    });
    let public = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())?;
    compare(
        Algorithm::Rs256,
        &signed,
        Key::der(Algorithm::Rs256, pair.public_key().as_der()?.as_ref())?,
        (Library::RS256, DecodingKey::from_rsa_der(pair.public_key().as_ref())),
        |message, signature| public.verify_sig(message, signature).is_ok(),
    );

    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let signed = token("ES256", |message| {
        pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()).unwrap_or_default()
    });
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())?;
    compare(
        Algorithm::Es256,
        &signed,
        Key::der(Algorithm::Es256, pair.public_key().as_der()?.as_ref())?,
        (Library::ES256, DecodingKey::from_ec_der(pair.public_key().as_ref())),
        |message, signature| public.verify_sig(message, signature).is_ok(),
    );

    let pair = Ed25519KeyPair::generate()?;
    let signed = token("EdDSA", |message| pair.sign(message).as_ref().to_vec());
    let public = ParsedPublicKey::new(&ED25519, pair.public_key().as_ref())?;
    compare(
        Algorithm::Ed25519,
        &signed,
        Key::der(Algorithm::Ed25519, pair.public_key().as_der()?.as_ref())?,
        (Library::EdDSA, DecodingKey::from_ed_der(pair.public_key().as_ref())),
        |message, signature| public.verify_sig(message, signature).is_ok(),
    );

    let jwt = Jwt::<Member>::hs256(secret)?;
    let long = ".".repeat(2 * 1024 * 1024);
    let refused = nanos(|| assert!(ready(jwt.verify(black_box(&long))).is_err()));
    println!("jwt/2 MiB of dots: {refused:.0} ns");
    Ok(())
}
