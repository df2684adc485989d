//! A key, which is checked and prepared when it is loaded.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};

use crate::declare::SecretId;
use crate::middleware::jwt::algorithm::{Algorithm, Family, MAX_RSA_BITS};
use crate::middleware::jwt::crypto::{self, Verifier};
use crate::middleware::jwt::error::JwtError;

/// A key that verifies signatures of exactly one algorithm: the header of a token can't choose another.
///
/// It is checked completely when it is created. Its `Debug` shows the algorithm and the `kid`, and nothing else.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::jwt::{Algorithm, Key, Keys};
///
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// let old = Key::secret(Algorithm::Hs256, "an old secret of thirty-two bytes")?.kid("2025");
/// let new = Key::secret(Algorithm::Hs256, "the new secret of thirty-two byte")?.kid("2026");
/// let keys = Keys::new([old, new])?;
/// # let _ = keys;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Key(pub(super) Arc<Prepared>);

#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<Box<str>>,
    /// The member `issuer` of its JWK, by which Entra ID publishes keys for some tenants alone.
    pub(super) issuer: Option<Box<str>>,
    verifier: Arc<Verifier>,
    /// The key in the other backend: if both are compiled in, each test compares them.
    #[cfg(all(test, feature = "jwt", feature = "jwt-rust-crypto"))]
    second: Option<Arc<crypto::rust_crypto::Verifier>>,
    /// A digest of the algorithm and the key material, by which the token cache recognizes the key.
    id: KeyId,
    /// Recognizes a shared secret that another step has as well.
    secret: Option<SecretId>,
}

pub(crate) type KeyId = [u8; 32];

impl Key {
    /// Creates a key from a shared secret, for HMAC.
    ///
    /// # Errors
    ///
    /// If it is shorter than the hash (32, 48 or 64 bytes), all zeros, or the content of a key file.
    pub fn secret(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        let secret = secret.as_ref();
        // Probably a buffer that was never filled. A JWK of zeros is allowed: it was written on purpose.
        if !secret.is_empty() && secret.iter().all(|byte| *byte == 0) {
            return Err(JwtError::ZeroSecret);
        }
        Self::long_secret(algorithm, secret)
    }

    pub(crate) fn long_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, JwtError> {
        if secret.len() < algorithm.secret_bytes() && algorithm.family() == Family::Hmac {
            return Err(JwtError::ShortSecret { algorithm, bytes: secret.len() });
        }
        Self::secret_of_any_length(algorithm, secret)
    }

    /// Creates a key from a shared secret that may be shorter than the hash.
    ///
    /// An attacker can guess a short secret offline, and can then forge tokens. Use it only for a secret that another party chose and that can't be
    /// changed.
    ///
    /// # Errors
    ///
    /// If it is empty, or the content of a key file.
    pub fn insecure_short_secret(
        algorithm: Algorithm,
        secret: impl AsRef<[u8]>,
    ) -> Result<Self, JwtError> {
        Self::secret_of_any_length(algorithm, secret.as_ref())
    }

    fn secret_of_any_length(algorithm: Algorithm, secret: &[u8]) -> Result<Self, JwtError> {
        if algorithm.family() != Family::Hmac {
            return Err(JwtError::WrongKey { algorithm });
        }
        if secret.is_empty() {
            return Err(JwtError::ShortSecret { algorithm, bytes: 0 });
        }
        if secret.trim_ascii().is_empty() {
            return Err(JwtError::Blank { what: "the secret" });
        }
        if is_key_file(secret) {
            return Err(JwtError::SecretIsKeyFile);
        }
        let key = DecodingKey::from_secret(secret).map_err(|_| JwtError::InvalidKey)?;
        let Self(prepared) = Self::prepare(algorithm, &key)?;
        let secret = Some(SecretId::of_digest(&crypto::sha256(&[secret])));
        Ok(Self(Arc::new(Prepared { secret, ..(*prepared).clone() })))
    }

