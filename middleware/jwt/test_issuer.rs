//! Tokens for tests.

use std::fmt;
#[cfg(feature = "jwt")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
#[cfg(feature = "jwt")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "jwt"))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::{Algorithm as Backend, EncodingKey};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Algorithm, JwtError, Key, KeySource, Keys};
use crate::{Chain, Error, Provided, Response, StatusCode, TestClient};

/// An issuer of tokens for tests, with keys that can be rotated. Its keys are public, so never use it in production. Clones share the keys.
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
///
/// # Example: keys that are fetched
///
/// ```
/// # #[cfg(feature = "jwks")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// use serde_json::{Value, json};
/// use tower_chain::middleware::jwt::{Algorithm, TestIssuer};
/// use tower_chain::{Chain, Claims, Jwt, TestClient};
///
/// let issuer = TestIssuer::es256().over_tcp().await;
/// let jwt = Jwt::<Value>::oidc(issuer.url(), "api", [Algorithm::Es256])?;
/// let client = TestClient::new(Chain::new().use_(jwt).get(async |_: Claims<Value>| "in").build());
///
/// let token = issuer.token(json!({ "sub": "ann", "aud": "api" }));
/// client.get("/").bearer(token).send().await.assert_status(200);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "jwks"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct TestIssuer {
    kind: IssuerKey,
    numbers: Arc<Mutex<Numbers>>,
}

/// What it signs with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IssuerKey {
    Hs256,
    Es256,
    Ed25519,
    #[cfg(feature = "jwt")]
    Rs256,
}

/// The keys that count: all from the first to the last.
#[derive(Clone, Copy)]
struct Numbers {
    first: u32,
    last: u32,
}

impl TestIssuer {
    /// An issuer that signs with HMAC-SHA-256.
    pub fn new() -> Self {
        Self::with(IssuerKey::Hs256)
    }

    /// An issuer that signs with ECDSA over P-256.
    pub fn es256() -> Self {
        Self::with(IssuerKey::Es256)
    }

    /// An issuer that signs with Ed25519.
    pub fn ed25519() -> Self {
        Self::with(IssuerKey::Ed25519)
    }

    /// An issuer that signs with RSA of 2048 bits, as PKCS#1. The first use of each key takes a while: it is made at random.
    #[cfg(feature = "jwt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
    pub fn rs256() -> Self {
        Self::with(IssuerKey::Rs256)
    }

    fn with(kind: IssuerKey) -> Self {
        Self { kind, numbers: Arc::new(Mutex::new(Numbers { first: 1, last: 1 })) }
    }

    /// The algorithm of its signatures.
    pub fn algorithm(&self) -> Algorithm {
        match self.kind {
            IssuerKey::Hs256 => Algorithm::Hs256,
            IssuerKey::Es256 => Algorithm::Es256,
            IssuerKey::Ed25519 => Algorithm::Ed25519,
            #[cfg(feature = "jwt")]
            IssuerKey::Rs256 => Algorithm::Rs256,
        }
    }

    /// The keys as they are at the time of each request, for [`Jwt::new`](super::Jwt::new).
    pub fn keys(&self) -> KeySource {
        let issuer = self.clone();
        KeySource::per_request(|_| (), move |()| std::future::ready(issuer.current().map(Some)))
    }

    fn current(&self) -> Result<Keys, JwtError> {
        let Numbers { first, last } = self.numbers();
        let key = |n| match self.kind.jwk(n) {
            Some(jwk) => Key::jwk(self.algorithm(), jwk.to_string()),
            None => Ok(Key::secret(Algorithm::Hs256, secret(n))?.kid(kid(n))),
        };
        Keys::new((first..=last).map(key).collect::<Result<Vec<_>, JwtError>>()?)
    }

    /// The public keys as they are now, as a JWK set (RFC 7517, 5). There is none for HMAC.
    pub fn jwks(&self) -> Value {
        let Numbers { first, last } = self.numbers();
        json!({ "keys": (first..=last).filter_map(|n| self.kind.jwk(n)).collect::<Vec<_>>() })
    }

