//! The header fields that show a client its state.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use crate::middleware::rate_limit::config::clock::{LimitClock, seconds};
use crate::middleware::rate_limit::config::policy::Policy;
use crate::middleware::rate_limit::config::quota::Quota;

/// A set of header fields that show a client its state.
///
/// Fields that are lists (`RateLimit` of the newest drafts and `RateLimit-Policy`) are appended, so several limiters can each add theirs. The others may
/// appear only once: of several limiters, they show the one with the fewest requests remaining, or the one that has refused the request.
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

/// The state of a client for one policy, as numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyState {
    pub(crate) policy: u8,
    pub(crate) violated: bool,
    pub(crate) quota: Quota,
    pub(crate) remaining: u32,
    /// Nanoseconds until one more request fits, or, after a refusal, until this one would.
    pub(crate) reset: u64,
    /// Nanoseconds until the whole quota has come back.
    pub(crate) full: u64,
}

impl LimitHeaders {
    pub(crate) fn names(self) -> Vec<&'static HeaderName> {
        match self {
            Self::Ietf | Self::Draft7 => vec![&RATELIMIT, &RATELIMIT_POLICY],
            Self::Draft6 => {
                vec![&RATELIMIT_LIMIT, &RATELIMIT_REMAINING, &RATELIMIT_RESET, &RATELIMIT_POLICY]
            }
            Self::XRateLimit | Self::XRateLimitDelta => {
                vec![&X_RATELIMIT_LIMIT, &X_RATELIMIT_REMAINING, &X_RATELIMIT_RESET]
            }
        }
    }

    /// Writes the fields of a response.
    pub(crate) fn write(
        self,
        fields: &mut FieldWriter<'_>,
        policies: &[Policy],
        states: &[PolicyState],
        clock: &LimitClock,
    ) {
        if self == Self::Ietf {
            return write_ietf(fields, policies, states, clock);
        }
        // The older fields show a single policy: the one that is closest to a refusal.
        let Some(state) =
            states.iter().min_by_key(|s| (!s.violated, s.remaining, u64::MAX - s.reset))
        else {
            return;
        };
        let (limit, remaining) = (state.quota.burst_size(), state.remaining);
        let is_tightest = !fields.has_tighter(self, remaining);
        let (reset, full) = (seconds(state.reset), seconds(state.full));
        match self {
            Self::Ietf => {}
            Self::Draft7 => {
                if is_tightest {
                    fields.str("limit=").int(limit).str(", remaining=").int(remaining);
                    fields.str(", reset=").int(reset).end_only(&RATELIMIT);
                }
                old_policies(fields, states, clock);
            }
            Self::Draft6 => {
                if is_tightest {
                    fields.int(limit).end_only(&RATELIMIT_LIMIT);
                    fields.int(remaining).end_only(&RATELIMIT_REMAINING);
                    fields.int(reset).end_only(&RATELIMIT_RESET);
                }
                old_policies(fields, states, clock);
            }
            Self::XRateLimit | Self::XRateLimitDelta if !is_tightest => {}
            Self::XRateLimit | Self::XRateLimitDelta => {
                let reset = match (self, SystemTime::now().duration_since(UNIX_EPOCH)) {
                    (Self::XRateLimit, Ok(now)) => {
                        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
                        seconds(now.saturating_add(state.full))
                    }
                    _ => full,
                };
                fields.int(limit).end_only(&X_RATELIMIT_LIMIT);
                fields.int(remaining).end_only(&X_RATELIMIT_REMAINING);
                fields.int(reset).end_only(&X_RATELIMIT_RESET);
            }
        }
    }
}

fn write_ietf(
    fields: &mut FieldWriter<'_>,
    policies: &[Policy],
    states: &[PolicyState],
    clock: &LimitClock,
) {
    let known = |state: &PolicyState| policies.get(usize::from(state.policy));
    for state in states {
        let Some(policy) = known(state) else { continue };
        // The usual case needs no comparison of quotas.
        let field = if policy.has_one_field() {
            policy.field.clone()
        } else {
            policy.field_of(state.quota, unix(clock))
        };
        fields.headers.append(&RATELIMIT_POLICY, field);
    }
    let mut between = "";
    for (state, policy) in states.iter().filter_map(|state| Some((state, known(state)?))) {
        fields.str(between).str(&policy.left).int(state.remaining);
        if state.reset > 0 {
            fields.str(";t=").int(seconds(state.reset));
        }
        between = ", ";
    }
    if !states.is_empty() {
        fields.end(&RATELIMIT);
    }
}

/// Writes the fields of the newest drafts for one policy, as [`write_ietf`] does, without the buffer for several fields.
pub(crate) fn write_one(headers: &mut HeaderMap, policy: &Policy, state: &PolicyState) {
    headers.append(POLICY_NAME, policy.field.clone());
    // The name of a policy has at most 64 characters, so the text fits.
    let mut text = SmallVec::<[u8; SHORT]>::new();
    text.extend_from_slice(policy.left.as_bytes());
    text.extend_from_slice(itoa::Buffer::new().format(state.remaining).as_bytes());
    if state.reset > 0 {
        text.extend_from_slice(b";t=");
        text.extend_from_slice(itoa::Buffer::new().format(seconds(state.reset)).as_bytes());
    }
    headers.append(NAME, HeaderValue::from_bytes(&text).unwrap_or(EMPTY));
}

/// The time since 1970 by a clock of a limiter.
fn unix(clock: &LimitClock) -> u64 {
    clock.start().saturating_add(clock.now())
}

