//! The settings of the step.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{Method, StatusCode};

use super::error::IdempotencyError;

/// What happens with the response of a request that has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retention {
    /// The response is stored, and repetitions get it.
    Replay,
    /// The key is released: a repetition runs the request again. Only for responses of requests that have had no effect.
    Release,
    /// What the request has done is unknown: repetitions are refused with 409, and don't run it again.
    Unknown,
}

impl Retention {
    /// The default rule for each status. The [module](super) lists it.
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            401 | 403 | 407 | 409 | 421 | 423 | 425 | 429 => Self::Release,
            // A timeout inside of this step ends the handler at any point.
            408 => Self::Unknown,
            200..=499 => Self::Replay,
            _ => Self::Unknown,
        }
    }
}

pub(super) struct Settings {
    pub(super) required: bool,
    pub(super) methods: Vec<Method>,
    pub(super) lengths: RangeInclusive<usize>,
    pub(super) strings_only: bool,
    pub(super) max_request: u64,
    pub(super) max_response: u64,
    pub(super) age: Duration,
    pub(super) lease: Option<Duration>,
    pub(super) deadline: Duration,
    pub(super) max_keys: u32,
    pub(super) retention: Rule,
    pub(super) omitted: Vec<HeaderName>,
    pub(super) runs_without_store: bool,
}

pub(super) type Rule = Arc<dyn Fn(StatusCode) -> Retention + Send + Sync>;

impl Settings {
    pub(super) fn new(lengths: RangeInclusive<usize>, omitted: Vec<HeaderName>) -> Self {
        Self {
            required: false,
            methods: vec![Method::POST, Method::PATCH],
            lengths,
            strings_only: false,
            max_request: 1024 * 1024,
            max_response: 256 * 1024,
            age: Duration::from_secs(24 * 3600),
            lease: None,
            deadline: Duration::from_secs(1),
            max_keys: 10_000,
            retention: Arc::new(Retention::of),
            omitted,
            runs_without_store: false,
        }
    }

    /// How long a key is in flight without being renewed.
    pub(super) fn lease(&self) -> Duration {
        self.lease.unwrap_or(LEASE.min(self.age))
    }

    /// Whether a key is kept at least as long as it is in flight.
    pub(super) fn check_times(&self) -> Result<(), IdempotencyError> {
        match self.lease() <= self.age {
            true => Ok(()),
            false => Err(IdempotencyError::LeaseAboveAge),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("required", &self.required)
            .field("methods", &self.methods)
            .field("key_length", &self.lengths)
            .field("strings_only", &self.strings_only)
            .field("max_request_body", &self.max_request)
            .field("max_response_body", &self.max_response)
            .field("age", &self.age)
            .field("lease", &self.lease())
            .field("store_timeout", &self.deadline)
            .field("max_keys_per_principal", &self.max_keys)
            .field("omitted", &self.omitted)
            .field("runs_without_store", &self.runs_without_store)
            .finish_non_exhaustive()
    }
}

/// A time between a millisecond and a year.
pub(super) fn time(setting: &'static str, time: Duration) -> Result<Duration, IdempotencyError> {
    let longest = Duration::from_secs(366 * 24 * 3600);
    match (Duration::from_millis(1)..=longest).contains(&time) {
        true => Ok(time),
        false => Err(IdempotencyError::Time { setting }),
    }
}

const LEASE: Duration = Duration::from_secs(10);
