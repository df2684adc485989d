//! The id of a request, which its response and its records share.

use axum_core::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::trace_context::random_u128;
use crate::Error;

/// The id of a request. A handler takes it as an argument after [`Telemetry::request_ids`](super::Telemetry::request_ids).
///
/// It is 32 hexadecimal digits, or, with [`Telemetry::trust_request_ids`](super::Telemetry::trust_request_ids), what the caller has sent.
///
/// # Errors
///
/// Refuses with 500 if no `Telemetry` with ids is before it, which is a mistake in the program.
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::middleware::telemetry::{RequestId, Telemetry};
///
/// let chain = Chain::new()
///     .always(Telemetry::new().request_ids())
///     .get(async |id: RequestId| format!("you are request {}", id.as_str()));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as the value of a header field.
    pub fn to_value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(super) fn new() -> Self {
        let digits = format!("{:032x}", random_u128());
        // Digits are a valid value.
        Self(HeaderValue::try_from(digits).unwrap_or(HeaderValue::from_static("0")))
    }

    /// The id that the caller has sent, if it is a single one that can be written into a log.
    pub(super) fn sent(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
        let bytes = value.as_bytes();
        let valid = (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(allowed);
        valid.then(|| Self(value.clone()))
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let id = parts.extensions.get::<Self>().cloned();
        id.ok_or_else(|| {
            Error::new(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                "no `Telemetry::request_ids` is before a handler that takes a `RequestId`",
            )
        })
    }
}

const LONGEST: usize = 128;
