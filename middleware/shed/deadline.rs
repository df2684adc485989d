//! Until when a client waits for the response.

use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use crate::chain::FromChain;
use crate::declare::{Answer, Declaration, Field};
use crate::step::Refusal;
use crate::{Error, Response};

/// Until when the client waits for the response. [`Shed`](super::Shed) provides it.
///
/// Pass it on to what the handler calls, such as a database, and stop work that can't be finished in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// For how long the client will still wait. Zero if the deadline has passed, `None` if there is none.
    pub fn remaining(&self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// The deadline. `None` if the client waits for any time.
    pub fn at(&self) -> Option<Instant> {
        self.0
    }
}

impl FromChain for Deadline {
    type Value = Self;

    fn from_value(value: Self) -> Self {
        value
    }
}

/// Where the deadline of a request comes from.
#[derive(Clone, Default)]
pub(super) struct Timeout {
    pub(super) header: Option<HeaderName>,
    pub(super) longest: Option<Duration>,
}

impl Timeout {
    /// The deadline of a request, or the refusal of a field that can't be read.
    pub(super) fn deadline(&self, headers: &HeaderMap, now: Instant) -> Result<Deadline, Response> {
        let milliseconds = |text: &str| digits(text, 15).map(Duration::from_millis);
        let own = match &self.header {
            Some(name) => read(headers, name, milliseconds)?,
            None => None,
        };
        let times = [own, read(headers, &GRPC_TIMEOUT, grpc_timeout)?, self.longest];
        let shortest = times.into_iter().flatten().min();
        // A time so long that the clock has no such instant is no deadline.
        Ok(Deadline(shortest.and_then(|time| now.checked_add(time))))
    }
}

impl Timeout {
    pub(super) fn declare(&self, to: &mut Declaration) {
        let grpc =
            Field::new(GRPC_TIMEOUT.as_str(), "How long the client waits, as gRPC writes it");
        to.reads(grpc.with_pattern("^[0-9]{1,8}[HMSmun]$").optional());
        if let Some(name) = &self.header {
            let text = "How long the client waits, in milliseconds";
            let own = Field::new(name.as_str(), text).with_pattern("^[0-9]{1,15}$");
            to.reads(own.optional());
        }
        let status = StatusCode::BAD_REQUEST;
        to.answers(Answer::problem(status, "The timeout in a header field can't be read"));
        let status = StatusCode::GATEWAY_TIMEOUT;
        let late = Answer::problem(status, "The client's deadline has passed");
        to.answers(late.header("cache-control"));
    }
}

/// The time in a field. `None` if the field is absent.
fn read(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: impl Fn(&str) -> Option<Duration>,
) -> Result<Option<Duration>, Response> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    let time = match (first, second) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok().and_then(parse),
        (Some(_), Some(_)) => None,
    };
    time.map(Some).ok_or_else(|| {
        let detail = "The timeout in a header field can't be read";
        // The name of a field is visible ASCII without quotes and backslashes, so it needs no escapes.
        let header = format!("\"{name}\"");
        let error = Error::new(StatusCode::BAD_REQUEST, detail).with_member("header", header);
        Refusal::new("Shed", "timeout_field").mark(error)
    })
}

/// `TimeoutValue` and `TimeoutUnit` of gRPC: at most 8 digits, then one of `HMSmun`.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (value, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value = digits(value, 8)?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// A number of 1 to `most` digits.
fn digits(text: &str, most: usize) -> Option<u64> {
    let valid = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| text.parse().ok())?
}

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_grpc_have_a_value_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("0S", Some(Duration::ZERO)),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("1 S", None),
            ("1.5S", None),
            ("1ü", None),
            ("ü", None),
        ] {
            assert_eq!(grpc_timeout(text), expected, "{text}");
        }
    }

    #[test]
    fn the_shortest_time_applies() {
        let timeout = Timeout {
            header: Some(HeaderName::from_static("x-timeout-ms")),
            longest: Some(Duration::from_secs(10)),
        };
        let now = Instant::now();
        for (fields, expected) in [
            (&[][..], Ok(Some(10_000))),
            (&[("x-timeout-ms", "5")], Ok(Some(5))),
            (&[("x-timeout-ms", "5"), ("grpc-timeout", "3m")], Ok(Some(3))),
            (&[("x-timeout-ms", "20000"), ("grpc-timeout", "1H")], Ok(Some(10_000))),
            (&[("x-timeout-ms", "999999999999999")], Ok(Some(10_000))),
            (&[("x-timeout-ms", "5"), ("x-timeout-ms", "5")], Err(400)),
            (&[("x-timeout-ms", "")], Err(400)),
            (&[("x-timeout-ms", "5s")], Err(400)),
            (&[("x-timeout-ms", "9999999999999999")], Err(400)),
            (&[("grpc-timeout", "5")], Err(400)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            let found = timeout.deadline(&headers, now);
            let found = found
                .map(|deadline| deadline.at().map(|at| (at - now).as_millis()))
                .map_err(|refusal| refusal.status().as_u16());
            assert_eq!(found, expected, "{fields:?}");
        }
        let none = Timeout::default().deadline(&HeaderMap::new(), now).unwrap();
        assert_eq!((none.at(), none.remaining()), (None, None));
        let mut headers = HeaderMap::new();
        headers.insert("x-timeout-ms", "5".parse().unwrap());
        assert_eq!(Timeout::default().deadline(&headers, now).unwrap().at(), None);
    }
}
