//! Multipart forms.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use axum_core::body::BodyDataStream;
use axum_core::extract::FromRequest;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::header::{ACCEPT, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, StatusCode};
use multer::{Constraints, SizeLimit};

use crate::error::{body_timeout, is_body_timeout, is_length_limit};
use crate::extract::MaxBody;
use crate::extract::media_type::ContentType;
use crate::{Error, Request};

/// A form with files (`multipart/form-data`, RFC 7578), read part by part.
///
/// The whole body is read up to [its limit](MaxBody); [`MultipartLimits`] bounds the parts. It must be the last argument of a handler.
///
/// | cause | status |
/// | --- | --- |
/// | no content type, another one, or none with a boundary | 415, with `Accept` |
/// | body or part above its limit; too many parts; a part's head above 16 KiB | 413, with the limit |
/// | cut off, or malformed | 400 |
///
/// # Example
///
/// ```
/// use tower_chain::extract::Multipart;
/// use tower_chain::{Chain, Error};
///
/// async fn upload(mut form: Multipart) -> Result<String, Error> {
///     let mut sizes = Vec::new();
///     while let Some(mut part) = form.next_part().await? {
///         let name = part.name().unwrap_or_default().to_owned();
///         let mut size = 0;
///         while let Some(chunk) = part.chunk().await? {
///             size += chunk.len();
///         }
///         sizes.push(format!("{name}: {size} bytes"));
///     }
///     Ok(sizes.join("\n"))
/// }
///
/// let chain = Chain::new().post(upload);
/// # let _ = chain.build();
/// ```
#[derive(Debug)]
pub struct Multipart {
    form: multer::Multipart<'static>,
    /// The part that is being read. It must be dropped before the next one is read.
    field: Option<multer::Field<'static>>,
    /// How many bytes may be read before the head of a part is complete.
    room: Arc<AtomicU64>,
    max: MaxBody,
    limits: MultipartLimits,
    parts: usize,
}

impl Multipart {
    /// The next part. The unread rest of the previous one is skipped.
    ///
    /// # Errors
    ///
    /// See the table above.
    pub async fn next_part(&mut self) -> Result<Option<Part<'_>>, Error> {
        let (max, limits) = (self.max, self.limits);
        let refuse = |error| refuse(&error, max);
        if let Some(mut field) = self.field.take() {
            while field.chunk().await.map_err(refuse)?.is_some() {}
        }
        self.room.store(MAX_HEAD, Ordering::Relaxed);
        let Some(field) = self.form.next_field().await.map_err(refuse)? else {
            return Ok(None);
        };
        self.room.store(u64::MAX, Ordering::Relaxed);
        self.parts += 1;
        if self.parts > limits.parts {
            let error = Error::new(StatusCode::PAYLOAD_TOO_LARGE, "The form has too many parts");
            return Err(error.with_member("limit", limits.parts.to_string()));
        }
        Ok(Some(Part { field: self.field.insert(field), max }))
    }
}

impl<S: Sync> FromRequest<S> for Multipart {
    type Rejection = Error;

    async fn from_request(req: Request, _: &S) -> Result<Self, Error> {
        let max = MaxBody::of(req.extensions());
        let limits = req.extensions().get::<MultipartLimits>().copied().unwrap_or_default();
        let Some(boundary) = boundary(req.headers()) else {
            return Err(Error::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The content type must be multipart/form-data, with a boundary",
            )
            .with_header(ACCEPT, HeaderValue::from_static("multipart/form-data")));
        };
        if max.limit().is_some_and(|limit| declared(req.headers()) > limit) {
            return Err(max.exceeded());
        }
        let sizes = SizeLimit::new()
            .whole_stream(max.limit().unwrap_or(u64::MAX))
            .per_field(limits.part_bytes.unwrap_or(u64::MAX));
        let room = Arc::new(AtomicU64::new(MAX_HEAD));
        let stream =
            Paced { body: req.into_body().into_data_stream(), room: room.clone(), pause: false };
        let constraints = Constraints::new().size_limit(sizes);
        let form = multer::Multipart::with_constraints(stream, boundary, constraints);
        Ok(Self { form, field: None, room, max, limits, parts: 0 })
    }
}

/// The boundary of the parts (RFC 2046, 5.1.1), if there is exactly one.
fn boundary(headers: &HeaderMap) -> Option<String> {
    let found = ContentType::of(headers).filter(|found| found.is("multipart", "form-data"))?;
    let mut boundaries = found.params("boundary");
    let boundary = boundaries.next().filter(|boundary| (1..=70).contains(&boundary.len()))?;
    boundaries.next().is_none().then(|| boundary.into_owned())
}

fn declared(headers: &HeaderMap) -> u64 {
    headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// A part of a [`Multipart`] form: a field, or a file.
#[derive(Debug)]
pub struct Part<'a> {
    field: &'a mut multer::Field<'static>,
    max: MaxBody,
}

