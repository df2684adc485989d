//! Keys, checked and prepared when they are loaded.

use std::fmt;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};

use super::algorithm::{Algorithm, Family};
use super::crypto::{self, Verifier};
use super::error::JwtConfigError;
use super::jws::{self, Compact, Head};
use super::refusal::Refusal;

/// A key that verifies signatures of exactly one algorithm: the header of a token can't choose another.
///
/// Everything about it is checked when it is made. Its `Debug` shows algorithm and `kid`, nothing else.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::jwt::{Algorithm, Key, Keys};
///
/// # fn main() -> Result<(), tower_chain::JwtConfigError> {
/// let old = Key::secret(Algorithm::Hs256, "an old secret of thirty-two bytes")?.kid("2025");
/// let new = Key::secret(Algorithm::Hs256, "the new secret of thirty-two byte")?.kid("2026");
/// let keys = Keys::new([old, new])?;
/// # let _ = keys;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Key(Arc<Prepared>);

#[derive(Clone)]
struct Prepared {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    verifier: Arc<Verifier>,
    /// The other backend: with both compiled in, each test asks them both.
    #[cfg(all(test, feature = "jwt", feature = "jwt-rust-crypto"))]
    second: Option<Arc<crypto::rust_crypto::Verifier>>,
    /// A digest of algorithm and key material. What was verified with a key is known by it.
    id: KeyId,
}

pub(crate) type KeyId = [u8; 32];

impl Key {
    /// A shared secret, for HMAC.
    ///
    /// # Errors
    ///
    /// If it is shorter than the hash (32, 48 or 64 bytes), all zeros, or the content of a key file.
    pub fn secret(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        let secret = secret.as_ref();
        // A buffer that no one has filled. In a JWK it would be what someone wrote on purpose.
        if !secret.is_empty() && secret.iter().all(|byte| *byte == 0) {
            return Err(JwtConfigError::ZeroSecret);
        }
        Self::long_secret(algorithm, secret)
    }

    pub(crate) fn long_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, JwtConfigError> {
        if secret.len() < algorithm.secret_bytes() && algorithm.family() == Family::Hmac {
            return Err(JwtConfigError::ShortSecret { algorithm, bytes: secret.len() });
        }
        Self::secret_of_any_length(algorithm, secret)
    }

    /// A shared secret that may be shorter than the hash.
    ///
    /// A token that is signed with such a secret can be forged by whoever guesses the secret, offline. It is here for
    /// secrets that others chose and that can't be changed.
    ///
    /// # Errors
    ///
    /// If it is empty, or the content of a key file.
    pub fn insecure_short_secret(
        algorithm: Algorithm,
        secret: impl AsRef<[u8]>,
    ) -> Result<Self, JwtConfigError> {
        Self::secret_of_any_length(algorithm, secret.as_ref())
    }

    fn secret_of_any_length(algorithm: Algorithm, secret: &[u8]) -> Result<Self, JwtConfigError> {
        if algorithm.family() != Family::Hmac {
            return Err(JwtConfigError::WrongKey { algorithm });
        }
        if secret.is_empty() {
            return Err(JwtConfigError::ShortSecret { algorithm, bytes: 0 });
        }
        if is_key_file(secret) {
            return Err(JwtConfigError::SecretIsKeyFile);
        }
        Self::prepare(algorithm, &DecodingKey::from_secret(secret))
    }

