//! The exact number of allocations to verify a token.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde::Deserialize;
use tower_chain::middleware::jwt::{JwtRefusal, TokenCache};
use tower_chain::{Claims, Jwt};

const SECRET: &str = "the secret that only the tests have";

#[derive(Deserialize)]
#[expect(dead_code, reason = "read by no one, made all the same")]
struct Member {
    sub: String,
    name: String,
    exp: u64,
}

fn token() -> String {
    let claims =
        r#"{"iss":"joe","aud":"me","sub":"ann","name":"Ann","iat":1500000000,"exp":4000000000}"#;
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::HS256, &key).unwrap();
    let signature = signer.try_sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn jwt() -> Jwt<Member> {
    Jwt::hs256(SECRET).unwrap().issuer("joe").unwrap().audience("me").unwrap()
}

fn verify(jwt: &Jwt<Member>, token: &str) -> Result<Claims<Member>, JwtRefusal> {
    let future = pin!(jwt.verify(token));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verified) => verified,
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// Counts the allocations of one call, after warm-up calls.
fn allocations(jwt: &Jwt<Member>, token: &str) -> (u64, Option<JwtRefusal>) {
    for _ in 0..3 {
        let _ = verify(jwt, token);
    }
    let mut result = None;
    let info = measure(|| result = Some(verify(jwt, token)));
    (info.count_total, result.unwrap().err())
}

#[test]
fn a_cached_token_costs_no_allocation() {
    let jwt = jwt().cache(TokenCache::new(100).unwrap());
    assert_eq!(allocations(&jwt, &token()), (0, None));
}

#[test]
fn what_is_no_token_costs_no_allocation() {
    for (token, refusal) in [
        (".".repeat(2 * 1024 * 1024), JwtRefusal::TooLong),
        (".".repeat(8 * 1024), JwtRefusal::Malformed),
        ("a".repeat(8 * 1024), JwtRefusal::Malformed),
        (format!("{}.a.a", "a".repeat(2000)), JwtRefusal::TooLong),
    ] {
        assert_eq!(allocations(&jwt(), &token), (0, Some(refusal)));
    }
}

#[test]
fn a_bad_signature_is_found_before_the_claims_cost_anything() {
    let token = token();
    let (good, _) = allocations(&jwt(), &token);
    let (bad, refusal) = allocations(&jwt(), &token.replace(".ey", ".eY"));
    assert_eq!(refusal, Some(JwtRefusal::Signature));
    assert!(bad == 0 && bad < good, "{bad} of {good}");
}

#[test]
fn a_token_costs_half_of_what_the_library_takes() {
    let token = token();
    let _ = DEFAULT_PROVIDER.install_default();
    let key = DecodingKey::from_secret(SECRET.as_bytes()).unwrap();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&["joe"]);
    validation.set_audience(&["me"]);
    let library = || jsonwebtoken::decode::<Member>(&token, &key, &validation).unwrap();
    let _ = library();
    let info = measure(|| drop(library()));
    let (ours, refusal) = allocations(&jwt(), &token);
    assert_eq!(refusal, None);
    // The two strings of the type, and the handle.
    assert_eq!(ours, 3);
    assert!(ours * 2 <= info.count_total, "{ours} of {}", info.count_total);
}
