//! A limit for the bodies of requests.
//!
//! # What it does
//!
//! [`BodyLimit`] sets how many bytes of a body the steps after it may read: the extractors of this crate and of axum, and a handler that reads
//! the body as a stream. It applies whether the request has a `Content-Length` or not. If there are several, the innermost one applies, which
//! allows a path to have a larger limit than the chain. Without a `BodyLimit`, the extractors of this crate read up to 1 MiB, and a stream has
//! no limit.
//!
//! It can also log a warning for large responses.
//!
//! # Example
//!
//! ```
//! use tower_chain::{BodyLimit, Chain, extract::Text};
//!
//! let chain = Chain::new()
//!     .use_(BodyLimit::bytes(16 * 1024))
//!     .post(async |Text(text): Text| text);
//! # let _ = chain.build();
//! ```
//!
//! # Example: a larger limit for uploads, and a warning
//!
//! ```
//! use tower_chain::{BodyLimit, Chain, Request, extract::Text};
//!
//! let chain = Chain::new()
//!     .use_(BodyLimit::bytes(16 * 1024).warn_response_above(4 * 1024 * 1024))
//!     .at("/notes", |c| c.post(async |Text(text): Text| text))
//!     .at("/videos", |c| {
//!         c.use_(BodyLimit::bytes(1 << 30)).post(async |video: Request| {
//!             drop(video); // .. read as a stream ..
//!         })
//!     });
//! # let _ = chain.build();
//! ```
//!
//! # What the client sees
//!
//! | cause | status | body |
//! | --- | --- | --- |
//! | body above the limit | 413 | problem+json with `limit` |
//!
//! If a handler reads the body as a stream and fails because the stream is cut off, this error replaces that of the handler. A response with a
//! status below 400 is not replaced.
//!
//! # What it provides
//!
//! Nothing; [`MaxBody`] is in the extensions of the request.
//!
//! # Where to put it
//!
//! After a layer that decompresses: then it counts the decompressed bytes. Before such a layer it counts the bytes on the wire. The extractors
//! count the decompressed bytes in any case; a handler that reads a stream does not.
//!
//! # Sources
//!
//! RFC 9110, 15.5.14 (413 Content Too Large).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use axum_core::extract::DefaultBodyLimit;
use axum_core::response::IntoResponse;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{Full, Limited};

use crate::declare::{Answer, Declaration, Kind};
use crate::extract::MaxBody;
use crate::{Body, Endpoint, Error, Middleware, Next, Response};

/// A step that limits the bodies of requests. See the [module](self).
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit {
    max: MaxBody,
    warn_response_above: Option<u64>,
}

impl BodyLimit {
    /// At most this many bytes.
    pub fn bytes(max: u64) -> Self {
        Self { max: MaxBody::bytes(max), warn_response_above: None }
    }

    /// Any number of bytes.
    pub fn unlimited() -> Self {
        Self { max: MaxBody::unlimited(), warn_response_above: None }
    }

    /// Logs a warning for each response whose body has more bytes than this, while it is sent. Defaults to no warning.
    #[must_use]
    pub fn warn_response_above(mut self, bytes: u64) -> Self {
        self.warn_response_above = Some(bytes);
        self
    }
}

impl Middleware for BodyLimit {
    type Provides = ();

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> Response {
        let max = self.max.limit().unwrap_or(u64::MAX);
        let outer = next.extensions().get::<Arc<BytesRead>>().cloned();
        if let Some(outer) = &outer {
            outer.raise(max);
        }
        let count = Arc::new(BytesRead {
            max: AtomicU64::new(max),
            exceeded: AtomicBool::new(false),
            outer,
        });
        // A step in between may have replaced the body. Each `BodyLimit` counts the bytes that its own readers get.
        let inner = std::mem::take(next.body_mut());
        *next.body_mut() = Body::new(LimitedBody { inner, count: count.clone(), read: 0 });
        next.extensions_mut().insert(count.clone());
        next.extensions_mut().insert(self.max);
        match self.max.limit() {
            Some(max) => DefaultBodyLimit::max(usize::try_from(max).unwrap_or(usize::MAX))
                .apply(next.request_mut()),
            None => DefaultBodyLimit::disable().apply(next.request_mut()),
        }
        let path = next.matched_path();
        let mut response = next.run().await;
        let status = response.status();
        if let Some(max) = count.exceeded()
            && (status.is_client_error() || status.is_server_error())
            && !names_a_limit(&response)
        {
            response = MaxBody::bytes(max).exceeded().into_response();
        }
        if let Some(threshold) = self.warn_response_above {
            let path = path.unwrap_or_default().to_owned();
            response =
                response.map(|inner| Body::new(WatchedBody { inner, threshold, sent: 0, path }));
        }
        response
    }

