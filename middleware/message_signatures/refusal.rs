//! Why a request is refused.

use std::fmt;

use http::StatusCode;

/// Why the signature of a request was refused. It is the [source](crate::Error::source) of the error, for logs, metrics and `on_error`. The
/// client sees the status and a fixed text.
///
/// # Example
///
/// ```
/// use tower_chain::Error;
/// use tower_chain::middleware::message_signatures::SignatureRefusal;
///
/// fn reason(error: &Error) -> Option<&'static str> {
///     Some(error.source()?.downcast_ref::<SignatureRefusal>()?.code())
/// }
/// # let _ = reason;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureRefusal {
    /// There is no signature, or none with the label or the tag.
    Missing,
    /// `Signature-Input` or `Signature` is malformed, too long, or has too many signatures or components.
    Malformed,
    /// The signature does not cover a required component.
    Coverage,
    /// A covered component can't be computed from the request.
    Component,
    /// The parameters `created` or `expires` are missing, or not within their bounds.
    Time,
    /// No key has the identifier, or there is no identifier.
    UnknownKey,
    /// The parameter `alg` is not the algorithm of the key.
    Algorithm,
    /// The signature is not that of the key.
    Signature,
    /// The nonce is missing.
    Nonce,
    /// The nonce was used before.
    Replay,
    /// A digest is missing, malformed, or not that of the body.
    Digest,
    /// All entries for nonces are in use, or the shared store has failed.
    Unavailable,
}

impl SignatureRefusal {
    /// A short name that never changes, for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Coverage => "coverage",
            Self::Component => "component",
            Self::Time => "time",
            Self::UnknownKey => "unknown_key",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Nonce => "nonce",
            Self::Replay => "replay",
            Self::Digest => "digest",
            Self::Unavailable => "unavailable",
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::Digest => StatusCode::BAD_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// What the client reads. Only what it can mend without a guess has a text of its own.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::Missing => "The request is not signed",
            Self::Malformed => "The fields of the signature are malformed",
            Self::Coverage => "The signature does not cover all required components",
            Self::Nonce => "The signature has no nonce",
            Self::Digest => "The digest of the body is missing, malformed or different",
            Self::Unavailable => "Signatures can't be checked now",
            _ => "The signature is not valid",
        }
    }
}

impl fmt::Display for SignatureRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no signature",
            Self::Malformed => "the fields of the signature are malformed",
            Self::Coverage => "a required component is not covered",
            Self::Component => "a covered component can't be computed",
            Self::Time => "the signature is too old, expired, or from the future",
            Self::UnknownKey => "the key is not known",
            Self::Algorithm => "the algorithm is not that of the key",
            Self::Signature => "the signature is not that of the key",
            Self::Nonce => "there is no nonce",
            Self::Replay => "the nonce was used before",
            Self::Digest => "the digest is not that of the body",
            Self::Unavailable => "nonces can't be checked",
        })
    }
}

impl std::error::Error for SignatureRefusal {}
