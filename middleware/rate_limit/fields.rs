//! The header fields in which a client reads how it stands.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

use super::policy::Policy;
use super::quota::Quota;

/// A set of header fields in which a client reads how it stands.
///
/// All are appended to what is there, so that several limiters can tell of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitHeaders {
    /// `RateLimit: "name";r=50;t=30` and `RateLimit-Policy: "name";q=100;w=60`: drafts 8 to 10 of
    /// [draft-ietf-httpapi-ratelimit-headers](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/).
    Ietf,
    /// `RateLimit: limit=100, remaining=50, reset=30` and `RateLimit-Policy: 100;w=60`: draft 7.
    Draft7,
    /// `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset` and `RateLimit-Policy`: draft 6 and before.
    Draft6,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining`, and `X-RateLimit-Reset` as seconds since 1970.
    XRateLimit,
    /// As `XRateLimit`, but `X-RateLimit-Reset` is in seconds from now.
    XRateLimitDelta,
}

/// How a client stands with a policy, as numbers alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) policy: u8,
    pub(crate) violated: bool,
    pub(crate) quota: Quota,
    pub(crate) remaining: u32,
    /// Nanoseconds until one request more fits, or until this one would.
    pub(crate) reset: u64,
    /// Nanoseconds until all has come back.
    pub(crate) full: u64,
}

impl LimitHeaders {
    fn names(self) -> Vec<HeaderName> {
        match self {
            Self::Ietf | Self::Draft7 => vec![RATELIMIT, RATELIMIT_POLICY],
            Self::Draft6 => {
                vec![RATELIMIT_LIMIT, RATELIMIT_REMAINING, RATELIMIT_RESET, RATELIMIT_POLICY]
            }
            Self::XRateLimit | Self::XRateLimitDelta => {
                vec![X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET]
            }
        }
    }

    /// Appends the fields to a response.
    pub(crate) fn write(self, headers: &mut HeaderMap, policies: &[Policy], states: &[State]) {
        if self == Self::Ietf {
            return write_ietf(headers, policies, states);
        }
        // The older fields have room for one policy: the one that is nearest to refusing.
        let Some(state) =
            states.iter().min_by_key(|s| (!s.violated, s.remaining, u64::MAX - s.reset))
        else {
            return;
        };
        let (limit, remaining) = (state.quota.burst_size(), state.remaining);
        let (reset, full) = (seconds(state.reset), seconds(state.full));
        match self {
            Self::Ietf => {}
            Self::Draft7 => {
                let text = format!("limit={limit}, remaining={remaining}, reset={reset}");
                append(headers, RATELIMIT, text);
                append(headers, RATELIMIT_POLICY, old_policies(states));
            }
            Self::Draft6 => {
                headers.append(RATELIMIT_LIMIT, limit.into());
                headers.append(RATELIMIT_REMAINING, remaining.into());
                headers.append(RATELIMIT_RESET, reset.into());
                append(headers, RATELIMIT_POLICY, old_policies(states));
            }
            Self::XRateLimit | Self::XRateLimitDelta => {
                let reset = match (self, SystemTime::now().duration_since(UNIX_EPOCH)) {
                    (Self::XRateLimit, Ok(now)) => {
                        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
                        seconds(now.saturating_add(state.full))
                    }
                    _ => full,
                };
                headers.append(X_RATELIMIT_LIMIT, limit.into());
                headers.append(X_RATELIMIT_REMAINING, remaining.into());
                headers.append(X_RATELIMIT_RESET, reset.into());
            }
        }
    }
}

fn write_ietf(headers: &mut HeaderMap, policies: &[Policy], states: &[State]) {
    let mut text = String::with_capacity(states.len() * 40);
    for state in states {
        let Some(policy) = policies.get(usize::from(state.policy)) else { continue };
        if !text.is_empty() {
            text.push_str(", ");
        }
        let _ = write!(text, "\"{}\";r={}", policy.name, state.remaining);
        if state.reset > 0 {
            let _ = write!(text, ";t={}", seconds(state.reset));
        }
        let field = if state.quota == policy.first_quota() {
            policy.field.clone()
        } else {
            self::policy(&policy.name, state.quota)
        };
        headers.append(RATELIMIT_POLICY, field);
    }
    if !text.is_empty() {
        append(headers, RATELIMIT, text);
    }
}

/// The item of `RateLimit-Policy` for a policy whose name was checked to need no escapes.
pub(crate) fn policy(name: &str, quota: Quota) -> HeaderValue {
    let text =
        format!("\"{name}\";q={};w={}", quota.burst_size(), seconds(quota.rate().whole()).max(1));
    value(text)
}

/// Names the fields to browsers, which hide them from scripts otherwise.
pub(crate) fn expose(headers: &mut HeaderMap, names: &[HeaderName]) {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(name.as_str());
    }
    append(headers, ACCESS_CONTROL_EXPOSE_HEADERS, text);
}

/// All names that the given sets may use.
pub(crate) fn names(sets: &[LimitHeaders]) -> Vec<HeaderName> {
    let mut names = vec![RETRY_AFTER];
    for name in sets.iter().flat_map(|set| set.names()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whole seconds, rounded up: nobody is told to come too early.
pub(crate) fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

fn old_policies(states: &[State]) -> String {
    let mut text = String::new();
    for state in states {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let whole = seconds(state.quota.rate().whole()).max(1);
        let _ = write!(text, "{};w={whole}", state.quota.burst_size());
    }
    text
}

fn append(headers: &mut HeaderMap, name: HeaderName, text: String) {
    headers.append(name, value(text));
}

fn value(text: String) -> HeaderValue {
    // All of it is printable ASCII; were it not, an empty field says nothing wrong.
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
