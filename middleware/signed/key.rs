//! Keys: secrets for HMAC, and Ed25519 public keys.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::error::SignedError;
use crate::declare::SecretId;

/// A key with its name.
pub(super) struct NamedKey {
    pub(super) name: std::sync::Arc<str>,
    kind: KeyKind,
    /// Finds keys that are configured twice.
    fingerprint: [u8; 32],
}

enum KeyKind {
    Secret(Box<hmac::Key>),
    Ed25519(ParsedPublicKey),
}

/// A signature of a request.
pub(super) enum Signature {
    Hmac([u8; 32]),
    Ed25519([u8; 64]),
}

impl NamedKey {
    /// A secret of Standard Webhooks: base64, with or without the prefix `whsec_`.
    pub(super) fn standard(name: &str, secret: &str) -> Result<Self, SignedError> {
        Self::secret(name, &standard_secret(name, secret)?, STANDARD_BYTES)
    }

    /// A secret whose characters are the key.
    pub(super) fn text(name: &str, secret: &str) -> Result<Self, SignedError> {
        Self::secret(name, secret.as_bytes(), TEXT_BYTES)
    }

    /// An Ed25519 public key of Standard Webhooks.
    pub(super) fn public(name: &str, key: &str) -> Result<Self, SignedError> {
        let wrong_kind = || SignedError::WrongKind { name: name.to_owned(), expected: "whpk_" };
        let key = key.strip_prefix("whpk_").ok_or_else(wrong_kind)?;
        let bytes = decode(name, key)?;
        let ed25519 = || SignedError::Ed25519 { name: name.to_owned() };
        if bytes.len() != 32 {
            return Err(ed25519());
        }
        let key = ParsedPublicKey::new(&ED25519, &bytes).map_err(|_| ed25519())?;
        Ok(Self { name: name.into(), kind: KeyKind::Ed25519(key), fingerprint: sha256(&[&bytes]) })
    }

    fn secret(name: &str, secret: &[u8], least: usize) -> Result<Self, SignedError> {
        check_length(name, secret, least)?;
        let key = Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret));
        Ok(Self { name: name.into(), kind: KeyKind::Secret(key), fingerprint: sha256(&[secret]) })
    }

    /// `None` for a public key.
    pub(super) fn secret_id(&self) -> Option<SecretId> {
        matches!(self.kind, KeyKind::Secret(_)).then(|| SecretId::of_digest(&self.fingerprint))
    }

    pub(super) fn is_same_key(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// Whether one of the signatures is that of this key over the parts. The time does not depend on how much of an HMAC is equal.
    pub(super) fn signed(&self, parts: [&[u8]; 2], signatures: &[Signature]) -> bool {
        match &self.kind {
            KeyKind::Secret(key) => {
                let expected = tag(key, parts);
                signatures.iter().any(|signature| match signature {
                    Signature::Hmac(given) => bool::from(given.ct_eq(&expected)),
                    Signature::Ed25519(_) => false,
                })
            }
            KeyKind::Ed25519(key) => {
                let mut message = None;
                signatures.iter().any(|signature| match signature {
                    Signature::Ed25519(given) => {
                        let message = message.get_or_insert_with(|| parts.concat());
                        key.verify_sig(message, given).is_ok()
                    }
                    Signature::Hmac(_) => false,
                })
            }
        }
    }
}

/// HMAC-SHA-256 (RFC 2104) over two parts.
pub(super) fn tag(key: &hmac::Key, parts: [&[u8]; 2]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    parts.into_iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// SHA-256 of the parts one after the other.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    match parts {
        [part] => out.copy_from_slice(digest(&SHA256, part).as_ref()),
        parts => {
            let mut context = aws_lc_rs::digest::Context::new(&SHA256);
            parts.iter().for_each(|part| context.update(part));
            out.copy_from_slice(context.finish().as_ref());
        }
    }
    out
}

/// The bytes of a secret of Standard Webhooks. Some dashboards show it with the version of its signatures, `v1,`.
pub(super) fn standard_secret(name: &str, secret: &str) -> Result<Vec<u8>, SignedError> {
    if secret.starts_with("whpk_") || secret.starts_with("whsk_") {
        return Err(SignedError::WrongKind { name: name.to_owned(), expected: "whsec_" });
    }
    let secret = secret.strip_prefix("v1,").unwrap_or(secret);
    let bytes = decode(name, secret.strip_prefix("whsec_").unwrap_or(secret))?;
    check_length(name, &bytes, STANDARD_BYTES)?;
    Ok(bytes)
}

pub(super) fn check_length(name: &str, secret: &[u8], least: usize) -> Result<(), SignedError> {
    match secret.len() >= least {
        true => Ok(()),
        false => Err(SignedError::ShortSecret { name: name.to_owned(), least }),
    }
}

pub(super) fn decode(name: &str, base64: &str) -> Result<Vec<u8>, SignedError> {
    STANDARD.decode(base64).map_err(|_| SignedError::Base64 { name: name.to_owned() })
}

/// Standard Webhooks: between 24 and 64 bytes.
const STANDARD_BYTES: usize = 24;

/// GitHub and Stripe.
pub(super) const TEXT_BYTES: usize = 16;
