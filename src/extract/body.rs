//! Reading a body up to its limit.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;
use http::header::CONTENT_LENGTH;
use http::{Extensions, StatusCode};
use http_body::Body as _;
use http_body_util::LengthLimitError;

use crate::{Body, Error, Request};

/// How many bytes of a body the extractors read, as an extension of the request.
///
/// A middleware sets it for the steps after it; the innermost one counts. It holds for the bytes that an extractor reads: behind a
/// decompression layer, for the decompressed ones. Defaults to 1 MiB, where no middleware sets it.
///
/// # Example
///
/// ```
/// use tower_chain::{Next, Response};
/// use tower_chain::extract::MaxBody;
///
/// async fn large_uploads(mut next: Next<'_>) -> Response {
///     next.extensions_mut().insert(MaxBody::bytes(64 * 1024 * 1024));
///     next.run().await
/// }
/// # let _ = large_uploads;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxBody(Option<u64>);

impl MaxBody {
    /// At most this many bytes.
    pub const fn bytes(max: u64) -> Self {
        Self(Some(max))
    }

    /// Any number of bytes. Memory then bounds what an extractor reads.
    pub const fn unlimited() -> Self {
        Self(None)
    }

    /// The limit in bytes. `None`: there is none.
    pub const fn limit(self) -> Option<u64> {
        self.0
    }

    /// What holds for a request with these extensions.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    /// The refusal of a body above the limit: 413 (RFC 9110, 15.5.14), which names it.
    pub fn exceeded(self) -> Error {
        let error = Error::new(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large");
        match self.0 {
            Some(limit) => error.with_member("limit", limit.to_string()),
            None => error,
        }
    }
}

impl Default for MaxBody {
    fn default() -> Self {
        Self(Some(1024 * 1024))
    }
}

/// Reads the whole body of a request, up to [its limit](MaxBody), and leaves an empty one.
///
/// A middleware that needs the body, to check a signature over it for instance, reads it so and puts it back for the handler.
///
/// # Errors
///
/// 413 if the body is longer than the limit, whether it says so ahead or not; 400 if it can't be read to its end.
///
/// # Example
///
/// ```
/// use tower_chain::{Error, Next, Response};
/// use tower_chain::extract::read_body;
///
/// async fn signed(mut next: Next<'_>) -> Result<Response, Error> {
///     let body = read_body(&mut next).await?;
///     // .. check the signature over `body` ..
///     *next.body_mut() = body.into();
///     Ok(next.run().await)
/// }
/// # let _ = signed;
/// ```
pub async fn read_body(req: &mut Request) -> Result<Bytes, Error> {
    let max = MaxBody::of(req.extensions());
    let limit = max.0.unwrap_or(u64::MAX);
    let declared = req.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let body = std::mem::take(req.body_mut());
    let hint = body.size_hint();
    // Behind a decompression layer the declared length is of the bytes on the wire; those are too many as well.
    if declared.is_some_and(|length: u64| length > limit) || hint.lower() > limit {
        return Err(max.exceeded());
    }
    collect(body, limit).await.map_err(|cause| match cause {
        Failed::TooLong => max.exceeded(),
        Failed::Read(cause) if is_length_limit(&*cause) => max.exceeded(),
        Failed::Read(cause) => {
            Error::new(StatusCode::BAD_REQUEST, "The body could not be read").with_source(cause)
        }
    })
}

enum Failed {
    TooLong,
    Read(Box<dyn StdError + Send + Sync>),
}

async fn collect(mut body: Body, limit: u64) -> Result<Bytes, Failed> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|cause| Failed::Read(Box::new(cause)))?.into_data() else {
            continue;
        };
        length += data.len() as u64;
        if length > limit {
            return Err(Failed::TooLong);
        }
        // Most bodies are one frame, which needs no copy.
        if first.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Whether the body of a request was cut off at a limit. Bodies of other origin, such as those of answers from elsewhere, are no [`Body`].
pub(crate) fn is_length_limit(cause: &(dyn StdError + 'static)) -> bool {
    let causes = || {
        std::iter::successors(Some(cause), |&cause| {
            // The source of an `io::Error` is not what it was made of, but the source of that.
            match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => cause.source(),
            }
        })
    };
    causes().any(|cause| cause.is::<axum_core::Error>())
        && causes().any(|cause| cause.is::<LengthLimitError>())
}
