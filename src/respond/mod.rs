//! What handlers answer with, beside texts, bytes, streams and `Json`: whatever is [`IntoResponse`], the trait of axum's core.

#[cfg(feature = "ndjson")]
mod ndjson;
mod redirect;
#[cfg(feature = "sse")]
mod sse;

pub use axum_core::response::IntoResponse;

#[cfg(feature = "ndjson")]
#[cfg_attr(docsrs, doc(cfg(feature = "ndjson")))]
pub use self::ndjson::NdJson;
pub use self::redirect::Redirect;
#[cfg(feature = "sse")]
#[cfg_attr(docsrs, doc(cfg(feature = "sse")))]
pub use self::sse::{Event, LastEventId, Sse};