    /// Signs with a new key from now on. Tokens of the older ones stay valid.
    pub fn rotate(&self) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).last += 1;
    }

    /// Drops all keys but the newest.
    pub fn retire(&self) {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.first = numbers.last;
    }

    fn numbers(&self) -> Numbers {
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token with these claims, signed with the newest key. `exp` is in an hour unless the claims contain it.
    ///
    /// # Panics
    ///
    /// If the claims are not a JSON object.
    #[track_caller]
    pub fn token(&self, claims: impl Serialize) -> String {
        self.token_with(json!({}), claims)
    }

    /// A token with these claims, and with these members in its header, beside or in place of `alg`, `typ` and `kid`:
    /// `json!({ "typ": "at+jwt" })`, for example. `null` leaves one out.
    ///
    /// # Panics
    ///
    /// If the members or the claims are not JSON objects.
    #[track_caller]
    pub fn token_with(&self, members: impl Serialize, claims: impl Serialize) -> String {
        let mut claims = object("claims", claims);
        let in_an_hour = SystemTime::now() + Duration::from_secs(60 * 60);
        let exp = in_an_hour.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        claims.entry("exp").or_insert_with(|| exp.into());
        let number = self.numbers().last;
        let mut header = Map::new();
        header.insert("alg".into(), self.kind.name().into());
        header.insert("typ".into(), "JWT".into());
        header.insert("kid".into(), kid(number).into());
        header.extend(object("members of the header", members));
        header.retain(|_, value| !value.is_null());
        let part = |map: Map<_, _>| URL_SAFE_NO_PAD.encode(Value::Object(map).to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.kind.sign(number, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Publishes the keys on a port of `127.0.0.1`, with the metadata by which [`Jwt::oidc`](super::Jwt::oidc) finds them.
    ///
    /// # Panics
    ///
    /// If no port can be opened, or outside of a tokio runtime.
    pub async fn over_tcp(&self) -> ServedIssuer {
        let (url, fetches) = (Arc::<Mutex<String>>::default(), Arc::<AtomicUsize>::default());
        let (published, count) = (url.clone(), fetches.clone());
        let site = Chain::new()
            .provide(Published { issuer: self.clone(), url: published, fetches: count })
            .at("/.well-known/openid-configuration", |c| c.get(metadata))
            .at("/keys", |c| c.get(keys))
            .build();
        let server = TestClient::new(site).over_tcp().await;
        let addr = server.addr().map(|addr| format!("http://{addr}")).unwrap_or_default();
        url.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&addr);
        ServedIssuer { issuer: self.clone(), url: addr, fetches, _server: server }
    }
}

/// A [`TestIssuer`] whose keys can be fetched, as long as this lives. Made by [`TestIssuer::over_tcp`].
#[derive(Clone)]
pub struct ServedIssuer {
    issuer: TestIssuer,
    url: String,
    fetches: Arc<AtomicUsize>,
    _server: TestClient,
}

impl ServedIssuer {
    /// The URL of the issuer, which its metadata and its tokens name.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of its JWK set.
    pub fn keys_url(&self) -> String {
        format!("{}/keys", self.url)
    }

    /// How often its JWK set was fetched.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    /// The issuer itself, to rotate its keys.
    pub fn issuer(&self) -> &TestIssuer {
        &self.issuer
    }

    /// A token as [`TestIssuer::token`] makes it. `iss` is this issuer unless the claims contain it.
    ///
    /// # Panics
    ///
    /// If the claims are not a JSON object.
    #[track_caller]
    pub fn token(&self, claims: impl Serialize) -> String {
        let mut claims = object("claims", claims);
        claims.entry("iss").or_insert_with(|| self.url.as_str().into());
        self.issuer.token(claims)
    }
}

impl fmt::Debug for ServedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedIssuer").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What the site of an issuer shows.
#[derive(Clone)]
struct Published {
    issuer: TestIssuer,
    url: Arc<Mutex<String>>,
    fetches: Arc<AtomicUsize>,
}

async fn metadata(Provided(site): Provided<Published>) -> Result<Response, Error> {
    let url = site.url.lock().unwrap_or_else(PoisonError::into_inner).clone();
    json_response(&json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }))
}