    /// A public key in PEM: `PUBLIC KEY`, or `RSA PUBLIC KEY` (PKCS#1) for RSA.
    ///
    /// # Errors
    ///
    /// If it is no such key, is private, does not fit the algorithm, or is an RSA key under 2048 bits.
    pub fn pem(algorithm: Algorithm, pem: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        let pem = pem.as_ref().trim_ascii();
        if pem.windows(11).any(|window| window == b"PRIVATE KEY") {
            return Err(JwtConfigError::PrivateKey);
        }
        let public = pem.starts_with(b"-----BEGIN PUBLIC KEY-----");
        if !public && !pem.starts_with(b"-----BEGIN RSA PUBLIC KEY-----") {
            return Err(JwtConfigError::InvalidKey);
        }
        let mismatch = || match public {
            // The PEM is read once more as each other kind, only to tell a wrong key from no key.
            true if [
                DecodingKey::from_rsa_pem(pem),
                DecodingKey::from_ec_pem(pem),
                DecodingKey::from_ed_pem(pem),
            ]
            .iter()
            .any(Result::is_ok) =>
            {
                JwtConfigError::WrongKey { algorithm }
            }
            _ => JwtConfigError::InvalidKey,
        };
        match algorithm.family() {
            Family::Hmac => Err(JwtConfigError::WrongKey { algorithm }),
            Family::Rsa => {
                let key = DecodingKey::from_rsa_pem(pem).map_err(|_| mismatch())?;
                let der = key.try_get_as_bytes().map_err(|_| JwtConfigError::InvalidKey)?;
                let Some((n, e)) = crypto::rsa_components(der) else {
                    return Err(mismatch());
                };
                Self::rsa(algorithm, &n, &e)
            }
            Family::P256 | Family::P384 => {
                let key = DecodingKey::from_ec_pem(pem).map_err(|_| mismatch())?;
                let point = key.try_get_as_bytes().map_err(|_| JwtConfigError::InvalidKey)?;
                Self::point(algorithm, point)
            }
            Family::Ed25519 => {
                let key = DecodingKey::from_ed_pem(pem).map_err(|_| mismatch())?;
                let point = key.try_get_as_bytes().map_err(|_| JwtConfigError::InvalidKey)?;
                Self::point(algorithm, point)
            }
        }
    }

    /// A public key in DER: `SubjectPublicKeyInfo`, or PKCS#1 for RSA.
    ///
    /// # Errors
    ///
    /// As those of [`Key::pem`].
    pub fn der(algorithm: Algorithm, der: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        let der = der.as_ref();
        if algorithm.family() == Family::Rsa
            && let Some((n, e)) = crypto::rsa_components(der)
        {
            return Self::rsa(algorithm, &n, &e);
        }
        let body = STANDARD.encode(der);
        Self::pem(
            algorithm,
            format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"),
        )
    }

    /// Sets the `kid` by which tokens name the key. Defaults to none, or to that of the JWK.
    ///
    /// A key without one is used for tokens without one, and for those that name a `kid` that no other key has.
    #[must_use]
    pub fn kid(self, kid: impl Into<String>) -> Self {
        let mut prepared = Arc::unwrap_or_clone(self.0);
        prepared.kid = Some(kid.into().into_boxed_str());
        Self(Arc::new(prepared))
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    pub(crate) fn id(&self) -> &KeyId {
        &self.0.id
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = self.0.verifier.verify(message, signature);
        #[cfg(all(test, feature = "jwt", feature = "jwt-rust-crypto"))]
        if let Some(second) = &self.0.second {
            assert_eq!(verified, second.verify(message, signature), "the backends disagree");
        }
        verified
    }

    pub(crate) fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<Self, JwtConfigError> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(JwtConfigError::RsaBits { bits });
        }
        // An exponent of more than 33 bits is no one's choice, and makes each check slow.
        if e == [1] || e.len() > 5 || e.last().is_none_or(|last| last % 2 == 0) {
            return Err(JwtConfigError::RsaExponent);
        }
        Self::prepare(algorithm, &DecodingKey::from_rsa_raw_components(n, e))
    }

    /// A point, for ECDSA uncompressed with its tag.
    pub(crate) fn point(algorithm: Algorithm, point: &[u8]) -> Result<Self, JwtConfigError> {
        let (length, key) = match algorithm.family() {
            Family::P256 => (65, DecodingKey::from_ec_der(point)),
            Family::P384 => (97, DecodingKey::from_ec_der(point)),
            Family::Ed25519 => (32, DecodingKey::from_ed_der(point)),
            Family::Hmac | Family::Rsa => return Err(JwtConfigError::WrongKey { algorithm }),
        };
        if point.len() != length {
            return Err(JwtConfigError::WrongKey { algorithm });
        }
        Self::prepare(algorithm, &key)
    }

    fn prepare(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, JwtConfigError> {
        let verifier =
            Verifier::new(algorithm, key).ok_or(JwtConfigError::WrongKey { algorithm })?;
        let name = algorithm.name().as_bytes();
        let id = match key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => crypto::sha256(&[name, &[0], bytes]),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                crypto::sha256(&[name, &[0], e, &[0], n])
            }
        };
        Ok(Self(Arc::new(Prepared {
            algorithm,
            kid: None,
            verifier: Arc::new(verifier),
            #[cfg(all(test, feature = "jwt", feature = "jwt-rust-crypto"))]
            second: crypto::rust_crypto::Verifier::new(algorithm, key).map(Arc::new),
            id,
        })))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.0.algorithm)
            .field("kid", &self.0.kid)
            .finish_non_exhaustive()
    }
}

