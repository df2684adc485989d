//! What may be wrong with the configuration.

use std::fmt;

use crate::ChallengeError;

/// What is wrong with the configuration of an [`Authenticate`](super::Authenticate). The text says what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// A secret is so short that it can be guessed.
    ShortSecret {
        /// The name of the key.
        name: String,
    },
    /// A secret holds what a client can't send.
    UnsendableSecret {
        /// The name of the key.
        name: String,
    },
    /// Two keys have one name.
    DuplicateName {
        /// That name.
        name: String,
    },
    /// Two keys have one secret.
    DuplicateSecret {
        /// The name of the later key.
        name: String,
        /// The name of the earlier key.
        other: String,
    },
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
    /// There are no sources, one has no name, one is there twice, or they are those of Basic.
    Sources,
    /// An origin can't be one.
    TrustedOrigin {
        /// What was given.
        origin: String,
    },
    /// A challenge can't be written.
    Challenge(ChallengeError),
}

impl From<ChallengeError> for AuthenticateError {
    fn from(error: ChallengeError) -> Self {
        Self::Challenge(error)
    }
}

impl fmt::Display for AuthenticateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortSecret { name } => write!(
                f,
                "the secret of {name:?} can be guessed: use at least 16 random bytes, such as the output of `openssl rand -base64 24`"
            ),
            Self::UnsendableSecret { name } => write!(
                f,
                "a client can't send the secret of {name:?}: use visible ASCII without blanks, such as base64; for Basic, no colon in the user and no control characters"
            ),
            Self::DuplicateName { name } => {
                write!(
                    f,
                    "there is a key {name:?} already: withdraw it first, or choose another name"
                )
            }
            Self::DuplicateSecret { name, other } => {
                write!(f, "the keys {name:?} and {other:?} have the same secret: give each its own")
            }
            Self::Header { name } => write!(
                f,
                "{name:?} can't be the header of a key: use a name such as `X-API-Key`, or the source for `Authorization` or for cookies"
            ),
            Self::Scheme { scheme } => {
                write!(f, "{scheme:?} is no scheme for a token: use `Authenticate::basic`")
            }
            Self::Cookie { name } => write!(
                f,
                "{name:?} can't be the cookie: use a name such as `__Host-session`, or `Source::unprefixed_cookie` if you must"
            ),
            Self::Sources => f.write_str(
                "name at least one source, each one once, and none for Basic, which has its own",
            ),
            Self::TrustedOrigin { origin } => write!(
                f,
                "{origin:?} is no origin: write scheme, host and port in lower case, such as `https://app.example.com`, and nothing behind them"
            ),
            Self::Challenge(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AuthenticateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Challenge(error) => Some(error),
            _ => None,
        }
    }
}
