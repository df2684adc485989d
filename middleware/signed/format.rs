//! The header fields of each format.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use serde::Deserialize;

use super::error::SignedError;
use super::key::Signature;
use super::refusal::SignedRefusal;
use crate::declare::Field;

/// Which header fields a sender writes, and what it signs.
#[derive(Clone, Debug)]
pub(super) enum Format {
    Standard(StandardFields),
    GitHub,
    Stripe,
}

/// The names of the fields of Standard Webhooks.
#[derive(Clone, Debug)]
pub(super) struct StandardFields {
    pub(super) id: HeaderName,
    pub(super) timestamp: HeaderName,
    pub(super) signature: HeaderName,
}

/// What the header fields of a request contain.
pub(super) struct Claimed {
    pub(super) id: Option<String>,
    /// In seconds since 1970.
    pub(super) timestamp: Option<u64>,
    /// What is signed before the body.
    pub(super) prefix: Vec<u8>,
    pub(super) signatures: Vec<Signature>,
}

impl Format {
    pub(super) fn standard() -> Self {
        Self::Standard(StandardFields {
            id: HeaderName::from_static("webhook-id"),
            timestamp: HeaderName::from_static("webhook-timestamp"),
            signature: HeaderName::from_static("webhook-signature"),
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Standard(_) => "standard",
            Self::GitHub => "github",
            Self::Stripe => "stripe",
        }
    }

    pub(super) fn set_prefix(&mut self, prefix: &str) -> Result<(), SignedError> {
        let Self::Standard(fields) = self else { return Err(SignedError::HeaderPrefix) };
        let name = |suffix: &str| {
            let name = HeaderName::from_bytes(format!("{prefix}-{suffix}").as_bytes());
            name.ok().filter(|_| !prefix.is_empty()).ok_or(SignedError::HeaderPrefix)
        };
        *fields = StandardFields {
            id: name("id")?,
            timestamp: name("timestamp")?,
            signature: name("signature")?,
        };
        Ok(())
    }

    pub(super) fn has_timestamp(&self) -> bool {
        !matches!(self, Self::GitHub)
    }

    pub(super) fn has_id(&self) -> bool {
        !matches!(self, Self::GitHub)
    }

    /// The header fields, with what they contain.
    pub(super) fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Self::Standard(StandardFields { id, timestamp, .. }) = self {
            let id = Field::new(id.as_str(), "The identifier of the delivery");
            fields.push(id.with_pattern(format!(r"^[!-\-/-~]{{1,{ID_BYTES}}}$")));
            let time = Field::new(timestamp.as_str(), "When it was sent, in seconds since 1970");
            fields.push(time.with_pattern(format!("^{SECONDS}$")));
        }
        let signature =
            Field::new(self.signature_field().as_str(), "The signatures of the delivery");
        fields.push(signature.with_pattern(match self {
            Self::Standard(_) => format!("^{BASE64}( ({BASE64}|{NEWER})){{0,{}}}$", SIGNATURES - 1),
            Self::GitHub => "^sha256=[0-9a-f]{64}$".to_owned(),
            Self::Stripe => {
                format!(
                    "^t={SECONDS}(,v1=[0-9a-f]{{64}}){{1,{}}}(,v0=[0-9a-f]{{64}})?$",
                    SIGNATURES - 2
                )
            }
        }));
        fields
    }

    /// The field with the signature.
    pub(super) fn signature_field(&self) -> HeaderName {
        match self {
            Self::Standard(fields) => fields.signature.clone(),
            Self::GitHub => X_HUB_SIGNATURE_256,
            Self::Stripe => STRIPE_SIGNATURE,
        }
    }

    /// The name of a header field is the part for the log.
    pub(super) fn read(&self, headers: &HeaderMap) -> Result<Claimed, (SignedRefusal, String)> {
        match self {
            Self::Standard(fields) => read_standard(fields, headers),
            Self::GitHub => read_github(headers),
            Self::Stripe => read_stripe(headers),
        }
    }

    /// The identifier that only the body contains.
    pub(super) fn id_in_body(&self, body: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Event {
            id: String,
        }
        match self {
            Self::Stripe => {
                let Event { id } = serde_json::from_slice(body).ok()?;
                is_id(&id).then_some(id)
            }
            _ => None,
        }
    }
}

