//! Errors of configuration.

use std::fmt;

/// Why an [`Idempotency`](super::Idempotency) or one of its stores can't be configured as stated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdempotencyError {
    /// A list of methods is empty: name at least one.
    NoMethods,
    /// The range of key lengths is empty, starts at 0, or ends above 255.
    KeyLength,
    /// A time is zero, or longer than a year.
    Time {
        /// The name of the setting.
        setting: &'static str,
    },
    /// The lease is longer than the age: a key would be forgotten while its request runs.
    LeaseAboveAge,
    /// A limit is zero: at least 1 is needed.
    Zero {
        /// The name of the setting.
        setting: &'static str,
    },
    /// The address of Redis can't be parsed. It has the form `redis://:password@host:6379/0`.
    RedisUrl,
}

impl fmt::Display for IdempotencyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMethods => f.write_str("no method is named: name at least one"),
            Self::KeyLength => {
                f.write_str("the lengths of keys must be a range between 1 and 255 bytes")
            }
            Self::Time { setting } => {
                write!(f, "`{setting}` must be between a millisecond and a year")
            }
            Self::LeaseAboveAge => f.write_str("`lease` must not be longer than `age`"),
            Self::Zero { setting } => write!(f, "`{setting}` must be at least 1"),
            Self::RedisUrl => {
                f.write_str("the address of Redis can't be parsed: write redis://host:6379/0")
            }
        }
    }
}

impl std::error::Error for IdempotencyError {}