fn old_policies(fields: &mut FieldWriter<'_>, states: &[PolicyState], clock: &LimitClock) {
    let mut between = "";
    for state in states {
        let window =
            state.quota.window_seconds(if state.quota.is_month() { unix(clock) } else { 0 });
        fields.str(between).int(state.quota.burst_size()).str(";w=").int(window);
        between = ", ";
    }
    fields.end(&RATELIMIT_POLICY);
}

/// Writes the item of `RateLimit-Policy` for requests in flight.
pub(crate) fn concurrency(fields: &mut FieldWriter<'_>, most: u32) {
    fields.str("\"").str(CONCURRENT).str("\";q=").int(most).str(";qu=\"concurrent-requests\"");
    fields.end(&RATELIMIT_POLICY);
}

/// Allows scripts in browsers to read the fields.
pub(crate) fn expose(fields: &mut FieldWriter<'_>, names: &[HeaderName]) {
    let mut between = "";
    for name in names {
        fields.str(between).str(name.as_str());
        between = ", ";
    }
    fields.end(&ACCESS_CONTROL_EXPOSE_HEADERS);
}

/// The names of all fields that these sets may write.
pub(crate) fn names(sets: &[LimitHeaders]) -> Vec<HeaderName> {
    let mut names = vec![RETRY_AFTER];
    for name in sets.iter().flat_map(|set| set.names()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// Builds the fields of a response. All values are parts of one text, so they need one allocation together.
pub(crate) struct FieldWriter<'a> {
    headers: &'a mut HeaderMap,
    short: [u8; SHORT],
    /// The text, if it does not fit into `short`.
    long: Vec<u8>,
    length: usize,
    /// The name of each field, where its value ends in the text, and whether it replaces a field of that name.
    ends: SmallVec<[(&'static HeaderName, usize, bool); 4]>,
}

impl<'a> FieldWriter<'a> {
    pub(crate) fn of(headers: &'a mut HeaderMap) -> Self {
        Self { headers, short: [0; SHORT], long: Vec::new(), length: 0, ends: SmallVec::new() }
    }

    fn str(&mut self, text: &str) -> &mut Self {
        let start = self.length;
        self.length += text.len();
        if let Some(place) = self.short.get_mut(start..self.length) {
            place.copy_from_slice(text.as_bytes());
        } else {
            if self.long.is_empty() {
                self.long.extend_from_slice(&self.short[..start]);
            }
            self.long.extend_from_slice(text.as_bytes());
        }
        self
    }

    fn int(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.str(itoa::Buffer::new().format(number))
    }

    /// Ends the value of this field, which is a list: it is added to the values that are there.
    fn end(&mut self, name: &'static HeaderName) {
        self.ends.push((name, self.length, false));
    }

    /// Ends the value of this field, which may appear only once.
    fn end_only(&mut self, name: &'static HeaderName) {
        self.ends.push((name, self.length, true));
    }

    /// Whether another limiter, or the handler, has written the fields of this set with as little remaining or less. What has refused the request has
    /// set `Retry-After`, and its fields are kept too.
    fn has_tighter(&self, set: LimitHeaders, remaining: u32) -> bool {
        let (name, before) = match set {
            LimitHeaders::Ietf => return false,
            LimitHeaders::Draft7 => (&RATELIMIT, "remaining="),
            LimitHeaders::Draft6 => (&RATELIMIT_REMAINING, ""),
            LimitHeaders::XRateLimit | LimitHeaders::XRateLimitDelta => {
                (&X_RATELIMIT_REMAINING, "")
            }
        };
        let other = self.headers.get(name).and_then(|value| {
            let (_, value) = value.to_str().ok()?.split_once(before)?;
            value.split(',').next()?.trim_matches([' ', '\t']).parse::<u64>().ok()
        });
        other.is_some_and(|other| {
            other <= remaining.into() || self.headers.contains_key(RETRY_AFTER)
        })
    }

    /// Adds what was written to the response.
    pub(crate) fn append(self) {
        if let ([(name, end, false)], true) = (&*self.ends, self.long.is_empty()) {
            let value = HeaderValue::from_bytes(&self.short[..*end]);
            self.headers.append(*name, value.unwrap_or(EMPTY));
            return;
        }
        let mut text = match self.long.is_empty() {
            true => Bytes::from_owner(self.short),
            false => Bytes::from_owner(self.long),
        };
        let mut start = 0;
        for (name, end, only) in self.ends {
            let value = value(text.split_to(end - start));
            if only {
                self.headers.insert(name, value);
            } else {
                self.headers.append(name, value);
            }
            start = end;
        }
    }
}

/// All text is printable ASCII. If it were not, the field would be empty rather than wrong.
fn value(text: impl AsRef<[u8]> + 'static) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).unwrap_or(EMPTY)
}

/// The name of the policy for requests in flight.
pub(crate) const CONCURRENT: &str = "concurrent";
/// A constant needs no clone where it is appended.
const NAME: HeaderName = HeaderName::from_static("ratelimit");
const POLICY_NAME: HeaderName = HeaderName::from_static("ratelimit-policy");
static RATELIMIT: HeaderName = NAME;
static RATELIMIT_POLICY: HeaderName = POLICY_NAME;
static RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
static RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
static X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const EMPTY: HeaderValue = HeaderValue::from_static("");
/// Enough for the usual fields of one policy.
const SHORT: usize = 128;
