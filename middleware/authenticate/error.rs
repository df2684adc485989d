//! Configuration errors.

use std::fmt;

use super::TokenSourceError;
use crate::challenge::ChallengeError;

/// What is wrong with the configuration of an [`Authenticate`](super::Authenticate). The text states what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// A secret is short enough to be guessed.
    ShortSecret {
        /// The name of the key.
        name: String,
    },
    /// A secret contains a character that a client can't send.
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
    /// The list of tokens or users is empty.
    Empty,
    /// A limit is zero.
    ZeroLimit,
    /// A source, or the list of them, is wrong.
    Source(TokenSourceError),
    /// A text for a challenge contains a character that is not allowed in a header.
    Challenge(ChallengeError),
}

impl From<ChallengeError> for AuthenticateError {
    fn from(error: ChallengeError) -> Self {
        Self::Challenge(error)
    }
}

impl From<TokenSourceError> for AuthenticateError {
    fn from(error: TokenSourceError) -> Self {
        Self::Source(error)
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
                "a client can't send the secret of {name:?}: use visible ASCII without spaces, such as base64; for Basic, no colon in the user and no control characters"
            ),
            Self::DuplicateName { name } => {
                write!(
                    f,
                    "a key {name:?} exists already: withdraw it first, or choose another name"
                )
            }
            Self::DuplicateSecret { name, other } => {
                write!(f, "the keys {name:?} and {other:?} have the same secret: give each its own")
            }
            Self::Empty => f.write_str(
                "the list of credentials is empty, so every request would be refused: name at least one",
            ),
            Self::ZeroLimit => f.write_str("the limit is zero: give at least one"),
            Self::Source(error) => error.fmt(f),
            Self::Challenge(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AuthenticateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            Self::Challenge(error) => Some(error),
            _ => None,
        }
    }
}
