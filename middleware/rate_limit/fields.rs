//! The header fields in which a client reads how it stands.

use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

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
                let mut text = Text::default();
                text.str("limit=").int(limit).str(", remaining=").int(remaining);
                headers.append(RATELIMIT, text.str(", reset=").int(reset).value());
                headers.append(RATELIMIT_POLICY, old_policies(states));
            }
            Self::Draft6 => {
                headers.append(RATELIMIT_LIMIT, number(limit));
                headers.append(RATELIMIT_REMAINING, number(remaining));
                headers.append(RATELIMIT_RESET, number(reset));
                headers.append(RATELIMIT_POLICY, old_policies(states));
            }
            Self::XRateLimit | Self::XRateLimitDelta => {
                let reset = match (self, SystemTime::now().duration_since(UNIX_EPOCH)) {
                    (Self::XRateLimit, Ok(now)) => {
                        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
                        seconds(now.saturating_add(state.full))
                    }
                    _ => full,
                };
                headers.append(X_RATELIMIT_LIMIT, number(limit));
                headers.append(X_RATELIMIT_REMAINING, number(remaining));
                headers.append(X_RATELIMIT_RESET, number(reset));
            }
        }
    }
}

fn write_ietf(headers: &mut HeaderMap, policies: &[Policy], states: &[State]) {
    let known = |state: &State| policies.get(usize::from(state.policy));
    for state in states {
        let Some(policy) = known(state) else { continue };
        let field = if state.quota == policy.first_quota() {
            policy.field.clone()
        } else {
            self::policy(&policy.name, state.quota)
        };
        headers.append(RATELIMIT_POLICY, field);
    }
    if states.is_empty() {
        return;
    }
    let mut text = Text::default();
    for (state, policy) in states.iter().filter_map(|state| Some((state, known(state)?))) {
        text.str(if text.0.is_empty() { "" } else { ", " }).str(&policy.left);
        text.int(state.remaining);
        if state.reset > 0 {
            text.str(";t=").int(seconds(state.reset));
        }
    }
    headers.append(RATELIMIT, text.value());
}

/// The item of `RateLimit-Policy` for a policy whose name was checked to need no escapes.
pub(crate) fn policy(name: &str, quota: Quota) -> HeaderValue {
    let whole = seconds(quota.rate().whole()).max(1);
    let mut text = Text::default();
    text.str("\"").str(name).str("\";q=").int(quota.burst_size()).str(";w=").int(whole).value()
}

/// The item of `RateLimit-Policy` for requests under way.
pub(crate) fn concurrency(headers: &mut HeaderMap, most: u32) {
    let mut text = Text::default();
    text.str("\"").str(CONCURRENT).str("\";q=").int(most).str(";qu=\"concurrent-requests\"");
    headers.append(RATELIMIT_POLICY, text.value());
}

/// Names the fields to browsers, which hide them from scripts otherwise.
pub(crate) fn expose(headers: &mut HeaderMap, names: &[HeaderName]) {
    let mut text = Text::default();
    for name in names {
        text.str(if text.0.is_empty() { "" } else { ", " }).str(name.as_str());
    }
    headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, text.value());
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

fn old_policies(states: &[State]) -> HeaderValue {
    let mut text = Text::default();
    for state in states {
        let whole = seconds(state.quota.rate().whole()).max(1);
        text.str(if text.0.is_empty() { "" } else { ", " });
        text.int(state.quota.burst_size()).str(";w=").int(whole);
    }
    text.value()
}

fn number(number: impl itoa::Integer) -> HeaderValue {
    Text::default().int(number).value()
}

/// Where the text of a field is put together, so that only its final form is allocated.
#[derive(Default)]
struct Text(SmallVec<[u8; 192]>);

impl Text {
    fn str(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn int(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.str(itoa::Buffer::new().format(number))
    }

    fn value(&self) -> HeaderValue {
        // All of it is printable ASCII; were it not, an empty field says nothing wrong.
        HeaderValue::from_bytes(&self.0).unwrap_or(HeaderValue::from_static(""))
    }
}

/// The name of the policy for requests under way.
pub(crate) const CONCURRENT: &str = "concurrent";
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