fn read_standard(
    fields: &StandardFields,
    headers: &HeaderMap,
) -> Result<Claimed, (SignedRefusal, String)> {
    let id = one(headers, &fields.id)?;
    let timestamp = one(headers, &fields.timestamp)?;
    let list = one(headers, &fields.signature)?;
    // The full stop separates the parts of what is signed. With one in the id, the same bytes could be another id, timestamp and body.
    if !is_id(id) || id.contains('.') {
        return Err(malformed(&fields.id));
    }
    let seconds = seconds(timestamp).ok_or_else(|| malformed(&fields.timestamp))?;
    let mut signatures = Vec::new();
    for (n, signature) in list.split(' ').enumerate() {
        if n >= SIGNATURES {
            return Err(malformed(&fields.signature));
        }
        let (version, base64) =
            signature.split_once(',').ok_or_else(|| malformed(&fields.signature))?;
        let bytes = || STANDARD.decode(base64).map_err(|_| malformed(&fields.signature));
        match version {
            "v1" => signatures.extend(bytes()?.try_into().map(Signature::Hmac)),
            "v1a" => signatures.extend(bytes()?.try_into().map(Signature::Ed25519)),
            // A sender may sign with newer versions as well.
            _ => {}
        }
    }
    Ok(Claimed {
        id: Some(id.to_owned()),
        timestamp: Some(seconds),
        prefix: format!("{id}.{timestamp}.").into_bytes(),
        signatures,
    })
}

fn read_github(headers: &HeaderMap) -> Result<Claimed, (SignedRefusal, String)> {
    let value = one(headers, &X_HUB_SIGNATURE_256)?;
    let tag = value.strip_prefix("sha256=").and_then(hex);
    let tag = tag.ok_or_else(|| malformed(&X_HUB_SIGNATURE_256))?;
    let signatures = vec![Signature::Hmac(tag)];
    Ok(Claimed { id: None, timestamp: None, prefix: Vec::new(), signatures })
}

fn read_stripe(headers: &HeaderMap) -> Result<Claimed, (SignedRefusal, String)> {
    let name = STRIPE_SIGNATURE;
    let value = one(headers, &name)?;
    let mut timestamp = None;
    let mut signatures = Vec::new();
    for (n, pair) in value.split(',').enumerate() {
        let pair = pair.split_once('=').filter(|_| n < SIGNATURES);
        let (scheme, value) = pair.ok_or_else(|| malformed(&name))?;
        match scheme {
            // Of two timestamps, one may be that of the signature and the other a fresh one.
            "t" if timestamp.is_some() => return Err(malformed(&name)),
            "t" => timestamp = Some((value, seconds(value).ok_or_else(|| malformed(&name))?)),
            "v1" => signatures.push(Signature::Hmac(hex(value).ok_or_else(|| malformed(&name))?)),
            // `v0` is for events in test mode.
            _ => {}
        }
    }
    let (text, seconds) = timestamp.ok_or_else(|| malformed(&name))?;
    let prefix = format!("{text}.").into_bytes();
    Ok(Claimed { id: None, timestamp: Some(seconds), prefix, signatures })
}

/// The value of a field that must be there once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, (SignedRefusal, String)> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Err((SignedRefusal::Missing, name.as_str().to_owned()));
    };
    let text = value.to_str().ok().filter(|text| text.len() <= FIELD_BYTES);
    text.filter(|_| values.next().is_none()).ok_or_else(|| malformed(name))
}

fn malformed(name: &HeaderName) -> (SignedRefusal, String) {
    (SignedRefusal::Malformed, name.as_str().to_owned())
}

/// As senders write it: no sign, no space, no fraction, no zero in front.
fn seconds(text: &str) -> Option<u64> {
    let seconds: u64 = text.parse().ok()?;
    (seconds.to_string() == text && text.len() <= 12).then_some(seconds)
}

pub(super) fn is_id(id: &str) -> bool {
    (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// In lowercase, as the senders write it.
fn hex(text: &str) -> Option<[u8; 32]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

pub(super) const X_HUB_SIGNATURE_256: HeaderName = HeaderName::from_static("x-hub-signature-256");

pub(super) const STRIPE_SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// The longest value of a header field.
const FIELD_BYTES: usize = 4096;

/// The longest identifier.
const ID_BYTES: usize = 256;

/// How many signatures a request may have. Each costs a comparison or a verification for each key.
const SIGNATURES: usize = 16;
/// The patterns of a signature of a newer version, of a time, and of an HMAC or an Ed25519 signature in base64.
const NEWER: &str = "v[0-9]{1,3}[a-z]?,[A-Za-z0-9+/]{1,500}=?=?";
const SECONDS: &str = "(0|[1-9][0-9]{0,11})";
const BASE64: &str = "(v1,[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=|v1a,[A-Za-z0-9+/]{85}[AQgw]==)";