/// The keys that tokens may be signed with. A clone is a handle to the same keys.
///
/// # Example
///
/// ```
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::{Algorithm, Key, Keys};
///
/// # fn main() -> Result<(), tower_chain::JwtConfigError> {
/// # let (old, new) = ("the old secret of thirty-two bytes", "the new secret of thirty-two bytes");
/// let keys = Keys::new([
///     Key::secret(Algorithm::Hs256, old)?.kid("2025"),
///     Key::secret(Algorithm::Hs256, new)?.kid("2026"),
/// ])?;
/// let jwt = Jwt::<serde_json::Value>::new(keys);
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Keys(Arc<Set>);

struct Set {
    keys: Box<[Key]>,
    /// Headers of tokens whose signature was good. An issuer writes few, so that most need no parsing. What is read of a header depends on its
    /// bytes alone, and the keys never change.
    known: [OnceLock<Known>; KNOWN_HEADERS],
}

struct Known {
    encoded: Box<[u8]>,
    key: Key,
    typ: Option<Box<str>>,
}

impl Keys {
    /// Several keys, told apart by algorithm and `kid`.
    ///
    /// # Errors
    ///
    /// If there is none, or two can't be told apart.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<Self, JwtConfigError> {
        let keys: Vec<Key> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(JwtConfigError::NoKey);
        }
        for (index, key) in keys.iter().enumerate() {
            let same =
                |other: &Key| other.0.algorithm == key.0.algorithm && other.0.kid == key.0.kid;
            if keys.iter().skip(index + 1).any(same) {
                return Err(JwtConfigError::AmbiguousKey);
            }
        }
        Ok(Self::published(keys))
    }

    /// Keys that others published. Those that can't be told apart stay in, and match no token.
    pub(crate) fn published(keys: impl Into<Box<[Key]>>) -> Self {
        Self(Arc::new(Set { keys: keys.into(), known: Default::default() }))
    }

    /// Verifies a JWS in compact form ([RFC 7515, 5.2](https://www.rfc-editor.org/rfc/rfc7515#section-5.2)) and gives its payload.
    ///
    /// Only the signature and the header are checked. The payload may be anything; no claim in it is looked at.
    ///
    /// # Errors
    ///
    /// If the text is no compact JWS of at most 64 KiB, its header asks for an extension, no key fits, or the signature is wrong.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::jwt::{Algorithm, Key, Keys, Refusal};
    ///
    /// # fn main() -> Result<(), tower_chain::JwtConfigError> {
    /// let keys = Keys::from(Key::secret(Algorithm::Hs256, "a secret that has thirty-two bytes")?);
    /// assert_eq!(keys.verify("eyJhbGciOiJub25lIn0.e30."), Err(Refusal::Malformed));
    /// # Ok(())
    /// # }
    /// ```
    pub fn verify(&self, compact: impl AsRef<[u8]>) -> Result<Vec<u8>, Refusal> {
        let compact = Compact::split(compact.as_ref(), JWS_BYTES)?;
        let header = jws::decode(compact.header)?;
        let head = Head::read(&header)?;
        let payload = jws::decode(compact.payload)?;
        check(self.find(&head)?, &compact)?;
        Ok(payload)
    }

    /// Checks header and signature, and says by which key. `is_accepted` judges the `typ`.
    pub(crate) fn check(
        &self,
        compact: &Compact<'_>,
        is_accepted: impl FnOnce(Option<&str>) -> Result<(), Refusal>,
    ) -> Result<&Key, Refusal> {
        let known = self.0.known.iter().map_while(OnceLock::get);
        if let Some(known) = known.into_iter().find(|known| *known.encoded == *compact.header) {
            is_accepted(known.typ.as_deref())?;
            check(&known.key, compact)?;
            return Ok(&known.key);
        }
        let mut buffer = [0; HEADER_BYTES];
        let head = Head::read(jws::decode_into(compact.header, &mut buffer)?)?;
        is_accepted(head.typ.as_deref())?;
        let key = self.find(&head)?;
        check(key, compact)?;
        // Only what bears a good signature is remembered, so that no one else takes the room.
        if let Some(free) = self.0.known.iter().find(|known| known.get().is_none()) {
            let typ = head.typ.as_deref().map(Box::from);
            let _ = free.set(Known { encoded: Box::from(compact.header), key: key.clone(), typ });
        }
        Ok(key)
    }

    /// The one key for this header.
    pub(crate) fn find(&self, head: &Head<'_>) -> Result<&Key, Refusal> {
        let fits = |key: &&Key| key.0.algorithm == head.algorithm;
        let Some(kid) = head.kid.as_deref() else {
            return only(self.0.keys.iter().filter(fits)).map_err(|none| match none {
                NotOne::None => Refusal::Algorithm,
                NotOne::Several => Refusal::Key,
            });
        };
        let mut named =
            self.0.keys.iter().filter(|key| key.0.kid.as_deref() == Some(kid)).peekable();
        if named.peek().is_some() {
            return only(named.filter(fits)).map_err(|none| match none {
                NotOne::None => Refusal::Algorithm,
                NotOne::Several => Refusal::Key,
            });
        }
        // A key that no one gave a name is tried whatever the token calls it.
        only(self.0.keys.iter().filter(|key| key.0.kid.is_none()).filter(fits)).map_err(|none| {
            let accepted = self.0.keys.iter().any(|key| fits(&key));
            match none {
                NotOne::None if !accepted => Refusal::Algorithm,
                _ => Refusal::Key,
            }
        })
    }

    pub(crate) fn contains(&self, id: &KeyId) -> bool {
        self.0.keys.iter().any(|key| key.id() == id)
    }

    /// Whether both are handles to the same keys.
    #[cfg(feature = "jwks")]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether both hold equal keys under equal names, in the same order.
    #[cfg(feature = "jwks")]
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let name = |key: &Key| (key.0.id, key.0.kid.clone());
        self.0.keys.iter().map(name).eq(other.0.keys.iter().map(name))
    }
}

