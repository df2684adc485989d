//! What the steps that record a request share: a response body that counts its bytes and reports its end, and the address of the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http_body::{Body as _, Frame, SizeHint};
use tracing::Span;

use crate::extract::{ClientAddr, PeerAddr, TrustedProxies};
use crate::{Body, Request, Response};

/// The record of a request, completed at the end of the response body.
pub(crate) trait AtEnd: Send + Unpin + 'static {
    /// Called once: after the last byte, after an error of the body, or when the body is dropped before its end.
    fn end(self, sent: u64, end: BodyEnd);

    /// The span in which the body runs.
    fn span(&self) -> Option<&Span> {
        None
    }
}

/// How the body of a response has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    Complete,
    Failed,
    /// It was dropped before its last byte, as the client went away.
    Cut,
}

/// Completes the record at the end of the body of a response. `is_head` is whether the request has the method HEAD.
pub(crate) fn count(response: Response, is_head: bool, at_end: impl AtEnd) -> Response {
    let status = response.status();
    // A server reads no body of these responses (RFC 9112, 6.3).
    let has_no_content = is_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_no_content || response.body().is_end_stream() {
        at_end.end(0, BodyEnd::Complete);
        return response;
    }
    // A server doesn't poll a body again after the last byte of its `Content-Length`.
    let declared = || response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    let length = response.body().size_hint().exact().or_else(declared);
    let at_end = Some(at_end);
    response.map(|inner| Body::new(RecordedBody { inner, length, sent: 0, at_end }))
}

/// The address of the client behind these proxies; without any, as the extractor finds it.
///
/// These steps are the first ones of a chain, and they run for requests that match no handler, before any step could provide the proxies.
pub(crate) fn client_addr(proxies: Option<&TrustedProxies>, req: &Request) -> Option<ClientAddr> {
    let Some(proxies) = proxies else {
        return ClientAddr::of(req.headers(), req.extensions());
    };
    let PeerAddr(peer) = req.extensions().get()?;
    Some(ClientAddr(proxies.client(peer.ip(), req.headers())))
}

struct RecordedBody<E: AtEnd> {
    inner: Body,
    /// The length, if it is known before.
    length: Option<u64>,
    sent: u64,
    at_end: Option<E>,
}

impl<E: AtEnd> RecordedBody<E> {
    fn end(&mut self, end: BodyEnd) {
        if let Some(at_end) = self.at_end.take() {
            at_end.end(self.sent, end);
        }
    }
}

impl<E: AtEnd> http_body::Body for RecordedBody<E> {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let this = &mut *self;
        let entered = this.at_end.as_ref().and_then(AtEnd::span).map(Span::enter);
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        drop(entered);
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) => {
                this.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                if this.inner.is_end_stream() || this.length.is_some_and(|end| this.sent >= end) {
                    this.end(BodyEnd::Complete);
                }
            }
            Some(Err(_)) => this.end(BodyEnd::Failed),
            None => this.end(BodyEnd::Complete),
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

impl<E: AtEnd> Drop for RecordedBody<E> {
    fn drop(&mut self) {
        self.end(BodyEnd::Cut);
    }
}