    /// Creates a key from a public key in PEM: `PUBLIC KEY`, or `RSA PUBLIC KEY` (PKCS#1) for RSA.
    ///
    /// # Errors
    ///
    /// If it is not such a key, is private or a certificate, contains several keys, does not fit the algorithm, or is an RSA key under 2048 bits.
    pub fn pem(algorithm: Algorithm, pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        let pem = pem.as_ref().trim_ascii();
        let count = |text: &[u8]| pem.windows(text.len()).filter(|window| *window == text).count();
        if count(br"\n") > 0 {
            return Err(JwtError::EscapedLineBreaks);
        }
        if count(b"-----BEGIN ") == 0 {
            return Err(not_pem(pem));
        }
        if count(b"CERTIFICATE-----") > 0 {
            return Err(JwtError::Certificate);
        }
        if pem.windows(11).any(|window| window == b"PRIVATE KEY") {
            return Err(JwtError::PrivateKey);
        }
        if count(b"-----BEGIN ") > 1 {
            return Err(JwtError::SeveralKeys);
        }
        let public = pem.starts_with(b"-----BEGIN PUBLIC KEY-----");
        if !public && !pem.starts_with(b"-----BEGIN RSA PUBLIC KEY-----") {
            return Err(JwtError::InvalidKey);
        }
        let mismatch = || match public {
            // The PEM is parsed as each other type, to distinguish a wrong key from garbage.
            true if [
                DecodingKey::from_rsa_pem(pem),
                DecodingKey::from_ec_pem(pem),
                DecodingKey::from_ed_pem(pem),
            ]
            .iter()
            .any(Result::is_ok) =>
            {
                JwtError::WrongKey { algorithm }
            }
            _ => JwtError::InvalidKey,
        };
        match algorithm.family() {
            Family::Hmac => Err(JwtError::WrongKey { algorithm }),
            Family::Rsa => {
                let key = DecodingKey::from_rsa_pem(pem).map_err(|_| mismatch())?;
                let der = key.try_get_as_bytes().map_err(|_| JwtError::InvalidKey)?;
                let Some((n, e)) = crypto::rsa_components(der) else {
                    return Err(mismatch());
                };
                Self::rsa(algorithm, &n, &e)
            }
            Family::P256 | Family::P384 => {
                let key = DecodingKey::from_ec_pem(pem).map_err(|_| mismatch())?;
                let point = key.try_get_as_bytes().map_err(|_| JwtError::InvalidKey)?;
                Self::point(algorithm, point)
            }
            Family::Ed25519 => {
                let key = DecodingKey::from_ed_pem(pem).map_err(|_| mismatch())?;
                let point = key.try_get_as_bytes().map_err(|_| JwtError::InvalidKey)?;
                Self::point(algorithm, point)
            }
        }
    }

