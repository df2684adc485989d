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
    /// A window of the calendar does not fit into days, or has a burst.
    Window,
    /// A difference of the local time to UTC is a day or more.
    UtcOffset,
    /// A policy counts in windows, and the shared store does not support them.
    WindowInStore,
    /// The name of a policy or of a limiter has characters that cannot be used in a header field.
    Name(String),
    /// Two policies of one limiter have the same name.
    DuplicateName(String),
    /// A limiter has more than eight policies.
    TooManyPolicies,
    /// A prefix is longer than the address, or is not shorter than the one before it.
    Prefix,
    /// The largest number of keys is zero.
    ZeroKeys,
    /// Two limiters that are not clones share a store, a prefix and a name.
    SharedName(String),
    /// No policy has this name.
    UnknownPolicy(String),
    /// A handle was requested for subjects of another type than those of the key, which have this type.
    SubjectType(&'static str),
    /// A handle was requested for all policies of a limiter whose policies count under several keys.
    SeveralKeys,
    /// A handle to slots was requested from a limiter without a largest number of requests in flight.
    NoConcurrency,
    /// The prefix of the keys in a shared store is empty.
    StorePrefix,
    /// A time is zero, so the setting has no effect or refuses everything. Contains what the time is.
    ZeroTime(&'static str),
    /// `doubling_penalty` has no effect: there is no `penalty`, or the longest block is as short as the first one.
    DoublingPenalty,
    /// A mode for an unreachable store names no server.
    ZeroServers,
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
            Self::Window => f.write_str(
                "a window of the calendar must divide a day or last whole days, and a window has no burst: all of its requests may be made at once",
            ),
            Self::UtcOffset => f.write_str("the local time must differ from UTC by less than 24 hours"),
            Self::WindowInStore => f.write_str(
                "the shared store does not support quotas with windows: use a quota whose requests come back one by one, or another store",
            ),
            Self::Name(name) => write!(
                f,
                "the name {name:?} cannot be used in a header field or a key: use 1 to 64 letters, digits, `-`, `_`, `.` or spaces"
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
                "two limiters share a store and are both named {name:?}, so they would share one count: give them different names, set another prefix, or use a clone of the limiter if one count is meant"
            ),
            Self::UnknownPolicy(name) => write!(f, "the limiter has no policy named {name:?}"),
            Self::SubjectType(name) => write!(
                f,
                "the subjects of this key have the type `{name}`: request the handle for this type, or for `Subject`"
            ),
            Self::SeveralKeys => f.write_str(
                "the policies of this limiter count under several keys: request a handle for one policy by its name",
            ),
            Self::NoConcurrency => f.write_str(
                "the limiter has no slots: set `concurrency`, or build it by `RateLimit::concurrent`",
            ),
            Self::StorePrefix => f.write_str(
                "the prefix of the keys in a shared store is empty: name it after the application, without braces",
            ),
            Self::ZeroTime(what) => {
                write!(f, "{what} is zero: set a longer time, or leave the setting out")
            }
            Self::DoublingPenalty => f.write_str(
                "blocks can't double: call `penalty` before `doubling_penalty`, and set a longest block that is longer than the block of `penalty`",
            ),
            Self::ZeroServers => f.write_str(
                "`WhileUnreachable::Local` has 0 servers: set the number of servers that share the store, at least 1",
            ),
        }
    }
}

impl std::error::Error for RateLimitError {}

/// Whether a name has 1 to 64 characters that need no escapes in a header field and are no separators of keys.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_. ".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

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
