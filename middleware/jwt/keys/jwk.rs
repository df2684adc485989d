//! JSON Web Keys (RFC 7517).

use serde::Deserialize;
use serde_json::Value;

use super::Keys;
use super::key::Key;
use crate::middleware::jwt::algorithm::{Algorithm, Family};
use crate::middleware::jwt::error::JwtError;
use crate::middleware::jwt::token::json::{Object, object};
use crate::middleware::jwt::token::jws::decode;

/// The members of a JWK that are used here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    /// Not in the RFC: Entra ID.
    #[serde(default, deserialize_with = "text_if_any")]
    issuer: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    /// Present only in a private key.
    d: Option<serde::de::IgnoredAny>,
}

impl Key {
    /// Creates a key from a JWK in JSON, whose `kty` is `RSA`, `EC`, `OKP` or `oct`.
    ///
    /// # Errors
    ///
    /// If it is not a JWK, is private, is not for verifying signatures, or does not fit the algorithm.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::jwt::{Algorithm, Key};
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
    /// let key = Key::jwk(
    ///     Algorithm::Ed25519,
    ///     r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    /// )?;
    /// # let _ = key;
    /// # Ok(())
    /// # }
    /// ```
    pub fn jwk(algorithm: Algorithm, json: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        let jwk: Jwk = object(json.as_ref()).ok_or(JwtError::InvalidJwk)?;
        jwk.check()?;
        jwk.key(algorithm)
    }
}

impl Keys {
    /// Takes from a JWK set in JSON the keys that verify signatures of these algorithms.
    ///
    /// Entries that can't be used are ignored (RFC 7517, 5): keys of another type or for another use, private keys, keys that are too short or
    /// malformed, and secrets among public keys. A key with an `alg` is used for that algorithm alone; a key without one is used for each algorithm
    /// of the list that fits its type.
    ///
    /// # Errors
    ///
    /// If the list is empty, the JSON is not a set of at most 100 keys, or no key can be used.
    pub fn jwks(
        json: impl AsRef<[u8]>,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        let algorithms: Vec<Algorithm> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(JwtError::NoAlgorithm);
        }
        let keys = usable(json.as_ref(), &algorithms)?;
        if keys.is_empty() { Err(JwtError::NoUsableJwk) } else { Ok(Self::published(keys)) }
    }
}

/// Returns the keys of a set that can be used. There may be none.
pub(crate) fn usable(json: &[u8], algorithms: &[Algorithm]) -> Result<Vec<Key>, JwtError> {
    #[derive(Deserialize)]
    struct JwkSet {
        keys: Vec<Value>,
    }

    let set: JwkSet = object(json).ok_or(JwtError::InvalidJwk)?;
    if set.keys.len() > MAX_KEYS {
        return Err(JwtError::TooManyKeys { keys: set.keys.len() });
    }
    // In a set with public keys, secrets are probably published as well, so they are not secret.
    let is_secret = |entry: &Value| entry["kty"] == "oct";
    let mixed = set.keys.iter().any(is_secret) && !set.keys.iter().all(is_secret);
    // The entries for each algorithm, and the key of each, if it is well-formed. One bad entry never spoils the set.
    type Entry = (Algorithm, Option<String>, Option<Key>);
    let mut entries: Vec<Entry> = Vec::new();
    for entry in set.keys {
        if mixed && is_secret(&entry) {
            continue;
        }
        let Ok(Object(jwk)) = Object::<Jwk>::deserialize(entry) else { continue };
        if jwk.check().is_err() {
            continue;
        }
        for algorithm in algorithms.iter().copied().filter(|algorithm| jwk.is_for(*algorithm)) {
            entries.push((algorithm, jwk.kid.clone(), jwk.key(algorithm).ok()));
        }
    }
    // A token can't tell these entries apart. If one of them is malformed, it may be the one that the issuer means.
    let has_malformed_twin = |algorithm, kid: &Option<String>| {
        let is_twin = |other: &Entry| other.0 == algorithm && other.1 == *kid && other.2.is_none();
        kid.is_some() && entries.iter().any(is_twin)
    };
    let mut keys: Vec<Key> = Vec::new();
    for (algorithm, kid, key) in &entries {
        let Some(key) = key else { continue };
        // Equal keys are one key. Different keys that a token can't tell apart both stay, and then match no token.
        if !has_malformed_twin(*algorithm, kid) && !keys.iter().any(|known| known.same_as(key)) {
            keys.push(key.clone());
        }
    }
    Ok(keys)
}

impl Jwk {
    /// Whether it is meant for verifying signatures (RFC 7517, 4.2 and 4.3).
    fn check(&self) -> Result<(), JwtError> {
        if self.d.is_some() {
            return Err(JwtError::PrivateKey);
        }
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err(JwtError::JwkUse);
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err(JwtError::JwkUse);
        }
        Ok(())
    }

    /// Whether it is meant for an algorithm: by its `alg`, if there is one, its type and its curve.
    fn is_for(&self, algorithm: Algorithm) -> bool {
        let named =
            self.alg.as_deref().is_none_or(|name| Algorithm::from_name(name) == Some(algorithm));
        named
            && match algorithm.family() {
                Family::Hmac => self.kty == "oct",
                Family::Rsa => self.kty == "RSA",
                Family::P256 => self.kty == "EC" && self.crv.as_deref() == Some("P-256"),
                Family::P384 => self.kty == "EC" && self.crv.as_deref() == Some("P-384"),
                Family::Ed25519 => self.kty == "OKP" && self.crv.as_deref() == Some("Ed25519"),
            }
    }

    fn key(&self, algorithm: Algorithm) -> Result<Key, JwtError> {
        if let Some(name) = &self.alg {
            let named = Algorithm::from_name(name).ok_or(JwtError::JwkUse)?;
            if named != algorithm {
                return Err(JwtError::WrongKey { algorithm });
            }
        }
        let key = match (algorithm.family(), &*self.kty, self.crv.as_deref()) {
            (Family::Hmac, "oct", _) => Key::long_secret(algorithm, &bytes(&self.k)?),
            (Family::Rsa, "RSA", _) => Key::rsa(algorithm, &bytes(&self.n)?, &bytes(&self.e)?),
            (Family::P256, "EC", Some("P-256")) => self.point(algorithm, 32),
            (Family::P384, "EC", Some("P-384")) => self.point(algorithm, 48),
            (Family::Ed25519, "OKP", Some("Ed25519")) => Key::point(algorithm, &bytes(&self.x)?),
            _ => Err(JwtError::WrongKey { algorithm }),
        }?;
        let key = match &self.kid {
            Some(kid) => key.kid(kid.as_str()),
            None => key,
        };
        Ok(match &self.issuer {
            Some(issuer) => key.of_issuer(issuer),
            None => key,
        })
    }

    /// RFC 7518, 6.2.1: each coordinate has the full length.
    fn point(&self, algorithm: Algorithm, length: usize) -> Result<Key, JwtError> {
        let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
        if x.len() != length || y.len() != length {
            return Err(JwtError::InvalidJwk);
        }
        Key::point(algorithm, &[&[4], &*x, &*y].concat())
    }
}

/// A member that is not in the RFC, so another type must not spoil the key.
fn text_if_any<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

fn bytes(member: &Option<String>) -> Result<Vec<u8>, JwtError> {
    let member = member.as_ref().ok_or(JwtError::InvalidJwk)?;
    decode(member.as_bytes()).map_err(|_| JwtError::InvalidJwk)
}

/// How many keys a set may have.
const MAX_KEYS: usize = 100;