    /// Creates a key from a public key in DER: `SubjectPublicKeyInfo`, or PKCS#1 for RSA.
    ///
    /// # Errors
    ///
    /// The errors of [`Key::pem`].
    pub fn der(algorithm: Algorithm, der: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        let der = der.as_ref();
        match der_sequence(der) {
            // PKCS#8, SEC 1 and PKCS#1: a private key begins with a version.
            Some([0x02, 0x01, ..]) => return Err(JwtError::PrivateKey),
            // X.509: the first field of a certificate is its version.
            Some(first) if der_sequence(first).is_some_and(|field| field.starts_with(&[0xa0])) => {
                return Err(JwtError::Certificate);
            }
            _ => {}
        }
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
    /// A key without a `kid` is used for tokens without a `kid`, and for tokens whose `kid` no other key has.
    #[must_use]
    pub fn kid(self, kid: impl Into<String>) -> Self {
        let mut prepared = Arc::unwrap_or_clone(self.0);
        prepared.kid = Some(kid.into().into_boxed_str());
        Self(Arc::new(prepared))
    }

    /// Sets for which issuer the key is published.
    pub(super) fn of_issuer(self, issuer: &str) -> Self {
        let mut prepared = Arc::unwrap_or_clone(self.0);
        prepared.issuer = Some(Box::from(issuer));
        Self(Arc::new(prepared))
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// Recognizes the shared secret, if it is one.
    pub(crate) fn shared_secret(&self) -> Option<SecretId> {
        self.0.secret
    }

    pub(crate) fn id(&self) -> &KeyId {
        &self.0.id
    }

    /// Whether both are the same key under the same name.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.0.id == other.0.id && self.0.kid == other.0.kid && self.0.issuer == other.0.issuer
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = self.0.verifier.verify(message, signature);
        #[cfg(all(test, feature = "jwt", feature = "jwt-rust-crypto"))]
        if let Some(second) = &self.0.second {
            assert_eq!(verified, second.verify(message, signature), "the backends disagree");
        }
        verified
    }

    pub(crate) fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<Self, JwtError> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(JwtError::RsaBits { bits });
        }
        // No common key has an exponent of more than 33 bits, and a long exponent makes each check slow.
        if e == [1] || e.len() > 5 || e.last().is_none_or(|last| last % 2 == 0) {
            return Err(JwtError::RsaExponent);
        }
        Self::prepare(algorithm, &DecodingKey::from_rsa_raw_components(n, e))
    }

    /// A point, for ECDSA uncompressed with its tag.
    pub(crate) fn point(algorithm: Algorithm, point: &[u8]) -> Result<Self, JwtError> {
        let (length, key) = match algorithm.family() {
            Family::P256 => (65, DecodingKey::from_ec_der(point)),
            Family::P384 => (97, DecodingKey::from_ec_der(point)),
            Family::Ed25519 => (32, DecodingKey::from_ed_der(point)),
            Family::Hmac | Family::Rsa => return Err(JwtError::WrongKey { algorithm }),
        };
        if point.len() != length {
            return Err(JwtError::WrongKey { algorithm });
        }
        Self::prepare(algorithm, &key)
    }

    fn prepare(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, JwtError> {
        let verifier = Verifier::new(algorithm, key).ok_or(JwtError::WrongKey { algorithm })?;
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
            issuer: None,
            verifier: Arc::new(verifier),
            #[cfg(all(test, feature = "jwt", feature = "jwt-rust-crypto"))]
            second: crypto::rust_crypto::Verifier::new(algorithm, key).map(Arc::new),
            id,
            secret: None,
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

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// What a text without a PEM header is.
fn not_pem(text: &[u8]) -> JwtError {
    let is_line = !text.contains(&b'\n');
    let endings: [&[u8]; 6] = [b".pem", b".key", b".pub", b".crt", b".cer", b".der"];
    match text {
        [b'{', ..] => JwtError::JwkInsteadOfPem,
        _ if is_line && endings.iter().any(|ending| text.ends_with(ending)) => JwtError::Path,
        _ => JwtError::InvalidKey,
    }
}

/// The content of a DER sequence, as far as it is there.
fn der_sequence(bytes: &[u8]) -> Option<&[u8]> {
    match *bytes {
        [0x30, 0x82, _, _, ref content @ ..] | [0x30, 0x81, _, ref content @ ..] => Some(content),
        [0x30, length, ref content @ ..] if length < 0x80 => Some(content),
        _ => None,
    }
}

/// Whether the bytes are the content of a key file. If a public key is used as an HMAC secret, everyone can sign tokens.
fn is_key_file(secret: &[u8]) -> bool {
    let text = secret.trim_ascii();
    let holds = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    // The body of a PEM file without its first and last line.
    let body: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let body = STANDARD.decode(body).is_ok_and(|body| is_der(&body));
    let jwk = text.starts_with(b"{") && holds(b"\"kty\"");
    // A PEM file may begin with a byte order mark, or with a description of the key.
    let pem = holds(b"-----BEGIN ") || holds(b"---- BEGIN ");
    let ssh = text.starts_with(b"ssh-") || text.starts_with(b"ecdsa-sha2-");
    is_der(secret) || body || jwk || pem || ssh
}

/// Whether it is a DER sequence whose length field is right, which no random secret is. The shortest public key has 44 bytes.
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
