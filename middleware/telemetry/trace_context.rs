//! The trace of a request, by W3C Trace Context.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use axum_core::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The position of a request in a distributed trace ([W3C Trace Context](https://www.w3.org/TR/trace-context-2/), levels 1 and 2).
///
/// As an argument of a handler it is the context of this request: the trace of the caller, or a new one, with an id of its own for the span of this
/// request. [`headers`](Self::headers) passes it on to other services. It works with and without the step [`Telemetry`](super::Telemetry).
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::middleware::telemetry::{Telemetry, TraceContext};
///
/// async fn price(trace: TraceContext) -> String {
///     let mut req = http::Request::get("http://prices.internal/7").body(()).unwrap();
///     req.headers_mut().extend(trace.headers());
///     // .. send `req` ..
///     trace.trace_id().to_string()
/// }
///
/// let chain = Chain::new().always(Telemetry::new()).get(price);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u8,
    /// The members of `tracestate`, which are valid. Empty for none.
    state: Arc<str>,
}

impl TraceContext {
    /// A new trace. `sampled` states whether this service records it.
    pub fn start(sampled: bool) -> Self {
        let flags = RANDOM | if sampled { SAMPLED } else { 0 };
        Self { trace_id: TraceId::random(), span_id: SpanId::random(), flags, state: Arc::from("") }
    }

    /// The context that a caller has sent. Its span is the one of the caller. `None` if there is no `traceparent`, or it is not valid.
    ///
    /// A `traceparent` is refused if it is sent twice, has version `ff`, an id of zeros, upper-case letters, or, in version `00`, anything after its
    /// last field. Versions above `00` are read as version `00`. A `tracestate` that is not valid, or that has more than 32 members, is left out alone.
    /// If it has more than 512 characters, members of more than 128 characters are left out, then members at its end. Of several members with one key, the
    /// first one is kept.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let (trace_id, span_id, flags) = traceparent(trimmed(line.as_bytes()))?;
        let state = tracestate(headers).unwrap_or_default();
        Some(Self { trace_id, span_id, flags, state: state.into() })
    }

    /// A context from its parts, such as those of an OpenTelemetry SDK. `None` if an id is zero, or `state` is not a valid `tracestate`.
    pub fn from_parts(
        trace_id: [u8; 16],
        span_id: [u8; 8],
        flags: u8,
        state: &str,
    ) -> Option<Self> {
        let (trace_id, span_id) = (TraceId::new(trace_id)?, SpanId::new(span_id)?);
        let state = joined([state.as_bytes()].into_iter())?.into();
        Some(Self { trace_id, span_id, flags: flags & KNOWN_FLAGS, state })
    }

    /// A context in the same trace, with an id for another span: for an outgoing call that is recorded as a span of its own.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: SpanId::random(), ..self.clone() }
    }

    /// The id of the trace.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The id of the span: of this request, or, of a context that was read from header fields, of the caller.
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Whether the caller, or for a new trace this service, may have recorded the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The flags: bit 0 is sampled, bit 1 is a random trace id. All others are zero.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// The value of `tracestate`. Empty for none.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// The header fields that pass this context on to another service: `traceparent`, and `tracestate` if there is one.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let state = Some(&*self.state).filter(|state| !state.is_empty());
        // Both consist of visible ASCII and spaces.
        let state = state.and_then(|state| HeaderValue::from_str(state).ok());
        let parent = HeaderValue::try_from(self.to_string()).ok();
        let parent = parent.map(|parent| (TRACEPARENT, parent));
        parent.into_iter().chain(state.map(|state| (TRACESTATE, state)))
    }
}

/// The value of `traceparent`, in version `00`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, span_id, flags, .. } = self;
        write!(f, "00-{trace_id}-{span_id}-{flags:02x}")
    }
}

/// Without [`Telemetry`](super::Telemetry), or while nothing records it, the context is made when it is first extracted.
impl<S: Sync> FromRequestParts<S> for TraceContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        if let Some(context) = parts.extensions.get::<Self>() {
            return Ok(context.clone());
        }
        let caller = Self::of(&parts.headers);
        let context = caller.map_or_else(|| Self::start(false), |caller| caller.child());
        parts.extensions.insert(context.clone());
        Ok(context)
    }
}

/// The id of a trace. It is displayed as 32 lower-case hexadecimal digits, and is never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of a span. It is displayed as 16 lower-case hexadecimal digits, and is never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

