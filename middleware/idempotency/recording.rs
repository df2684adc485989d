//! Recording a response while it is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::claim::Claim;
use super::config::Settings;
use super::response::{not_kept, write};
use super::store::KeyOutcome;
use crate::{Body, Response};

/// Records a response as it passes, and stores it when it is complete, before its last byte is passed on. If it is cut off, its outcome is unknown.
pub(super) fn recorded(claim: Claim, response: Response, settings: &Arc<Settings>) -> Response {
    let (parts, inner) = response.into_parts();
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared = declared.and_then(|value| value.parse().ok());
    let recorder = Recorder {
        claim,
        head: head_of(&parts),
        settings: settings.clone(),
        body: BytesMut::new(),
        trailers: None,
        is_too_large: false,
    };
    let body = RecordedBody {
        left: inner.size_hint().exact().or(declared),
        inner,
        recorder: Some(recorder),
        storing: None,
        last: None,
        ended: false,
    };
    Response::from_parts(parts, Body::new(body))
}

/// Waits until an outcome is stored, but no longer than this. The task continues in any case.
pub(super) async fn wait(stored: JoinHandle<()>, deadline: Duration) {
    if timeout(deadline, stored).await.is_err() {
        tracing::warn!("the outcome of an idempotency key is not stored yet");
    }
}

struct Recorder {
    claim: Claim,
    head: Parts,
    settings: Arc<Settings>,
    body: BytesMut,
    trailers: Option<HeaderMap>,
    is_too_large: bool,
}

impl Recorder {
    fn push(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            let length = (self.body.len() as u64).saturating_add(data.len() as u64);
            if self.is_too_large || length > self.settings.max_response {
                self.is_too_large = true;
                self.body = BytesMut::new();
            } else {
                self.body.extend_from_slice(data);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
    }

    fn store(self) -> BoxFuture<'static, ()> {
        let deadline = self.settings.deadline;
        let bytes = match self.is_too_large {
            true => too_large(self.head.status),
            false => {
                let omitted = &self.settings.omitted;
                write(&self.head, omitted, None, &self.body, self.trailers.as_ref())
            }
        };
        let stored = self.claim.finish(KeyOutcome::Finished(bytes));
        Box::pin(wait(stored, deadline))
    }
}

struct RecordedBody {
    inner: Body,
    /// `None` when the response is complete or has failed.
    recorder: Option<Recorder>,
    storing: Option<BoxFuture<'static, ()>>,
    /// The last frame, which waits until the response is stored.
    last: Option<Frame<Bytes>>,
    /// How many bytes are missing, if that is known. A server may not poll a body again after its last byte.
    left: Option<u64>,
    ended: bool,
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let this = self.get_mut();
        loop {
            if let Some(storing) = &mut this.storing {
                ready!(storing.as_mut().poll(cx));
                this.storing = None;
                if let Some(frame) = this.last.take() {
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    (this.recorder, this.ended) = (None, true);
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.ended = true;
                    // Fewer bytes than were declared: the response is cut off.
                    if this.left.is_some_and(|left| left > 0) {
                        this.recorder = None;
                    }
                    this.storing = this.recorder.take().map(Recorder::store);
                    continue;
                }
            };
            let Some(recorder) = &mut this.recorder else {
                return Poll::Ready(Some(Ok(frame)));
            };
            recorder.push(&frame);
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            this.left = this.left.map(|left| left.saturating_sub(length));
            // A server does not poll again after trailers, or after the last byte of a declared length.
            let is_last = frame.is_trailers() || this.left == Some(0);
            if is_last || this.inner.is_end_stream() {
                this.storing = this.recorder.take().map(Recorder::store);
                this.last = Some(frame);
                continue;
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_stored = self.recorder.is_none() && self.storing.is_none() && self.last.is_none();
        is_stored && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.last {
            Some(_) => SizeHint::default(),
            None => self.inner.size_hint(),
        }
    }
}

/// What is stored for a response that is too large.
fn too_large(status: StatusCode) -> Bytes {
    tracing::warn!(status = status.as_u16(), "a response is too large to be kept for repetitions");
    not_kept(status)
}

/// The head of a response, without its extensions.
fn head_of(parts: &Parts) -> Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    (head.status, head.headers) = (parts.status, parts.headers.clone());
    head
}
