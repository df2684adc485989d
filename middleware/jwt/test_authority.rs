//! An issuer that publishes its keys, for tests.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Algorithm, Fetch, Jwks, JwtConfigError};
use crate::{Body, Response};

/// An OpenID issuer for tests, without a socket: it publishes metadata and keys, counts who asks for them, rotates, and fails when it should. It signs
/// with Ed25519. Clones are the same issuer.
///
/// # Example
///
/// ```
/// use serde_json::{Value, json};
/// use tower_chain::middleware::jwt::TestAuthority;
/// use tower_chain::{Chain, Claims, Jwt, TestClient};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_chain::JwtConfigError> {
/// let authority = TestAuthority::new("https://login.example.org")?;
/// let jwt = Jwt::<Value>::new(authority.jwks()?);
/// let client = TestClient::new(Chain::new().use_(jwt).get(async |_: Claims<Value>| "in").build());
///
/// let token = authority.token(json!({ "sub": "ann" }));
/// client.get("/").bearer(&token).send().await.assert_status(200);
/// assert_eq!((authority.discoveries(), authority.fetches()), (1, 1));
///
/// // A new key is fetched once, when a token names it.
/// authority.rotate();
/// let token = authority.token(json!({ "sub": "ann" }));
/// client.get("/").bearer(&token).send().await.assert_status(200);
/// assert_eq!((authority.discoveries(), authority.fetches()), (1, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestAuthority {
    issuer: Arc<str>,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Those that are published, each with its number.
    pairs: Vec<(u32, Ed25519KeyPair)>,
    discoveries: usize,
    fetches: usize,
    is_down: bool,
}

impl TestAuthority {
    /// An issuer with one key, and this identifier.
    ///
    /// # Errors
    ///
    /// If the random numbers for the key can't be had.
    pub fn new(issuer: &str) -> Result<Self, JwtConfigError> {
        let pairs = vec![(1, pair()?)];
        let state = State { pairs, discoveries: 0, fetches: 0, is_down: false };
        Ok(Self { issuer: Arc::from(issuer), state: Arc::new(Mutex::new(state)) })
    }

    /// Its keys, found through its metadata, for [`Jwt::new`](super::Jwt::new).
    ///
    /// # Errors
    ///
    /// As those of [`Jwks::issuer`].
    pub fn jwks(&self) -> Result<Jwks, JwtConfigError> {
        Ok(Jwks::issuer(&self.issuer, [Algorithm::Ed25519])?.fetch(self.clone()))
    }

    /// Signs with a new key from now on. The older ones stay published.
    ///
    /// # Panics
    ///
    /// If the random numbers for the key can't be had.
    #[track_caller]
    pub fn rotate(&self) {
        let Ok(pair) = pair() else { panic!("there are no random numbers for a key") };
        let mut state = self.lock();
        let number = state.pairs.last().map_or(1, |(number, _)| number + 1);
        state.pairs.push((number, pair));
    }

    /// Withdraws all keys but the newest.
    pub fn retire(&self) {
        let mut state = self.lock();
        let old = state.pairs.len().saturating_sub(1);
        state.pairs.drain(..old);
    }

    /// Sets whether it answers with 503 instead of its metadata and keys.
    pub fn down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    /// How often its metadata were asked for.
    pub fn discoveries(&self) -> usize {
        self.lock().discoveries
    }

    /// How often its keys were asked for.
    pub fn fetches(&self) -> usize {
        self.lock().fetches
    }

    /// A token with these claims, signed with the newest key. `iss` is this issuer and `exp` in an hour unless the claims say otherwise.
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
        claims.entry("iss").or_insert_with(|| Value::from(&*self.issuer));
        let state = self.lock();
        let Some((number, pair)) = state.pairs.last() else { panic!("there is no key") };
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid(*number) });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&Value::Object(claims)));
        let signature = pair.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetch for TestAuthority {
    type Error = std::convert::Infallible;

    async fn fetch(&self, request: http::Request<()>) -> Result<Response, Self::Error> {
        let mut state = self.lock();
        let is_keys = request.uri().path().ends_with("/keys");
        match is_keys {
            true => state.fetches += 1,
            false => state.discoveries += 1,
        }
        let mut response = Response::new(Body::empty());
        if state.is_down {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Ok(response);
        }
        let jwk = |(number, pair): &(u32, Ed25519KeyPair)| {
            let x = URL_SAFE_NO_PAD.encode(pair.public_key());
            json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid(*number), "x": x })
        };
        let document = match is_keys {
            true => json!({ "keys": state.pairs.iter().map(jwk).collect::<Vec<_>>() }),
            false => {
                json!({ "issuer": &*self.issuer, "jwks_uri": format!("{}/keys", self.issuer) })
            }
        };
        *response.body_mut() = Body::from(document.to_string());
        Ok(response)
    }
}

impl fmt::Debug for TestAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAuthority").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

fn pair() -> Result<Ed25519KeyPair, JwtConfigError> {
    Ed25519KeyPair::generate().map_err(|_| JwtConfigError::Random)
}

fn kid(number: u32) -> String {
    format!("test-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::jwt::{Jwt, Refusal, TokenCache};

    #[tokio::test]
    async fn it_counts_rotates_retires_and_fails() -> Result<(), JwtConfigError> {
        let authority = TestAuthority::new("https://login.example.org")?;
        let jwt = Jwt::<Value>::new(authority.jwks()?).cache(TokenCache::new(10)?);
        authority.down(true);
        let first = authority.token(json!({ "sub": "ann" }));
        assert_eq!(jwt.verify(&first).await.map(drop), Err(Refusal::KeysUnavailable));
        assert_eq!((authority.discoveries(), authority.fetches()), (1, 0));

        authority.down(false);
        let jwt = Jwt::<Value>::new(authority.jwks()?).cache(TokenCache::new(10)?);
        for _ in 0..3 {
            assert_eq!(jwt.verify(&first).await.map(|claims| claims["sub"] == "ann"), Ok(true));
        }
        assert_eq!((authority.discoveries(), authority.fetches()), (2, 1));

        authority.rotate();
        authority.retire();
        let second = authority.token(json!({}));
        assert!(jwt.verify(&second).await.is_ok());
        assert_eq!(jwt.verify(&first).await.map(drop), Err(Refusal::Key), "though it is cached");
        assert!(authority.fetches() <= 3);

        // Another issuer's token, and one for another.
        let other = TestAuthority::new("https://login.example.org")?.token(json!({}));
        assert!(jwt.verify(&other).await.is_err());
        let elsewhere = authority.token(json!({ "iss": "https://evil.example" }));
        assert_eq!(jwt.verify(&elsewhere).await.map(drop), Err(Refusal::Issuer));
        assert!(!format!("{authority:?}").contains("Pair"));
        Ok(())
    }
}
