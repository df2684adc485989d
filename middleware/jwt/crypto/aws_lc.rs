//! Signature verification with aws-lc-rs. Keys are prepared once.

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use aws_lc_rs::{digest, hmac};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};

use crate::middleware::jwt::algorithm::Algorithm;

/// A prepared key, which verifies signatures of one algorithm.
#[allow(clippy::large_enum_variant, reason = "it is made once for each key, and never moved")]
pub(crate) enum Verifier {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Verifier {
    /// `None` if the key does not fit the algorithm.
    pub(crate) fn new(algorithm: Algorithm, key: &DecodingKey) -> Option<Self> {
        if key.family() != algorithm.to_backend().family() {
            return None;
        }
        if let Some(hash) = hash(algorithm) {
            let key = hmac::Key::new(hash, key.try_get_as_bytes().ok()?);
            return Some(Self::Secret(Box::new(key)));
        }
        let public = match (key.kind(), rsa(algorithm)) {
            (DecodingKeyKind::RsaModulusExponent { n, e }, Some(parameters)) => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()?
            }
            (DecodingKeyKind::SecretOrDer(der), Some(parameters)) => {
                ParsedPublicKey::new(parameters, der).ok()?
            }
            (DecodingKeyKind::SecretOrDer(point), None) => match algorithm {
                Algorithm::Es256 => {
                    ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                }
                Algorithm::Es384 => {
                    ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                }
                _ => ParsedPublicKey::new(&signature::ED25519, point),
            }
            .ok()?,
            (DecodingKeyKind::RsaModulusExponent { .. }, None) => return None,
        };
        Some(Self::Public(public))
    }

    /// Whether the signature is valid. HMACs are compared in constant time.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// Modulus and exponent of an RSA public key in PKCS#1 DER.
pub(crate) fn rsa_components(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der).ok()
}

pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let digest = match parts {
        // A context is allocated on the heap, and is not needed for one part.
        [part] => digest::digest(&digest::SHA256, part),
        parts => {
            let mut context = digest::Context::new(&digest::SHA256);
            for part in parts {
                context.update(part);
            }
            context.finish()
        }
    };
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// HMAC-SHA-256 (RFC 2104).
pub(crate) fn hmac_sha256(secret: &[u8], message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref());
    out
}

fn hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
        Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
        Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

/// The parameters refuse keys under 2048 bits.
fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}
