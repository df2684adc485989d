//! Why a request is refused.

use std::fmt;

use http::StatusCode;

use crate::Error;
use crate::middleware::credentials::{Explanation, later};
use crate::turns::NoTurn;

/// Why a request was refused. It is the [source](crate::Error::source) of the error, for logs, metrics and `on_error`; the client sees the
/// status, the challenge and a fixed text.
///
/// What a function of yours answers is passed on as it is, without one.
///
/// # Example
///
/// ```
/// use tower_chain::Error;
/// use tower_chain::middleware::authenticate::AuthenticateRefusal;
///
/// fn reason(error: &Error) -> Option<&'static str> {
///     Some(error.source()?.downcast_ref::<AuthenticateRefusal>()?.code())
/// }
/// # let _ = reason;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthenticateRefusal {
    /// The request has no credentials.
    Missing,
    /// The credentials are malformed, or in more than one source.
    Request,
    /// The credentials are unknown, withdrawn or expired.
    Credentials,
    /// The token is bound to a key or a certificate, and the request does not prove that its sender holds it.
    Proof,
    /// Another site caused a browser to send its cookie.
    CrossSite,
    /// Too many requests of this client wait for a check of their credentials.
    TooMany,
    /// Too many requests of all clients wait for a check of their credentials, or this one has waited too long.
    Overloaded,
}

impl AuthenticateRefusal {
    /// A short name that never changes, for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Request => "invalid_request",
            Self::Credentials => "invalid_token",
            Self::Proof => "proof",
            Self::CrossSite => "cross_site",
            Self::TooMany => "too_many",
            Self::Overloaded => "overloaded",
        }
    }
}

impl fmt::Display for AuthenticateRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there are no credentials",
            Self::Request => "the credentials are malformed, or in more than one source",
            Self::Credentials => "the credentials are not valid",
            Self::Proof => "the request does not prove that its sender holds the key of the token",
            Self::CrossSite => "the request was made by another site",
            Self::TooMany => "too many requests of this client wait for a check",
            Self::Overloaded => "too many requests wait for a check",
        })
    }
}

impl std::error::Error for AuthenticateRefusal {}

impl From<NoTurn> for Error {
    fn from(none: NoTurn) -> Self {
        let (status, detail, refusal) = match none {
            NoTurn::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests of this client wait for a check of their credentials",
                AuthenticateRefusal::TooMany,
            ),
            NoTurn::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The credentials can't be checked now",
                AuthenticateRefusal::Overloaded,
            ),
        };
        log(refusal.code(), &Explanation::default());
        later(Self::new(status, detail)).with_source(refusal)
    }
}

/// Logs a refusal as one event.
pub(super) fn log(reason: &str, explanation: &Explanation) {
    let Explanation { part, expected, hint } = explanation;
    let (part, expected) = (part.as_deref(), expected.as_deref());
    tracing::debug!(
        target: "tower_chain::middleware::authenticate",
        reason,
        part,
        expected,
        hint = *hint,
        "credentials refused"
    );
}