impl Part<'_> {
    /// The name of the field.
    pub fn name(&self) -> Option<&str> {
        self.field.name()
    }

    /// The file name that the client sent. Never use it as a path.
    pub fn file_name(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// The media type that the client sent. It may not match the content.
    pub fn content_type(&self) -> Option<&str> {
        self.field.content_type().map(AsRef::as_ref)
    }

    /// The header fields of the part.
    pub fn headers(&self) -> &HeaderMap {
        self.field.headers()
    }

    /// The next piece of the content.
    ///
    /// # Errors
    ///
    /// See [`Multipart`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let max = self.max;
        self.field.chunk().await.map_err(|e| refuse(&e, max))
    }

    /// The whole content.
    ///
    /// # Errors
    ///
    /// See [`Multipart`].
    pub async fn bytes(mut self) -> Result<Bytes, Error> {
        let mut content = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            content.extend_from_slice(&chunk);
        }
        Ok(content.freeze())
    }

    /// The whole content as text in UTF-8.
    ///
    /// # Errors
    ///
    /// 400 if it is not UTF-8. See [`Multipart`].
    pub async fn text(self) -> Result<String, Error> {
        String::from_utf8(self.bytes().await?.into())
            .map_err(|_| Error::new(StatusCode::BAD_REQUEST, "A part of the form is not UTF-8"))
    }
}

/// Limits on the parts of a [`Multipart`] form. Provide them to the extractors after it.
///
/// # Example
///
/// ```
/// use tower_chain::extract::{MaxBody, Multipart, MultipartLimits};
/// use tower_chain::Chain;
///
/// let chain = Chain::new()
///     .provide(MaxBody::bytes(64 << 20))
///     .provide(MultipartLimits::new().parts(4).part_bytes(32 << 20))
///     .post(async |form: Multipart| drop(form));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultipartLimits {
    parts: usize,
    part_bytes: Option<u64>,
}

impl MultipartLimits {
    /// The defaults.
    pub fn new() -> Self {
        Self { parts: 100, part_bytes: None }
    }

    /// At most this many parts. Defaults to 100.
    #[must_use]
    pub fn parts(mut self, parts: usize) -> Self {
        self.parts = parts;
        self
    }

    /// At most this many bytes in one part. Defaults to the limit of the whole body.
    #[must_use]
    pub fn part_bytes(mut self, bytes: u64) -> Self {
        self.part_bytes = Some(bytes);
        self
    }
}

impl Default for MultipartLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// A body that passes multer one piece at a time.
///
/// multer reads all pieces that are available before it parses them, and parses from the start each time. Many one-byte pieces would take it hours,
/// and an endless head would take the memory of the whole body.
struct Paced {
    body: BodyDataStream,
    room: Arc<AtomicU64>,
    pause: bool,
}

impl Stream for Paced {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.pause) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = ready!(Pin::new(&mut self.body).poll_next(cx));
        if let Some(Ok(piece)) = &piece {
            let room = self.room.load(Ordering::Relaxed);
            if room == 0 {
                return Poll::Ready(Some(Err(HeadTooLarge.into())));
            }
            self.room.store(room.saturating_sub(piece.len() as u64), Ordering::Relaxed);
            self.pause = true;
        }
        Poll::Ready(piece.map(|piece| piece.map_err(Into::into)))
    }
}

/// The head of a part, with the bytes before it, is longer than its limit.
#[derive(Debug)]
struct HeadTooLarge;

impl fmt::Display for HeadTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the head of a part is too large")
    }
}

impl std::error::Error for HeadTooLarge {}

/// Messages of multer quote names that the client sent. They are not passed on.
fn refuse(error: &multer::Error, max: MaxBody) -> Error {
    match error {
        multer::Error::FieldSizeExceeded { limit, .. } => {
            Error::new(StatusCode::PAYLOAD_TOO_LARGE, "A part of the form is too large")
                .with_member("limit", limit.to_string())
        }
        multer::Error::StreamSizeExceeded { .. } => max.exceeded(),
        multer::Error::StreamReadFailed(cause) if cause.is::<HeadTooLarge>() => {
            Error::new(StatusCode::PAYLOAD_TOO_LARGE, "The head of a part is too large")
                .with_member("limit", MAX_HEAD.to_string())
        }
        multer::Error::StreamReadFailed(cause) if is_length_limit(&**cause) => max.exceeded(),
        multer::Error::StreamReadFailed(cause) if is_body_timeout(&**cause) => body_timeout(),
        _ => Error::new(StatusCode::BAD_REQUEST, "The body is not a complete multipart form"),
    }
}

