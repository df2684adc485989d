//! The responses for requests that do not run.

use std::time::Duration;

use axum_core::BoxError;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use super::key::Malformed;
use crate::Error;

/// Why a request does not run.
#[derive(Debug)]
pub(super) enum Refusal {
    Missing,
    Malformed(Malformed),
    OtherRequest,
    InFlight,
    Unknown,
    NotKept(StatusCode),
    TooManyKeys(Duration),
    Full(Duration),
    Unreachable(BoxError),
}

impl Refusal {
    /// One of each kind, for the declaration of the step.
    pub(super) fn all() -> Vec<Self> {
        let time = Duration::ZERO;
        vec![
            Self::Missing,
            Self::Malformed(Malformed("")),
            Self::OtherRequest,
            Self::InFlight,
            Self::Unknown,
            Self::NotKept(StatusCode::OK),
            Self::TooManyKeys(time),
            Self::Full(time),
            Self::Unreachable("".into()),
        ]
    }

    /// A name for the log, and for the type of the problem.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "missing-key",
            Self::Malformed(_) => "malformed-key",
            Self::OtherRequest => "other-request",
            Self::InFlight => "in-flight",
            Self::Unknown => "unknown-outcome",
            Self::NotKept(_) => "response-not-kept",
            Self::TooManyKeys(_) => "too-many-keys",
            Self::Full(_) => "store-full",
            Self::Unreachable(_) => "store-unreachable",
        }
    }

    pub(super) fn into_error(self) -> Error {
        let kind = self.kind();
        let error = |status, title: &'static str, detail: String| {
            Error::new(status, detail).with_type(format!("{TYPES}#{kind}")).with_title(title)
        };
        match self {
            Self::Missing => error(
                StatusCode::BAD_REQUEST,
                "Idempotency-Key is missing",
                "This request needs an Idempotency-Key: a String that is unique for each operation"
                    .to_owned(),
            ),
            Self::Malformed(Malformed(why)) => error(
                StatusCode::BAD_REQUEST,
                "Idempotency-Key is malformed",
                format!("The Idempotency-Key {why}"),
            ),
            Self::OtherRequest => error(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Idempotency-Key is already used",
                "This Idempotency-Key was used with another request: use a new key".to_owned(),
            ),
            Self::InFlight => error(
                StatusCode::CONFLICT,
                "A request is outstanding for this Idempotency-Key",
                "The first request with this key is still running: repeat this one later".to_owned(),
            )
            .with_header(RETRY_AFTER, HeaderValue::from_static("1")),
            Self::Unknown => error(
                StatusCode::CONFLICT,
                "The outcome of the first request is unknown",
                "The first request with this key did not finish. It may have had an effect, so it is not run again: check its result, or use a new key"
                    .to_owned(),
            ),
            Self::NotKept(status) => error(
                StatusCode::CONFLICT,
                "The response of the first request is not kept",
                "The first request with this key is finished, but its response was too large to be kept. It is not run again"
                    .to_owned(),
            )
            .with_member("response-status", status.as_u16().to_string()),
            Self::TooManyKeys(time) => error(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many idempotency keys",
                "This caller has too many idempotency keys that have not expired".to_owned(),
            )
            .with_header(RETRY_AFTER, seconds(time)),
            Self::Full(time) => error(
                StatusCode::SERVICE_UNAVAILABLE,
                "The store of idempotency keys is full",
                "the store of idempotency keys is full: raise its limit, or lower the age".to_owned(),
            )
            .with_header(RETRY_AFTER, seconds(time)),
            Self::Unreachable(cause) => error(
                StatusCode::SERVICE_UNAVAILABLE,
                "The store of idempotency keys is unreachable",
                "the store of idempotency keys is unreachable".to_owned(),
            )
            .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
            .with_source(cause),
        }
    }
}

/// Whole seconds, rounded up, and at least one.
fn seconds(time: Duration) -> HeaderValue {
    HeaderValue::from(time.as_secs() + u64::from(time.subsec_nanos() > 0 || time.is_zero()))
}

/// The types of the problems are names of the causes, under the address of the draft.
const TYPES: &str = "https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/";
