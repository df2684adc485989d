//! Multipart forms.

#[cfg(test)]
mod tests;

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

use crate::error::{body_timeout, body_too_large, is_body_timeout, is_length_limit};
use crate::extract::MaxBody;
use crate::extract::body::refuse_encoded;
use crate::extract::content_disposition::ContentDisposition;
use crate::extract::media_type::{Charset, ContentType};
use crate::{Error, Request};

/// A form with files (`multipart/form-data`, RFC 7578), read part by part.
///
/// The whole body is read up to [its limit](MaxBody); [`MultipartLimits`] bounds the parts. It must be the last argument of a handler.
///
/// | cause | status |
/// | --- | --- |
/// | no content type, another one, or none with a boundary | 415, with `Accept` |
/// | compressed, without a layer that decompresses | 415, with `Accept-Encoding` |
/// | body or part above its limit; too many parts; a part's head above 16 KiB | 413, with the limit |
/// | `_charset_`, or the charset of a part that is read as text, is not UTF-8 | 415 |
/// | cut off, or malformed, also a delimiter right after a part's head; a name that is not UTF-8, or that a part has twice | 400 |
///
/// Names are read as browsers and other clients write them: quoted or not, with `%22`, `%0D` and `%0A` for a quote and a line break, and
/// `filename*` of RFC 8187. A part without a name, such as one that is not `form-data`, has none here.
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
    boundary: String,
    /// The part that is being read. It must be dropped before the next one is read.
    content: Option<Content>,
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
        if let Some(mut content) = self.content.take() {
            while content.chunk().await?.is_some() {}
        }
        self.room.store(MAX_HEAD, Ordering::Relaxed);
        let field = self.form.next_field().await.map_err(|error| refuse(&error, max))?;
        let Some(field) = field else { return Ok(None) };
        self.room.store(u64::MAX, Ordering::Relaxed);
        self.parts += 1;
        if self.parts > limits.parts {
            let error = Error::new(StatusCode::PAYLOAD_TOO_LARGE, "The form has too many parts");
            return Err(error.with_member("limit", limits.parts.to_string()));
        }
        let names = ContentDisposition::of(field.headers())?;
        let delimiter = format!("--{}", self.boundary).into_bytes();
        let content = Content { field, delimiter, max };
        let mut part = Part { content: self.content.insert(content), names, ahead: None };
        if part.name() == Some("_charset_") {
            part.check_charset().await?;
        }
        Ok(Some(part))
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
        refuse_encoded(req.headers())?;
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
        let form = multer::Multipart::with_constraints(stream, &boundary, constraints);
        Ok(Self { form, boundary, content: None, room, max, limits, parts: 0 })
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
    content: &'a mut Content,
    names: ContentDisposition,
    /// Content that is already read.
    ahead: Option<Bytes>,
}

impl Part<'_> {
    /// The name of the field.
    pub fn name(&self) -> Option<&str> {
        self.names.name.as_deref()
    }

    /// The file name that the client sent: `filename*` (RFC 8187) if there is one, otherwise `filename`. Never use it as a path. It may contain any
    /// character, also line breaks.
    pub fn file_name(&self) -> Option<&str> {
        self.names.file_name.as_deref()
    }

    /// The media type that the client sent. It may not match the content.
    pub fn content_type(&self) -> Option<&str> {
        self.content.field.content_type().map(AsRef::as_ref)
    }

    /// The header fields of the part.
    pub fn headers(&self) -> &HeaderMap {
        self.content.field.headers()
    }

    /// The next piece of the content.
    ///
    /// # Errors
    ///
    /// See [`Multipart`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self.ahead.take() {
            Some(ahead) => Ok(Some(ahead)),
            None => self.content.chunk().await,
        }
    }

    /// Refuses a form whose field `_charset_` names another charset than UTF-8 (RFC 7578, 4.6).
    async fn check_charset(&mut self) -> Result<(), Error> {
        let mut name = BytesMut::new();
        while name.len() <= MAX_CHARSET
            && let Some(chunk) = self.chunk().await?
        {
            name.extend_from_slice(&chunk);
        }
        let utf8: [&[u8]; 4] = [b"utf-8", b"utf8", b"us-ascii", b""];
        if !utf8.iter().any(|utf8| name.trim_ascii().eq_ignore_ascii_case(utf8)) {
            return Err(other_charset());
        }
        self.ahead = Some(name.freeze());
        Ok(())
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
    /// 415 if the content type of the part has another charset, 400 if the content is not UTF-8. See [`Multipart`].
    pub async fn text(self) -> Result<String, Error> {
        if ContentType::of(self.headers()).is_some_and(|kind| kind.charset == Charset::Other) {
            return Err(other_charset());
        }
        String::from_utf8(self.bytes().await?.into())
            .map_err(|_| Error::new(StatusCode::BAD_REQUEST, "A part of the form is not UTF-8"))
    }
}

/// The content of a part.
#[derive(Debug)]
struct Content {
    field: multer::Field<'static>,
    /// The text with which the content must not begin. It is empty after the beginning was read.
    delimiter: Vec<u8>,
    max: MaxBody,
}

impl Content {
    /// The next piece. A delimiter right after the head is refused: the part may end there, and then the next one begins, or it may be a part of the
    /// content. Parsers disagree.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(mut chunk) = self.next().await? else { return Ok(None) };
        let delimiter = std::mem::take(&mut self.delimiter);
        while chunk.len() < delimiter.len() && delimiter.starts_with(&chunk) {
            let Some(more) = self.next().await? else { break };
            chunk = [chunk, more].concat().into();
        }
        if !delimiter.is_empty() && chunk.starts_with(&delimiter) {
            return Err(malformed());
        }
        Ok(Some(chunk))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let max = self.max;
        self.field.chunk().await.map_err(|error| refuse(&error, max))
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

fn other_charset() -> Error {
    let detail = "The form must be in UTF-8: it has another charset in _charset_ or in a part's content type";
    Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

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
        // The limit of a layer further outside, as in `read_body`.
        multer::Error::StreamReadFailed(cause) if is_length_limit(&**cause) => body_too_large(),
        multer::Error::StreamReadFailed(cause) if is_body_timeout(&**cause) => body_timeout(),
        _ => malformed(),
    }
}

fn malformed() -> Error {
    Error::new(StatusCode::BAD_REQUEST, "The body is not a complete multipart form")
}

/// More bytes than the name of any charset has.
const MAX_CHARSET: usize = 64;

/// The most bytes of the head of a part, with those before it.
const MAX_HEAD: u64 = 16 * 1024;