    fn declare(&self, to: &mut Declaration) {
        match self.max.limit() {
            Some(max) => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                let cause = format!("The body has more than {max} bytes");
                to.kind(Kind::LimitsBody).limits_body(max).answers(Answer::problem(status, cause));
            }
            None => {
                to.kind(Kind::UnlimitsBody);
            }
        }
    }
}

/// Whether the response already reports a limit. A handler that reads the body itself does not know the limit.
fn names_a_limit(response: &Response) -> bool {
    Error::of(response).is_some_and(|error| error.members().any(|(name, _)| name == "limit"))
}

/// How a step sees its body while later steps read it.
struct BytesRead {
    max: AtomicU64,
    exceeded: AtomicBool,
    outer: Option<Arc<Self>>,
}

impl BytesRead {
    /// This one, and those of the steps around it.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |count| count.outer.as_deref())
    }

    /// Raises the limits of this step and of those around it: an inner step may allow more.
    fn raise(&self, max: u64) {
        for count in self.all() {
            count.max.fetch_max(max, Ordering::Relaxed);
        }
    }

    /// The limit that a body exceeded, of this step or of one around it.
    fn exceeded(&self) -> Option<u64> {
        let count = self.all().find(|count| count.exceeded.load(Ordering::Relaxed))?;
        Some(count.max.load(Ordering::Relaxed))
    }
}

/// A body that fails when it exceeds its limit.
struct LimitedBody {
    inner: Body,
    count: Arc<BytesRead>,
    read: u64,
}

