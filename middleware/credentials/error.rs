//! Configuration errors of token sources.

use std::fmt;

use crate::challenge::ChallengeError;

/// What is wrong with a [`TokenSource`](super::TokenSource), or with the list of them. The text states what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSourceError {
    /// The name of a header is not valid, or the header has a source of its own.
    Header {
        /// The given text.
        name: String,
    },
    /// The scheme has a constructor of its own.
    Scheme {
        /// The given text.
        scheme: String,
    },
    /// The name of a cookie is not valid, or lacks the prefix `__Host-`.
    Cookie {
        /// The given text.
        name: String,
    },
    /// The name of a parameter is empty, or the prefix of a subprotocol is not valid.
    Name {
        /// The given text.
        name: String,
    },
    /// The list of sources is empty or contains one twice, or the scheme has fixed sources.
    List,
    /// The text is not an origin.
    TrustedOrigin {
        /// The given text.
        origin: String,
    },
    /// A text for a challenge contains a character that is not allowed in a header.
    Challenge(ChallengeError),
}

impl From<ChallengeError> for TokenSourceError {
    fn from(error: ChallengeError) -> Self {
        Self::Challenge(error)
    }
}

impl fmt::Display for TokenSourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name } => write!(
                f,
                "{name:?} can't be the header of a token: use a name such as `X-API-Key`, or the source for `Authorization`, for cookies or for subprotocols"
            ),
            Self::Scheme { scheme } => write!(
                f,
                "{scheme:?} is not a scheme for a token: use `Authenticate::basic` for passwords, and `Jwt::dpop` for proofs"
            ),
            Self::Cookie { name } => write!(
                f,
                "{name:?} can't be the cookie: use a name such as `__Host-session`, or `TokenSource::unprefixed_cookie` if the name can't change"
            ),
            Self::Name { name } => write!(
                f,
                "{name:?} can't name a source: use a name such as `access_token` for a parameter, and a prefix such as `bearer.` for a subprotocol"
            ),
            Self::List => f.write_str(
                "name at least one source, each one once; Basic and DPoP have fixed sources",
            ),
            Self::TrustedOrigin { origin } => write!(
                f,
                "{origin:?} is not an origin: write scheme, host and port in lower case, such as `https://app.example.com`, without a path"
            ),
            Self::Challenge(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TokenSourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Challenge(error) => Some(error),
            _ => None,
        }
    }
}