impl From<Key> for Keys {
    fn from(key: Key) -> Self {
        Self::published([key])
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.0.keys).finish()
    }
}

/// Checks the signature.
fn check(key: &Key, compact: &Compact<'_>) -> Result<(), Refusal> {
    let mut buffer = [0; SIGNATURE_BYTES];
    if compact.signature.len() > SIGNATURE_BYTES {
        return Err(Refusal::Signature);
    }
    let signature = jws::decode_into(compact.signature, &mut buffer)?;
    if key.verify(compact.message, signature) { Ok(()) } else { Err(Refusal::Signature) }
}

enum NotOne {
    None,
    Several,
}

fn only<'k>(mut keys: impl Iterator<Item = &'k Key>) -> Result<&'k Key, NotOne> {
    let first = keys.next().ok_or(NotOne::None)?;
    if keys.next().is_some() { Err(NotOne::Several) } else { Ok(first) }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Whether the bytes are the content of a key file. A public key as HMAC secret lets everyone sign.
fn is_key_file(secret: &[u8]) -> bool {
    let text = secret.trim_ascii();
    let holds = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    // The body of a PEM file without its first and last line.
    let body: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let body = STANDARD.decode(body).is_ok_and(|body| is_der(&body));
    let jwk = text.starts_with(b"{") && holds(b"\"kty\"");
    // Before a PEM file there may be a mark of its encoding, or the same in plain words.
    let pem = holds(b"-----BEGIN ") || holds(b"---- BEGIN ");
    let ssh = text.starts_with(b"ssh-") || text.starts_with(b"ecdsa-sha2-");
    is_der(secret) || body || jwk || pem || ssh
}

/// Whether it is a DER sequence of the length that it says. No random secret is one; the shortest of public keys has 44 bytes.
fn is_der(bytes: &[u8]) -> bool {
    bytes.len() >= 44
        && match *bytes {
            [0x30, length, ref rest @ ..] if length < 0x80 => rest.len() == usize::from(length),
            [0x30, 0x81, length, ref rest @ ..] => rest.len() == usize::from(length),
            [0x30, 0x82, high, low, ref rest @ ..] => {
                rest.len() == usize::from(u16::from_be_bytes([high, low]))
            }
            _ => false,
        }
}

/// NIST SP 800-131A and RFC 7518, 3.3.
const MIN_RSA_BITS: usize = 2048;
/// The pure Rust backend takes no longer keys than 4096 bits.
pub(crate) const MAX_RSA_BITS: usize = if cfg!(feature = "jwt") { 8192 } else { 4096 };
/// How many bytes a JWS of [`Keys::verify`] may have.
const JWS_BYTES: usize = 64 * 1024;
/// How many bytes an encoded signature may have: that of RSA with 8192 bits has 1366.
const SIGNATURE_BYTES: usize = 1368;
/// How many bytes a decoded header may have: that of 1024 characters.
const HEADER_BYTES: usize = 768;
/// How many headers are remembered.
const KNOWN_HEADERS: usize = 4;