impl http_body::Body for LimitedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let max = self.count.max.load(Ordering::Relaxed);
        if self.inner.size_hint().lower().saturating_add(self.read) > max {
            return self.exceed(cx);
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.read += frame.data_ref().map_or(0, |data| data.len() as u64);
            if self.read > max {
                return self.exceed(cx);
            }
        }
        // `Body` wraps the error again, and readers unwrap at most two levels.
        Poll::Ready(frame.map(|frame| frame.map_err(axum_core::Error::into_inner)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl LimitedBody {
    fn exceed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.count.exceeded.store(true, Ordering::Relaxed);
        self.inner = Body::empty();
        self.read = 0;
        // All readers of bodies know `LengthLimitError`, which only `Limited` can create.
        let mut one = Limited::new(Full::new(Bytes::from_static(b"x")), 0);
        Pin::new(&mut one).poll_frame(cx)
    }
}

/// A body that logs a warning once it is large.
struct WatchedBody {
    inner: Body,
    threshold: u64,
    sent: u64,
    path: String,
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let before = self.sent;
            self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
            if before <= self.threshold && self.sent > self.threshold {
                tracing::warn!(path = self.path, threshold = self.threshold, "large response");
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, TryStreamExt, stream};
    use http::{Request, StatusCode};
    use http_body_util::{BodyExt, StreamBody};
    use tower::ServiceExt;

    use super::*;
    use crate::extract::Text;
    use crate::test_log::Log;
    use crate::{Chain, ChainService};

    fn chunked(chunks: &[&'static str]) -> Body {
        let frames: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(chunk.as_bytes()))))
            .collect();
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    async fn status(chain: &ChainService, path: &str, body: Body) -> u16 {
        let req = Request::post(path).body(body).unwrap();
        chain.clone().oneshot(req).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn the_innermost_limit_counts_for_every_reader() {
        let chain = Chain::new()
            .use_(BodyLimit::bytes(4))
            .at("/text", |c| c.post(async |Text(text): Text| text))
            .at("/string", |c| c.post(async |text: String| text))
            .at("/stream", |c| c.post(streamed))
            .at("/ignored", |c| c.post(async || "not read"))
            .at("/large", |c| c.use_(BodyLimit::bytes(8)).post(streamed))
            .at("/any", |c| c.use_(BodyLimit::unlimited()).post(streamed))
            .at("/small", |c| c.use_(BodyLimit::bytes(2)).post(async |Text(text): Text| text))
            .build();
        for (path, max) in
            [("/text", 4), ("/string", 4), ("/stream", 4), ("/large", 8), ("/small", 2)]
        {
            let full = |n: usize| Body::from("x".repeat(n));
            let cut = |n: usize| chunked(&vec!["x"; n]);
            assert_eq!(status(&chain, path, full(max)).await, 200, "{path}");
            assert_eq!(status(&chain, path, cut(max)).await, 200, "{path}");
            assert_eq!(status(&chain, path, full(max + 1)).await, 413, "{path}");
            assert_eq!(status(&chain, path, cut(max + 1)).await, 413, "{path}");
        }
        assert_eq!(status(&chain, "/any", chunked(&["x"; 100])).await, 200);
        assert_eq!(status(&chain, "/ignored", chunked(&["x"; 100])).await, 200);
    }

    async fn streamed(req: crate::Request) -> Result<String, Error> {
        Ok(req.into_body().collect().await?.to_bytes().len().to_string())
    }

    #[tokio::test]
    async fn an_inner_limit_counts_the_body_that_a_step_put_there() {
        // As a layer that decompresses does.
        async fn doubled(mut next: crate::Next<'_>) -> Response {
            let body = std::mem::take(next.body_mut());
            let twice = |data: Bytes| Bytes::from([&data[..], &data[..]].concat());
            *next.body_mut() = Body::new(body.map_frame(move |frame| frame.map_data(twice)));
            next.run().await
        }
        let chain = Chain::new()
            .use_(BodyLimit::bytes(4))
            .use_(doubled)
            .at("/same", |c| c.use_(BodyLimit::bytes(4)).post(streamed))
            .at("/string", |c| c.use_(BodyLimit::bytes(4)).post(async |text: String| text))
            .at("/large", |c| c.use_(BodyLimit::bytes(8)).post(streamed))
            .at("/small", |c| c.use_(BodyLimit::bytes(2)).use_(BodyLimit::bytes(6)).post(streamed))
            .build();
        for (path, max) in [("/same", 2), ("/string", 2), ("/large", 4), ("/small", 3)] {
            let cut = |n: usize| chunked(&vec!["x"; n]);
            assert_eq!(status(&chain, path, cut(max)).await, 200, "{path}");
            assert_eq!(status(&chain, path, cut(max + 1)).await, 413, "{path}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_cut_off_is_no_failure_of_the_server() {
        async fn copied(req: crate::Request) -> Result<String, Error> {
            let pieces = req.into_body().into_data_stream();
            let pieces = pieces.map(|piece| piece.map_err(std::io::Error::other));
            let pieces: Vec<Bytes> = pieces.try_collect().await?;
            Ok(pieces.len().to_string())
        }
        let chain = Chain::new()
            .use_(BodyLimit::bytes(4))
            .at("/streamed", |c| c.post(streamed))
            .at("/copied", |c| c.post(copied))
            .build();
        let log = Log::start();
        for path in ["/streamed", "/copied"] {
            assert_eq!(status(&chain, path, chunked(&["xxx", "xxx"])).await, 413);
        }
        assert_eq!(log.text(), "");
    }

    #[tokio::test]
    async fn a_large_response_is_logged_once() {
        for (chunks, lines) in [(&["xx", "xx"][..], 0), (&["xx", "xx", "x", "x"], 1)] {
            let log = Log::start();
            let body = move || std::future::ready(chunked(chunks));
            let chain = Chain::new()
                .use_(BodyLimit::unlimited().warn_response_above(4))
                .at("/large", |c| c.get(body))
                .build();
            let req = Request::get("/large").body(Body::empty()).unwrap();
            let response = chain.oneshot(req).await.unwrap();
            let sent = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(sent.len(), chunks.concat().len());
            let log = log.text();
            assert_eq!(log.matches("large response").count(), lines, "{log}");
            assert_eq!(log.matches("/large").count(), lines, "{log}");
        }
    }

    #[tokio::test]
    async fn an_error_of_another_cause_is_kept() {
        let chain = Chain::new()
            .use_(BodyLimit::bytes(4))
            .post(async || Error::new(StatusCode::CONFLICT, "Not now"))
            .build();
        assert_eq!(status(&chain, "/", Body::from("123456")).await, 409);
    }
}
