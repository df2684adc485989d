//! What may be wrong with a source.

use std::fmt;

use crate::ChallengeError;

/// What is wrong with a [`TokenSource`](super::TokenSource), or with the list of them. The text says what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSourceError {
    /// A source names a header that isn't one.
    Header {
        /// What was given.
        name: String,
    },
    /// A source names a scheme that has a way of its own.
    Scheme {
        /// What was given.
        scheme: String,
    },
    /// A source names a cookie that isn't one, or that lacks its prefix.
    Cookie {
        /// What was given.
        name: String,
    },
    /// A source names a parameter without a name, or a prefix of a subprotocol that isn't one.
    Name {
        /// What was given.
        name: String,
    },
    /// There are no sources, one is there twice, or they are those of a scheme with a way of its own.
    List,
    /// An origin can't be one.
    TrustedOrigin {
        /// What was given.
        origin: String,
    },
    /// A challenge can't be written.
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
                "{scheme:?} is no scheme for a token: use `Authenticate::basic` for passwords, and `Jwt::dpop` for proofs"
            ),
            Self::Cookie { name } => write!(
                f,
                "{name:?} can't be the cookie: use a name such as `__Host-session`, or `TokenSource::unprefixed_cookie` if you must"
            ),
            Self::Name { name } => write!(
                f,
                "{name:?} can't name a source: use a name such as `access_token` for a parameter, and a prefix such as `bearer.` for a subprotocol"
            ),
            Self::List => f.write_str(
                "name at least one source, each one once, and none for Basic or DPoP, which have their own",
            ),
            Self::TrustedOrigin { origin } => write!(
                f,
                "{origin:?} is no origin: write scheme, host and port in lower case, such as `https://app.example.com`, and nothing behind them"
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