async fn keys(Provided(site): Provided<Published>) -> Result<Response, Error> {
    site.fetches.fetch_add(1, Ordering::Relaxed);
    json_response(&site.issuer.jwks())
}

fn json_response(value: &Value) -> Result<Response, Error> {
    let response = http::Response::builder().status(StatusCode::OK);
    Ok(response.header("content-type", "application/json").body(value.to_string().into())?)
}

impl IssuerKey {
    /// The name in a header. For Ed25519 it is the one that issuers use as yet.
    fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::Ed25519 => "EdDSA",
            #[cfg(feature = "jwt")]
            Self::Rs256 => "RS256",
        }
    }

    fn private_key(self, number: u32) -> (Backend, EncodingKey) {
        match self {
            Self::Hs256 => {
                let key = EncodingKey::from_secret(secret(number).as_bytes());
                (Backend::HS256, key.expect("the secret is not empty"))
            }
            Self::Es256 => (Backend::ES256, EncodingKey::from_ec_der(&pkcs8(P256, number))),
            Self::Ed25519 => (Backend::EdDSA, EncodingKey::from_ed_der(&pkcs8(ED25519, number))),
            #[cfg(feature = "jwt")]
            Self::Rs256 => (Backend::RS256, EncodingKey::from_rsa_der(&rsa_key(number))),
        }
    }

    fn sign(self, number: u32, message: &[u8]) -> Vec<u8> {
        let (algorithm, key) = self.private_key(number);
        let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &key);
        match signer.map(|signer| signer.try_sign(message)) {
            Ok(Ok(signature)) => signature,
            Ok(Err(error)) => panic!("the token can't be signed: {error}"),
            Err(error) => panic!("the token can't be signed: {error}"),
        }
    }

    /// The public key as a JWK; `None` if there is none.
    fn jwk(self, number: u32) -> Option<Value> {
        let (algorithm, key) = self.private_key(number);
        let (utils, der) = (&DEFAULT_PROVIDER.key_utils, key.as_bytes());
        let text = |bytes: Vec<u8>| Value::from(URL_SAFE_NO_PAD.encode(bytes));
        let mut jwk = match self {
            Self::Hs256 => return None,
            Self::Es256 => {
                let (_, x, y) = (utils.ec_pub_components_from_private_key)(der, algorithm).ok()?;
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Self::Ed25519 => {
                let curve = EllipticCurve::Ed25519;
                let x = (utils.ed_pub_components_from_private_key)(der, &curve).ok()?;
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(x) })
            }
            #[cfg(feature = "jwt")]
            Self::Rs256 => {
                let (n, e) = (utils.rsa_pub_components_from_private_key)(der).ok()?;
                json!({ "kty": "RSA", "n": text(n), "e": text(e) })
            }
        };
        jwk["kid"] = kid(number).into();
        jwk["alg"] = self.name().into();
        jwk["use"] = "sig".into();
        Some(jwk)
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

#[track_caller]
fn object(what: &str, value: impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        _ => panic!("the {what} of a token must be a JSON object"),
    }
}

/// A private key in PKCS#8 (RFC 5958), out of a number.
fn pkcs8(start: &[u8], number: u32) -> Vec<u8> {
    [start, format!("a key for tests, number {number:08}").as_bytes()].concat()
}

/// Made once for the whole process: that takes a while.
#[cfg(feature = "jwt")]
fn rsa_key(number: u32) -> Vec<u8> {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};

    static KEYS: OnceLock<Mutex<std::collections::HashMap<u32, Vec<u8>>>> = OnceLock::new();
    let mut keys = KEYS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let made = || -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let key = KeyPair::generate(KeySize::Rsa2048)?;
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&key)?;
        // The PKCS#1 key is the last part of the PKCS#8 key, and the first part has the same length for all keys of this size.
        pkcs8.as_ref().get(26..).map(<[u8]>::to_vec).ok_or(aws_lc_rs::error::Unspecified)
    };
    match keys.get(&number) {
        Some(key) => key.clone(),
        None => match made() {
            Ok(key) => keys.entry(number).or_insert(key).clone(),
            Err(error) => panic!("no RSA key can be made: {error}"),
        },
    }
}

