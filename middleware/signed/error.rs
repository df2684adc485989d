//! Configuration errors.

use std::fmt;

/// What is wrong with the configuration of a [`Signed`](super::Signed) or of a [`WebhookSigner`](super::WebhookSigner). The text states what to
/// change, and contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignedError {
    /// A secret is short enough to be guessed, or is empty.
    ShortSecret {
        /// The name of the key.
        name: String,
        /// How many bytes it must have.
        least: usize,
    },
    /// A secret or a key of Standard Webhooks is not base64.
    Base64 {
        /// The name of the key.
        name: String,
    },
    /// A public or private key is not an Ed25519 key.
    Ed25519 {
        /// The name of the key.
        name: String,
    },
    /// A key of one kind is where one of another kind belongs: a public or private key instead of a secret, or the reverse.
    WrongKind {
        /// The name of the key.
        name: String,
        /// The prefix that the key must have.
        expected: &'static str,
    },
    /// The format has no public keys.
    NoPublicKeys,
    /// Two keys have one name.
    DuplicateName {
        /// That name.
        name: String,
    },
    /// Two names have one key.
    DuplicateKey {
        /// The name of the later key.
        name: String,
        /// The name of the earlier key.
        other: String,
    },
    /// The tolerance is zero or longer than twelve hours.
    Tolerance,
    /// The format has no timestamp, so a tolerance has no effect.
    NoTimestamp,
    /// Deliveries would be forgotten while their timestamps are still accepted.
    ShortMemory,
    /// A capacity, a limit, a lease or a timeout is zero.
    Zero,
    /// The address of Redis can't be parsed.
    RedisUrl,
    /// The prefix of the header fields is not a part of a header name, or the format has none.
    HeaderPrefix,
    /// The format has no identifier for each delivery.
    NoId,
    /// An identifier to sign is empty, too long, or has characters other than visible ASCII without a full stop.
    Id,
    /// A time to sign is before 1970.
    Time,
}

impl fmt::Display for SignedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortSecret { name, least } => write!(
                f,
                "the secret of {name:?} can be guessed: use at least {least} random bytes"
            ),
            Self::Base64 { name } => write!(
                f,
                "the key {name:?} is not base64: copy it whole, with the padding at its end"
            ),
            Self::Ed25519 { name } => write!(
                f,
                "the key {name:?} is not an Ed25519 key: a public key has 32 bytes in base64, a private one 32 or 64"
            ),
            Self::WrongKind { name, expected } => {
                write!(f, "the key {name:?} is of another kind: use one that begins with `{expected}`")
            }
            Self::NoPublicKeys => {
                f.write_str("the format has no public keys: use a secret, or Standard Webhooks")
            }
            Self::DuplicateName { name } => {
                write!(f, "a key {name:?} exists already: choose another name")
            }
            Self::DuplicateKey { name, other } => {
                write!(f, "{name:?} and {other:?} are the same key: leave one of them out")
            }
            Self::Tolerance => {
                f.write_str("a tolerance must be longer than zero, and at most twelve hours")
            }
            Self::NoTimestamp => {
                f.write_str("the format has no timestamp: leave the tolerance out")
            }
            Self::ShortMemory => f.write_str(
                "remember deliveries for at least twice the tolerance: until then their timestamps are accepted",
            ),
            Self::Zero => f.write_str(
                "a capacity, a limit, a lease or a timeout of zero refuses every delivery: use a larger one",
            ),
            Self::RedisUrl => f.write_str(
                "the address of Redis can't be parsed: write it as `redis://:password@host:6379/0`",
            ),
            Self::HeaderPrefix => f.write_str(
                "the prefix of the header fields must be a part of a header name, and only Standard Webhooks has one",
            ),
            Self::NoId => f.write_str(
                "the format has no signed identifier: identify deliveries by their signed content",
            ),
            Self::Id => f.write_str(
                "the id of a delivery must be 1 to 256 visible ASCII characters without a full stop",
            ),
            Self::Time => f.write_str("the time of a delivery must not be before 1970"),
        }
    }
}

impl std::error::Error for SignedError {}
