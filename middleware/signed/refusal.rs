//! Why a delivery is refused.

use std::fmt;

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::Error;

/// Why a delivery was refused. It is the [source](crate::Error::source) of the error, for logs, metrics and `on_error`. The client sees the
/// status and a fixed text.
///
/// # Example
///
/// ```
/// use tower_chain::Error;
/// use tower_chain::middleware::signed::SignedRefusal;
///
/// fn reason(error: &Error) -> Option<&'static str> {
///     Some(error.source()?.downcast_ref::<SignedRefusal>()?.code())
/// }
/// # let _ = reason;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignedRefusal {
    /// A header field of the format is missing.
    Missing,
    /// A header field of the format is malformed, too long, or there more than once.
    Malformed,
    /// The timestamp is too old, or too far in the future.
    Timestamp,
    /// No signature is that of one of the keys.
    Signature,
    /// Another request with the same delivery is being handled.
    InFlight,
    /// The delivery was handled before. Only with [`refuse_duplicates`](super::Signed::refuse_duplicates).
    Duplicate,
    /// All entries for deliveries are in use.
    Full,
    /// The shared store has failed.
    Unavailable,
}

impl SignedRefusal {
    /// A short name that never changes, for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Timestamp => "timestamp",
            Self::Signature => "signature",
            Self::InFlight => "in_flight",
            Self::Duplicate => "duplicate",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Missing | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Timestamp | Self::Signature => StatusCode::UNAUTHORIZED,
            Self::InFlight | Self::Duplicate => StatusCode::CONFLICT,
            Self::Full | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn into_error(self) -> Error {
        let detail = match self {
            Self::Missing | Self::Malformed => {
                "The header fields of the signature are missing or malformed"
            }
            // One text for both: the client learns nothing about a signature that it has guessed.
            Self::Timestamp | Self::Signature => "The signature is not valid",
            Self::InFlight => "This delivery is being handled",
            Self::Duplicate => "This delivery was handled before",
            Self::Full | Self::Unavailable => "Deliveries can't be checked now",
        };
        let error = Error::new(self.status(), detail).with_source(self);
        match self {
            Self::Timestamp | Self::Signature => {
                error.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Webhook-Signature"))
            }
            Self::InFlight | Self::Full | Self::Unavailable => {
                error.with_header(RETRY_AFTER, HeaderValue::from_static("10"))
            }
            _ => error,
        }
    }
}

impl fmt::Display for SignedRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "a header field of the signature is missing",
            Self::Malformed => "a header field of the signature is malformed",
            Self::Timestamp => "the timestamp is too old, or too far in the future",
            Self::Signature => "no signature is that of a configured key",
            Self::InFlight => "the delivery is being handled",
            Self::Duplicate => "the delivery was handled before",
            Self::Full => "all entries for deliveries are in use",
            Self::Unavailable => "the shared store of deliveries has failed",
        })
    }
}

impl std::error::Error for SignedRefusal {}
