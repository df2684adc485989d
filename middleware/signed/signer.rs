//! Signing deliveries, for tests and for senders.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::error::SignedError;
use super::format::{Format, STRIPE_SIGNATURE, X_HUB_SIGNATURE_256, is_id};
use super::key::{TEXT_BYTES, check_length, decode, standard_secret, tag};

/// Signs webhooks, for senders and for tests of a chain with [`Signed`](super::Signed).
///
/// # Example
///
/// ```
/// use std::time::SystemTime;
///
/// use tower_chain::middleware::signed::WebhookSigner;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signer = WebhookSigner::standard("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")?;
/// let body = br#"{"type":"contact.created"}"#;
/// let fields = signer.sign("msg_1", SystemTime::now(), body)?;
/// assert!(fields["webhook-signature"].to_str()?.starts_with("v1,"));
/// # Ok(())
/// # }
/// ```
pub struct WebhookSigner {
    format: Format,
    key: SenderKey,
}

enum SenderKey {
    Secret(Box<hmac::Key>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl WebhookSigner {
    /// Standard Webhooks with a secret (`whsec_`), signatures `v1`.
    ///
    /// # Errors
    ///
    /// If the secret is not base64, or shorter than 24 bytes.
    pub fn standard(secret: &str) -> Result<Self, SignedError> {
        let secret = standard_secret(NAME, secret)?;
        Ok(Self { format: Format::standard(), key: secret_key(&secret) })
    }

    /// Standard Webhooks with an Ed25519 private key (`whsk_`), signatures `v1a`.
    ///
    /// # Errors
    ///
    /// If the key has another prefix, or is not base64 of 32 bytes, or of 64 bytes that end with the public key.
    pub fn standard_private_key(key: &str) -> Result<Self, SignedError> {
        let wrong_kind = SignedError::WrongKind { name: NAME.to_owned(), expected: "whsk_" };
        let bytes = decode(NAME, key.strip_prefix("whsk_").ok_or(wrong_kind)?)?;
        let pair = match bytes.split_at_checked(32) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
            Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => return Err(SignedError::Ed25519 { name: NAME.to_owned() }),
        };
        let pair = pair.map_err(|_| SignedError::Ed25519 { name: NAME.to_owned() })?;
        Ok(Self { format: Format::standard(), key: SenderKey::Ed25519(Box::new(pair)) })
    }

    /// GitHub.
    ///
    /// # Errors
    ///
    /// If the secret is shorter than 16 bytes.
    pub fn github(secret: &str) -> Result<Self, SignedError> {
        Self::text(Format::GitHub, secret)
    }

    /// Stripe.
    ///
    /// # Errors
    ///
    /// If the secret is shorter than 16 bytes.
    pub fn stripe(secret: &str) -> Result<Self, SignedError> {
        Self::text(Format::Stripe, secret)
    }

    /// Sets the prefix of the header fields of Standard Webhooks. Defaults to `webhook`.
    ///
    /// # Errors
    ///
    /// If it is not a part of a header name, or the format is another one.
    pub fn header_prefix(mut self, prefix: &str) -> Result<Self, SignedError> {
        self.format.set_prefix(prefix)?;
        Ok(self)
    }

    /// The public key (`whpk_`) of a private key, for [`Signed::standard_public_key`](super::Signed::standard_public_key).
    pub fn public_key(&self) -> Option<String> {
        match &self.key {
            SenderKey::Ed25519(pair) => {
                Some(format!("whpk_{}", STANDARD.encode(pair.public_key().as_ref())))
            }
            SenderKey::Secret(_) => None,
        }
    }

    /// The header fields for a delivery. GitHub's format contains neither the identifier nor the time, Stripe's no identifier.
    ///
    /// # Errors
    ///
    /// If the identifier is not 1 to 256 visible ASCII characters without a full stop, or the time is before 1970.
    pub fn sign(&self, id: &str, time: SystemTime, body: &[u8]) -> Result<HeaderMap, SignedError> {
        let seconds = time.duration_since(UNIX_EPOCH).map_err(|_| SignedError::Time)?.as_secs();
        if !is_id(id) || id.contains('.') {
            return Err(SignedError::Id);
        }
        let field = |name: HeaderName, value: String| {
            let value = HeaderValue::try_from(value).map_err(|_| SignedError::Id)?;
            Ok((name, value))
        };
        let fields = match &self.format {
            Format::Standard(names) => {
                let prefix = format!("{id}.{seconds}.");
                let parts = [prefix.as_bytes(), body];
                let signature = match &self.key {
                    SenderKey::Secret(key) => format!("v1,{}", STANDARD.encode(tag(key, parts))),
                    SenderKey::Ed25519(pair) => {
                        format!("v1a,{}", STANDARD.encode(pair.sign(&parts.concat())))
                    }
                };
                vec![
                    field(names.id.clone(), id.to_owned())?,
                    field(names.timestamp.clone(), seconds.to_string())?,
                    field(names.signature.clone(), signature)?,
                ]
            }
            Format::GitHub => {
                let signature = format!("sha256={}", self.hex([&[], body]));
                vec![field(X_HUB_SIGNATURE_256, signature)?]
            }
            Format::Stripe => {
                let prefix = format!("{seconds}.");
                let signature = format!("t={seconds},v1={}", self.hex([prefix.as_bytes(), body]));
                vec![field(STRIPE_SIGNATURE, signature)?]
            }
        };
        Ok(fields.into_iter().collect())
    }

    fn text(format: Format, secret: &str) -> Result<Self, SignedError> {
        check_length(NAME, secret.as_bytes(), TEXT_BYTES)?;
        Ok(Self { format, key: secret_key(secret.as_bytes()) })
    }

    fn hex(&self, parts: [&[u8]; 2]) -> String {
        match &self.key {
            SenderKey::Secret(key) => {
                tag(key, parts).iter().map(|byte| format!("{byte:02x}")).collect()
            }
            // Only Standard Webhooks has such keys.
            SenderKey::Ed25519(_) => String::new(),
        }
    }
}

impl fmt::Debug for WebhookSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSigner").field("format", &self.format.name()).finish_non_exhaustive()
    }
}

fn secret_key(secret: &[u8]) -> SenderKey {
    SenderKey::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
}

/// The name of the only key of a signer, for errors.
const NAME: &str = "signer";
