//! Reading a body up to its limit.

use std::error::Error as StdError;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;

use crate::error::{body_timeout, body_too_large, is_body_timeout, is_length_limit};
use crate::{Body, Error, Request};

/// How many bytes of a body the extractors read, as an extension of the request.
///
/// A middleware sets it for the steps after it. The innermost one applies. It counts the bytes that an extractor reads, which are the
/// decompressed ones after a layer that decompresses. Defaults to 1 MiB if no middleware sets it.
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

    /// Any number of bytes. Only memory then bounds what an extractor reads.
    pub const fn unlimited() -> Self {
        Self(None)
    }

    /// The limit in bytes; `None` if there is none.
    pub const fn limit(self) -> Option<u64> {
        self.0
    }

    /// The limit of a request with these extensions.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    /// The refusal of a body that exceeds the limit: 413 (RFC 9110, 15.5.14), with the member `limit`.
    pub fn exceeded(self) -> Error {
        match self.0 {
            Some(limit) => body_too_large().with_member("limit", limit.to_string()),
            None => body_too_large(),
        }
    }
}

impl Default for MaxBody {
    fn default() -> Self {
        Self(Some(1024 * 1024))
    }
}

/// Reads the whole body of a request, up to [its limit](MaxBody), and leaves an empty body.
///
/// A middleware that needs the body, for instance to check a signature over it, reads it with this function and then puts it back.
///
/// # Errors
///
/// 413 if the body is longer than the limit, whether `Content-Length` declares it or not; 408 if the client sends it too slowly; 400 if
/// reading it fails for another reason.
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
    // After a layer that decompresses, the declared length is that of the compressed bytes. If those exceed the limit, the others do too.
    if declared.is_some_and(|length: u64| length > limit) || hint.lower() > limit {
        return Err(max.exceeded());
    }
    collect(body, limit).await.map_err(|cause| match cause {
        CollectError::TooLong => max.exceeded(),
        // A layer further outside has a lower limit, which only this layer knows. `BodyLimit` adds its limit to the response.
        CollectError::Read(cause) if is_length_limit(&*cause) => body_too_large(),
        CollectError::Read(cause) if is_body_timeout(&*cause) => body_timeout().with_source(cause),
        CollectError::Read(cause) => {
            Error::new(StatusCode::BAD_REQUEST, "The body could not be read").with_source(cause)
        }
    })
}

/// Refuses a body that is compressed, or encoded in another way: 415 (RFC 9110, 15.5.16). A layer that decompresses has removed the field.
pub(crate) fn refuse_encoded(headers: &HeaderMap) -> Result<(), Error> {
    let is_plain = |value: &HeaderValue| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
    };
    if headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Ok(());
    }
    let detail = "The body must not be compressed or encoded: send it without Content-Encoding";
    Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
        .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

enum CollectError {
    TooLong,
    Read(Box<dyn StdError + Send + Sync>),
}

async fn collect(mut body: Body, limit: u64) -> Result<Bytes, CollectError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|cause| CollectError::Read(Box::new(cause)))?.into_data()
        else {
            continue;
        };
        length += data.len() as u64;
        if length > limit {
            return Err(CollectError::TooLong);
        }
        // Most bodies are a single frame, which is not copied.
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
