//! Algorithms and keys (RFC 9421, 3.3).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, ParsedPublicKey, RsaKeyPair, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::error::MessageSignaturesError;
use crate::declare::SecretId;

/// An algorithm of the registry for HTTP signatures ([RFC 9421, 6.2](https://www.rfc-editor.org/rfc/rfc9421#section-6.2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// `ed25519`
    Ed25519,
    /// `ecdsa-p256-sha256`
    EcdsaP256Sha256,
    /// `ecdsa-p384-sha384`
    EcdsaP384Sha384,
    /// `rsa-pss-sha512`
    RsaPssSha512,
    /// `rsa-v1_5-sha256`. Prefer [`RsaPssSha512`](Self::RsaPssSha512).
    RsaV15Sha256,
    /// `hmac-sha256`
    HmacSha256,
}

impl SignatureAlgorithm {
    /// The name in the parameter `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::RsaV15Sha256 => "rsa-v1_5-sha256",
            Self::HmacSha256 => "hmac-sha256",
        }
    }
}

/// A key that verifies signatures of one algorithm. A clone is cheap.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::message_signatures::{SignatureAlgorithm, VerifyingKey};
///
/// # fn main() -> Result<(), tower_chain::middleware::message_signatures::MessageSignaturesError> {
/// // RFC 9421, B.1.4
/// let pem = "-----BEGIN PUBLIC KEY-----
/// MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
/// -----END PUBLIC KEY-----";
/// let key = VerifyingKey::new(SignatureAlgorithm::Ed25519, pem)?;
/// # let _ = key;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: SignatureAlgorithm,
    kind: Arc<PreparedKey>,
    secret: Option<SecretId>,
}

enum PreparedKey {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl VerifyingKey {
    /// Creates a key of an algorithm: a public key (SPKI, for RSA also PKCS#1) in PEM or DER, or the secret of an HMAC.
    ///
    /// # Errors
    ///
    /// If the key is not one for the algorithm, an RSA key has less than 2048 bits, or a secret less than 32 bytes.
    pub fn new(
        algorithm: SignatureAlgorithm,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, MessageSignaturesError> {
        let key = key.as_ref();
        let kind = match public_algorithm(algorithm) {
            None => PreparedKey::Secret(Box::new(secret(key)?)),
            Some(public) => {
                let wrong = || MessageSignaturesError::Key { algorithm: algorithm.name() };
                let der = der(key, "PUBLIC KEY").ok_or_else(wrong)?;
                PreparedKey::Public(ParsedPublicKey::new(public, der).map_err(|_| wrong())?)
            }
        };
        let is_secret = matches!(kind, PreparedKey::Secret(_));
        let secret = is_secret.then(|| SecretId::of_digest(&Sha256::digest(key).into()));
        Ok(Self { algorithm, kind: Arc::new(kind), secret })
    }

    /// The algorithm of the key. A signature with another `alg` is refused.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// `None` for a public key.
    pub(super) fn secret_id(&self) -> Option<SecretId> {
        self.secret
    }

    /// HMACs are compared in constant time.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &*self.kind {
            PreparedKey::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            PreparedKey::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A key that signs.
pub(super) enum SigningKey {
    Secret(Box<hmac::Key>),
    Ed25519(Box<Ed25519KeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>, &'static dyn signature::RsaEncoding),
}

impl SigningKey {
    pub(super) fn new(
        algorithm: SignatureAlgorithm,
        key: &[u8],
    ) -> Result<Self, MessageSignaturesError> {
        let wrong = || MessageSignaturesError::Key { algorithm: algorithm.name() };
        let der = || der(key, "PRIVATE KEY").ok_or_else(wrong);
        let ecdsa = |curve| {
            let pair = EcdsaKeyPair::from_pkcs8(curve, &der()?).map_err(|_| wrong())?;
            Ok(Self::Ecdsa(Box::new(pair)))
        };
        let rsa = |encoding| {
            let pair = RsaKeyPair::from_pkcs8(&der()?).map_err(|_| wrong())?;
            Ok(Self::Rsa(Box::new(pair), encoding))
        };
        match algorithm {
            SignatureAlgorithm::HmacSha256 => Ok(Self::Secret(Box::new(secret(key)?))),
            SignatureAlgorithm::Ed25519 => {
                let pair =
                    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der()?).map_err(|_| wrong())?;
                Ok(Self::Ed25519(Box::new(pair)))
            }
            SignatureAlgorithm::EcdsaP256Sha256 => {
                ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)
            }
            SignatureAlgorithm::EcdsaP384Sha384 => {
                ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)
            }
            SignatureAlgorithm::RsaPssSha512 => rsa(&signature::RSA_PSS_SHA512),
            SignatureAlgorithm::RsaV15Sha256 => rsa(&signature::RSA_PKCS1_SHA256),
        }
    }

    /// `None` if the system has no random numbers.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Self::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Self::Ecdsa(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Self::Rsa(pair, encoding) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut out).ok()?;
                Some(out)
            }
        }
    }
}

/// The parameters refuse RSA keys under 2048 bits.
fn public_algorithm(algorithm: SignatureAlgorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        SignatureAlgorithm::Ed25519 => &signature::ED25519,
        SignatureAlgorithm::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_FIXED,
        SignatureAlgorithm::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_FIXED,
        SignatureAlgorithm::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        SignatureAlgorithm::RsaV15Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SignatureAlgorithm::HmacSha256 => return None,
    })
}

fn secret(secret: &[u8]) -> Result<hmac::Key, MessageSignaturesError> {
    match secret.len() {
        0..32 => Err(MessageSignaturesError::ShortSecret),
        _ => Ok(hmac::Key::new(hmac::HMAC_SHA256, secret)),
    }
}

/// The DER in a PEM whose label ends with this kind (RFC 7468), or the bytes as they are.
fn der(key: &[u8], kind: &str) -> Option<Vec<u8>> {
    let text = match std::str::from_utf8(key) {
        Ok(text) if text.trim_ascii().starts_with(BEGIN) => text.trim_ascii(),
        _ => return Some(key.to_vec()),
    };
    let (label, rest) = text.strip_prefix(BEGIN)?.split_once("-----")?;
    let base64 = rest.strip_suffix(&*format!("-----END {label}-----"))?;
    let base64: String = base64.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    label.ends_with(kind).then_some(())?;
    STANDARD.decode(base64).ok()
}

const BEGIN: &str = "-----BEGIN ";
