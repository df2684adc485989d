//! Why a configuration is refused.

use std::fmt;

/// Why the configuration of a rate limit is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateLimitError {
    /// A limit or a burst is zero.
    ZeroLimit,
    /// A period is zero.
    ZeroPeriod,
    /// The limit is above one request per nanosecond.
    TooFast,
    /// A quota takes more than 100 years to come back.
    TooLong,
    /// The name of a policy cannot be used in a header field.
    Name(String),
    /// Two policies of one limiter have the same name.
    DuplicateName(String),
    /// A limiter has more than eight policies.
    TooManyPolicies,
    /// A prefix is longer than the address, or is not shorter than the one before it.
    Prefix,
    /// The largest number of keys is zero.
    ZeroKeys,
    /// Two limiters that are no clones share a store, a prefix and the name of a policy.
    SharedName(String),
    /// The prefix of the keys in a shared store is empty.
    StorePrefix,
}

impl fmt::Display for RateLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroLimit => f.write_str(
                "a limit of 0 refuses everything: allow at least 1 request, or leave the route out",
            ),
            Self::ZeroPeriod => f.write_str("the period of a limit must be longer than zero"),
            Self::TooFast => {
                f.write_str("the limit is above one request per nanosecond: lower it, or leave it out")
            }
            Self::TooLong => f.write_str(
                "the quota takes more than 100 years to come back: shorten the period or lower the burst",
            ),
            Self::Name(name) => write!(
                f,
                "the policy name {name:?} cannot be used in a header field: use 1 to 64 letters, digits, `-`, `_`, `.` or spaces"
            ),
            Self::DuplicateName(name) => {
                write!(f, "two policies are named {name:?}: give each its own name")
            }
            Self::TooManyPolicies => {
                write!(f, "a limiter has at most {MAX_POLICIES} policies: stack a second limiter")
            }
            Self::Prefix => f.write_str(
                "IPv6 prefixes must be 1 to 128 bits long, from the longest to the shortest, at most 3; an IPv4 prefix must be 1 to 32",
            ),
            Self::ZeroKeys => f.write_str("`max_keys` must be at least 1"),
            Self::SharedName(name) => write!(
                f,
                "two limiters share a store and have a policy named {name:?}, so they would share its count: name their policies, set another prefix, or use a clone of the limiter if one count is meant"
            ),
            Self::StorePrefix => f.write_str(
                "the prefix of the keys in a shared store is empty: name it after the application, without braces",
            ),
        }
    }
}

impl std::error::Error for RateLimitError {}

/// Returns the value, or panics with the error at the line of the caller.
#[track_caller]
pub(crate) fn checked<T>(built: Result<T, RateLimitError>) -> T {
    match built {
        Ok(built) => built,
        Err(error) => panic!("{error}"),
    }
}

/// The largest number of policies in a limiter.
pub(crate) const MAX_POLICIES: usize = 8;
