//! Signature verification with the pure Rust backend of `jsonwebtoken`.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
#[cfg(not(feature = "jwt"))]
use sha2::{Digest, Sha256};

use crate::middleware::jwt::algorithm::Algorithm;

/// A prepared key, which verifies signatures of one algorithm.
///
/// The verifiers of `jsonwebtoken` can't be shared between threads, so each check creates one. This is cheap compared with the arithmetic.
pub(crate) struct Verifier {
    algorithm: jsonwebtoken::Algorithm,
    key: DecodingKey,
}

impl Verifier {
    /// `None` if the key does not fit the algorithm.
    pub(crate) fn new(algorithm: Algorithm, key: &DecodingKey) -> Option<Self> {
        // `jsonwebtoken` slices Ed25519 keys without checking their length.
        if algorithm == Algorithm::Ed25519 && key.try_get_as_bytes().ok()?.len() != 32 {
            return None;
        }
        let verifier = Self { algorithm: algorithm.to_backend(), key: key.clone() };
        (DEFAULT_PROVIDER.verifier_factory)(&verifier.algorithm, key).ok()?;
        Some(verifier)
    }

    /// Whether the signature is valid. HMACs are compared in constant time.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key)
            .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }
}

/// Modulus and exponent of an RSA public key in PKCS#1 DER.
#[cfg(not(feature = "jwt"))]
pub(crate) fn rsa_components(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der).ok()
}

#[cfg(not(feature = "jwt"))]
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// HMAC-SHA-256 (RFC 2104).
#[cfg(not(feature = "jwt"))]
pub(crate) fn hmac_sha256(secret: &[u8], message: &[u8]) -> [u8; 32] {
    let mut key = [0; 64];
    match key.get_mut(..secret.len()) {
        Some(place) => place.copy_from_slice(secret),
        None => key[..32].copy_from_slice(&sha256(&[secret])),
    }
    let inner = sha256(&[&key.map(|byte| byte ^ 0x36), message]);
    sha256(&[&key.map(|byte| byte ^ 0x5c), &inner])
}