macro_rules! id {
    ($name:ident, $length:literal, $random:expr) => {
        impl $name {
            fn new(bytes: [u8; $length]) -> Option<Self> {
                (bytes != [0; $length]).then_some(Self(bytes))
            }

            fn random() -> Self {
                loop {
                    if let Some(id) = Self::new($random) {
                        return id;
                    }
                }
            }

            fn parse(hex: &[u8]) -> Option<Self> {
                let mut bytes = [0; $length];
                if hex.len() != 2 * $length {
                    return None;
                }
                for (byte, pair) in bytes.iter_mut().zip(hex.chunks(2)) {
                    *byte = hex_byte(pair)?;
                }
                Self::new(bytes)
            }

            /// The bytes of the id, in the order in which it is displayed.
            pub fn to_bytes(self) -> [u8; $length] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(TraceId, 16, u128::to_be_bytes(random_u128()));
id!(SpanId, 8, u64::to_be_bytes(random()));

pub(super) fn random_u128() -> u128 {
    u128::from(random()) << 64 | u128::from(random())
}

/// A number that no other call returns, except by chance: SipHash of a counter, with a key that each thread has drawn. It is not a secret.
fn random() -> u64 {
    thread_local! {
        static SOURCE: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
    }
    let number = |(key, next): &(RandomState, Cell<u64>)| {
        next.set(next.get().wrapping_add(1));
        key.hash_one(next.get())
    };
    // A future may be dropped while the thread ends, when the variable no longer exists.
    SOURCE.try_with(number).unwrap_or_else(|_| RandomState::new().hash_one(0))
}

/// Reads `version "-" trace-id "-" parent-id "-" trace-flags` (section 3.2).
fn traceparent(value: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let (head, rest) = value.split_at_checked(55)?;
    let version = hex_byte(&head[..2])?;
    let ended = rest.is_empty() || version > 0 && rest[0] == b'-';
    if version == 0xff || !ended || [2, 35, 52].iter().any(|&dash| head[dash] != b'-') {
        return None;
    }
    let flags = hex_byte(&head[53..])? & KNOWN_FLAGS;
    Some((TraceId::parse(&head[3..35])?, SpanId::parse(&head[36..52])?, flags))
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let [high, low] = pair else { return None };
    Some(digit(high)? << 4 | digit(low)?)
}

/// Reads all fields `tracestate` as one list (section 3.3). `None` if it is not valid.
fn tracestate(headers: &HeaderMap) -> Option<String> {
    joined(headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes))
}

fn joined<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    let mut count = 0;
    for member in lines.flat_map(|line| line.split(|&byte| byte == b',')).map(trimmed) {
        if member.is_empty() {
            continue;
        }
        count += 1;
        if count > MOST_MEMBERS {
            return None;
        }
        let (key, value) = std::str::from_utf8(member).ok()?.split_once('=')?;
        if !is_key(key) || !is_value(value) {
            return None;
        }
        if !members.iter().any(|(known, _)| *known == key) {
            members.push((key, value));
        }
    }
    // A comma after each member except the last.
    let length = |(key, value): &(&str, &str)| key.len() + value.len() + 2;
    let total = |members: &[(&str, &str)]| members.iter().map(length).sum::<usize>();
    while total(&members) > MOST_CHARACTERS + 1 {
        let long = members.iter().rposition(|member| length(member) > LONG_MEMBER + 1);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    let members: Vec<String> =
        members.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Some(members.join(","))
}

/// `( lcalpha / DIGIT ) 0*255( lcalpha / DIGIT / "_" / "-" / "*" / "/" / "@" )`, the grammar of level 2, which includes that of level 1.
fn is_key(key: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= 256
        && key.bytes().next().is_some_and(first)
        && key.bytes().all(|byte| first(byte) || b"_-*/@".contains(&byte))
}

/// `0*255(chr) nblk-chr`, where a character is `%x20-7E` without `,` and `=`. Blanks at the end are cut off before.
fn is_value(value: &str) -> bool {
    let is_chr = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_chr) && !value.ends_with(' ')
}

/// Without the optional white space around a value.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;
/// The flags of level 2. A service sets all others to zero.
const KNOWN_FLAGS: u8 = SAMPLED | RANDOM;
const MOST_MEMBERS: usize = 32;
const MOST_CHARACTERS: usize = 512;
const LONG_MEMBER: usize = 128;