/// The most bytes of the head of a part, with those before it.
const MAX_HEAD: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::{Body, Chain, ChainService};

    async fn list(mut form: Multipart) -> Result<String, Error> {
        let mut lines = Vec::new();
        while let Some(part) = form.next_part().await? {
            let file = part.file_name().map(str::to_owned);
            let name = part.name().unwrap_or_default().to_owned();
            lines.push(format!("{name} {file:?} {}", part.text().await?));
        }
        Ok(lines.join("\n"))
    }

    async fn send(chain: &ChainService, kind: &str, body: impl Into<Body>) -> (u16, String) {
        let req = Request::post("/").header("content-type", kind).body(body.into()).unwrap();
        let response = chain.clone().oneshot(req).await.unwrap();
        let status = response.status().as_u16();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(text.to_vec()).unwrap())
    }

    const KIND: &str = "multipart/form-data; boundary=X";
    const FORM: &str = "--X\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\none\r\n--X\r\ncontent-disposition: form-data; name=\"f\"; filename=\"../x.txt\"\r\ncontent-type: text/plain\r\n\r\ntwo\r\n--X--\r\n";

    #[tokio::test]
    async fn parts_are_read_one_by_one() {
        let chain = Chain::new().post(list).build();
        for kind in [KIND, "Multipart/Form-Data;boundary=\"X\""] {
            let expected = "a None one\nf Some(\"../x.txt\") two".to_owned();
            assert_eq!(send(&chain, kind, FORM).await, (200, expected));
        }
    }

    #[tokio::test]
    async fn what_is_no_form_or_too_large_is_refused() {
        let limits = MultipartLimits::new();
        let chain = |max: u64, limits: MultipartLimits| {
            Chain::new().provide(MaxBody::bytes(max)).provide(limits).post(list).build()
        };
        let chunked = || {
            let chunks: Vec<_> = FORM
                .as_bytes()
                .chunks(7)
                .map(Bytes::from_static)
                .map(Ok::<_, std::io::Error>)
                .collect();
            Body::from_stream(futures_util::stream::iter(chunks))
        };
        let length = FORM.len() as u64;
        for (case, chain, kind, body, status) in [
            ("fits", chain(length, limits), KIND, chunked(), 200),
            ("too long", chain(length - 1, limits), KIND, chunked(), 413),
            ("part fits", chain(length, limits.part_bytes(3)), KIND, chunked(), 200),
            ("part too long", chain(length, limits.part_bytes(2)), KIND, chunked(), 413),
            ("too many parts", chain(length, limits.parts(1)), KIND, chunked(), 413),
            ("json", chain(length, limits), "application/json", chunked(), 415),
            ("no boundary", chain(length, limits), "multipart/form-data", chunked(), 415),
            (
                "other boundary",
                chain(length, limits),
                "multipart/form-data;boundary=Y",
                chunked(),
                400,
            ),
            ("cut off", chain(length, limits), KIND, Body::from(&FORM[..100]), 400),
            ("empty", chain(length, limits), KIND, Body::empty(), 400),
        ] {
            let (found, text) = send(&chain, kind, body).await;
            assert_eq!(found, status, "{case}: {text}");
        }
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused() {
        let chain = Chain::new().provide(MaxBody::unlimited()).post(list).build();
        let endless = |start: &'static str| {
            let start = stream::iter([Bytes::from_static(start.as_bytes())]);
            let pieces = start.chain(stream::repeat(Bytes::from_static(&[b'x'; 16])));
            Body::from_stream(pieces.map(Ok::<_, std::io::Error>))
        };
        for start in ["x", "--X\r\nname: ", "--X\r\n\r\none\r\n--X\r\nname: ", "--X "] {
            let (status, text) = send(&chain, KIND, endless(start)).await;
            assert_eq!(status, if start == "--X " { 400 } else { 413 }, "{start:?} {text}");
            assert_eq!(status == 413, text.contains("\"limit\":16384"), "{text}");
        }
    }

    #[tokio::test]
    async fn content_is_no_head_whether_it_is_read_or_not() {
        async fn last(mut form: Multipart) -> Result<String, Error> {
            let mut last = String::new();
            while let Some(mut part) = form.next_part().await? {
                part.chunk().await?;
                last = part.name().unwrap_or_default().to_owned();
            }
            Ok(last)
        }
        let chain = Chain::new().post(last).build();
        let part = |name: &str| {
            let content = "x".repeat(100_000);
            format!("--X\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
        };
        let form = format!("{}{}{}--X--\r\n", part("a"), part("b"), part("c"));
        let whole = Bytes::from(form);
        for size in [whole.len(), 1000, 101] {
            let pieces: Vec<_> = whole.chunks(size).map(|piece| whole.slice_ref(piece)).collect();
            let pieces = stream::iter(pieces).map(Ok::<_, std::io::Error>);
            assert_eq!(send(&chain, KIND, Body::from_stream(pieces)).await, (200, "c".to_owned()));
        }
    }
}
