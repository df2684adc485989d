//! Tokens for tests.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
#[cfg(feature = "jwt")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "jwt"))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Algorithm, JwtConfigError, Key, KeySource, Keys};

/// An issuer of tokens for tests, with keys that can be rotated. It signs with HMAC-SHA-256 and secrets that are no secret. Clones share the keys.
///
/// # Example
///
/// ```
/// use serde_json::{Value, json};
/// use tower_chain::middleware::jwt::TestIssuer;
/// use tower_chain::{Chain, Claims, Jwt, TestClient};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let issuer = TestIssuer::new();
/// let api = Chain::new().use_(Jwt::<Value>::new(issuer.keys())).get(async |_: Claims<Value>| "in").build();
/// let client = TestClient::new(api);
///
/// let old = issuer.token(json!({ "sub": "ann" }));
/// issuer.rotate();
/// let new = issuer.token(json!({ "sub": "ann" }));
/// client.get("/").bearer(&old).send().await.assert_status(200);
/// client.get("/").bearer(&new).send().await.assert_status(200);
///
/// issuer.retire();
/// client.get("/").bearer(&old).send().await.assert_challenge("Bearer");
/// client.get("/").bearer(&new).send().await.assert_status(200);
/// # }
/// ```
#[derive(Clone)]
pub struct TestIssuer(Arc<Mutex<Numbers>>);

/// The keys that count: all from the first to the last.
#[derive(Clone, Copy)]
struct Numbers {
    first: u32,
    last: u32,
}

impl TestIssuer {
    /// An issuer with one key.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Numbers { first: 1, last: 1 })))
    }

    /// The keys as they are at the time of each request, for [`Jwt::new`](super::Jwt::new).
    pub fn keys(&self) -> KeySource {
        let issuer = self.clone();
        KeySource::per_request(|_| (), move |()| std::future::ready(issuer.current().map(Some)))
    }

    fn current(&self) -> Result<Keys, JwtConfigError> {
        let Numbers { first, last } = self.numbers();
        let key = |n| Ok(Key::secret(Algorithm::Hs256, secret(n))?.kid(kid(n)));
        Keys::new((first..=last).map(key).collect::<Result<Vec<_>, JwtConfigError>>()?)
    }

    /// Signs with a new key from now on. Tokens of the older ones stay valid.
    pub fn rotate(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last += 1;
    }

    /// Drops all keys but the newest.
    pub fn retire(&self) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.first = numbers.last;
    }

    fn numbers(&self) -> Numbers {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token with these claims, signed with the newest key. `exp` is in an hour unless the claims say otherwise.
    ///
    /// # Panics
    ///
    /// If the claims are no JSON object.
    #[track_caller]
    pub fn token(&self, claims: impl Serialize) -> String {
        let Ok(Value::Object(mut claims)) = serde_json::to_value(claims) else {
            panic!("the claims of a token must be a JSON object");
        };
        let in_an_hour = SystemTime::now() + Duration::from_secs(60 * 60);
        let exp = in_an_hour.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        claims.entry("exp").or_insert_with(|| exp.into());
        let number = self.numbers().last;
        let header = json!({ "alg": "HS256", "typ": "JWT", "kid": kid(number) });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&Value::Object(claims)));
        let key = jsonwebtoken::EncodingKey::from_secret(secret(number).as_bytes());
        let signer = (DEFAULT_PROVIDER.signer_factory)(&jsonwebtoken::Algorithm::HS256, &key);
        match signer.map(|signer| signer.try_sign(message.as_bytes())) {
            Ok(Ok(signature)) => format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)),
            Ok(Err(error)) => panic!("the token can't be signed: {error}"),
            Err(error) => panic!("the token can't be signed: {error}"),
        }
    }
}

impl Default for TestIssuer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestIssuer")
    }
}

fn secret(number: u32) -> String {
    format!("a secret for tests alone, number {number:08}")
}

fn kid(number: u32) -> String {
    format!("test-{number}")
}
