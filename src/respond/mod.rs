//! Responses of handlers, beside texts, bytes, streams and `Json`. Every type that implements [`IntoResponse`], the trait of axum's core, is one.

#[cfg(feature = "ndjson")]
mod ndjson;
mod redirect;
#[cfg(feature = "sse")]
mod sse;
mod status;

pub use axum_core::response::IntoResponse;
#[cfg(any(feature = "ndjson", feature = "sse"))]
use http::header::HeaderName;

#[cfg(feature = "ndjson")]
#[cfg_attr(docsrs, doc(cfg(feature = "ndjson")))]
pub use self::ndjson::NdJson;
pub use self::redirect::Redirect;
#[cfg(feature = "sse")]
#[cfg_attr(docsrs, doc(cfg(feature = "sse")))]
pub use self::sse::{Event, LastEventId, Sse};
pub use self::status::{Created, Html, NoContent, WithStatus};
pub use crate::error::ErrorStatus;

/// Set to `no`, it makes nginx pass on each piece of a response at once.
#[cfg(any(feature = "ndjson", feature = "sse"))]
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