fn secret(number: u32) -> String {
    format!("a secret for tests alone, number {number:08}")
}

fn kid(number: u32) -> String {
    format!("test-{number}")
}

/// The bytes of PKCS#8 in front of the 32 bytes of a private key on P-256 (RFC 5915), and of an Ed25519 key (RFC 8410, 7).
const P256: &[u8] = b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";
const ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Claims, Jwt};

    fn kinds() -> Vec<TestIssuer> {
        Vec::from([
            TestIssuer::new(),
            TestIssuer::es256(),
            TestIssuer::ed25519(),
            #[cfg(feature = "jwt")]
            TestIssuer::rs256(),
        ])
    }

    fn api(jwt: Jwt<Value>) -> TestClient {
        TestClient::new(Chain::new().use_(jwt).get(async |_: Claims<Value>| "in").build())
    }

    #[tokio::test]
    async fn tokens_of_every_kind_are_accepted_until_their_key_is_retired() {
        for issuer in kinds() {
            let client = api(Jwt::new(issuer.keys()));
            let old = issuer.token(json!({ "sub": "ann" }));
            issuer.rotate();
            let new = issuer.token(json!({ "sub": "ann" }));
            for token in [&old, &new] {
                client.get("/").bearer(token).send().await.assert_status(200);
            }
            issuer.retire();
            client.get("/").bearer(&old).send().await.assert_challenge("Bearer");
            client.get("/").bearer(&new).send().await.assert_status(200);
        }
    }

    /// The backend's own verification, with the published keys.
    #[test]
    fn published_keys_verify_the_signatures() {
        for issuer in kinds().into_iter().skip(1) {
            let token = issuer.token(json!({}));
            let (message, signature) = token.rsplit_once('.').unwrap();
            let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_value(issuer.jwks()).unwrap();
            let key = jsonwebtoken::DecodingKey::from_jwk(&jwks.keys[0]).unwrap();
            let algorithm = issuer.kind.private_key(1).0;
            let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key).unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            assert!(verifier.verify(message.as_bytes(), &signature).is_ok());
            assert!(verifier.verify(b"another message", &signature).is_err());
        }
        assert_eq!(TestIssuer::new().jwks(), json!({ "keys": [] }));
    }

    #[cfg(feature = "jwks")]
    #[tokio::test]
    async fn keys_are_fetched_from_a_port_and_again_when_they_were_rotated() {
        use super::super::Jwks;

        for issuer in kinds().into_iter().skip(1) {
            let algorithm = issuer.algorithm();
            let served = issuer.over_tcp().await;
            let by_url = Jwks::url(&served.keys_url(), [algorithm]).unwrap();
            let by_url = api(Jwt::new(by_url).issuer(served.url()).unwrap().any_audience());
            let by_issuer = api(Jwt::oidc(served.url(), "api", [algorithm]).unwrap());
            assert_eq!(served.fetches(), 0);
            for (client, fetches) in [(by_url, 1), (by_issuer, 3)] {
                let claims = json!({ "aud": "api" });
                let token = served.token(&claims);
                client.get("/").bearer(token).send().await.assert_status(200);
                assert_eq!(served.fetches(), fetches);
                issuer.rotate();
                client.get("/").bearer(served.token(&claims)).send().await.assert_status(200);
                assert_eq!(served.fetches(), fetches + 1);
                let stranger = served.token(json!({ "aud": "api", "iss": "https://example.org" }));
                client.get("/").bearer(stranger).send().await.assert_challenge("Bearer");
            }
        }
    }

    #[test]
    fn members_of_the_header_are_the_tests_own() {
        let token =
            TestIssuer::new().token_with(json!({ "typ": "at+jwt", "kid": null }), json!({}));
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header, json!({ "alg": "HS256", "typ": "at+jwt" }));
    }
}
