//! The bodies of requests and responses on a connection.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_core::BoxError;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, timeout};

use super::activity::InFlight;
use super::streams;
use crate::Body;

/// The body of a request. What of it nobody reads is read and dropped, within bounds, so that the connection lives on.
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    /// Absent on HTTP/2, where a stream that isn't read doesn't hold up the others.
    unread: Option<Unread>,
    read_timeout: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

/// What happens with the rest of a body.
pub(super) struct Unread {
    pub(super) in_flight: InFlight,
    /// How many bytes are read at most.
    pub(super) limit: u64,
    /// Whether the client waits for a `100 Continue`, which the first look at the body sends.
    pub(super) on_hold: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, read_timeout: Duration, unread: Option<Unread>) -> Self {
        Self { incoming: Some(incoming), unread, read_timeout, waiting: None }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        if let Some(unread) = &mut this.unread {
            unread.on_hold = false;
        }
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = None;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(last) => {
                this.incoming = None;
                if let (None, Some(unread)) = (&last, &this.unread) {
                    unread.in_flight.activity().body_ended();
                }
                Poll::Ready(last.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let limit = this.read_timeout;
                let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
                ready!(waiting.as_mut().poll(cx));
                this.incoming = None;
                if let Some(unread) = &this.unread {
                    unread.in_flight.activity().leave_unread();
                }
                let late = io::Error::new(io::ErrorKind::TimedOut, "the client stopped sending");
                Poll::Ready(Some(Err(late.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        let Some(unread) = self.unread.take() else { return };
        if incoming.is_end_stream() {
            return unread.in_flight.activity().body_ended();
        }
        match Handle::try_current() {
            Ok(runtime) if !unread.on_hold && incoming.size_hint().lower() <= unread.limit => {
                runtime.spawn(drain(incoming, unread));
            }
            _ => unread.in_flight.activity().leave_unread(),
        }
    }
}

/// Reads the rest of a body. If it is too much, or takes too long, the connection ends with the response.
async fn drain(mut incoming: Incoming, unread: Unread) {
    let mut left = unread.limit;
    let rest = timeout(DRAIN, async {
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length as u64) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    });
    match rest.await {
        Ok(true) => unread.in_flight.activity().body_ended(),
        _ => unread.in_flight.activity().leave_unread(),
    }
}

/// The body of a response. The request is in flight until it is dropped.
pub(super) struct ResponseBody {
    body: Body,
    /// How much of it is given at once.
    piece: usize,
    /// The rest of what the body gave.
    rest: Bytes,
    in_flight: Option<InFlight>,
}

impl ResponseBody {
    /// On HTTP/1 the socket tells how a response gets on.
    pub(super) fn whole(body: Body, in_flight: Option<InFlight>) -> Self {
        Self { body, piece: usize::MAX, rest: Bytes::new(), in_flight }
    }

    /// On HTTP/2 it is seen by how the pieces are asked for.
    pub(super) fn in_pieces(body: Body, in_flight: Option<InFlight>) -> Self {
        Self { body, piece: PIECE, rest: Bytes::new(), in_flight }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        if !self.rest.is_empty() {
            let piece = self.rest.split_to(self.piece.min(self.rest.len()));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|mut data| {
                    self.rest = data.split_off(self.piece.min(data.len()));
                    data
                })
            })
        }))
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // A panic here would take all streams of an HTTP/2 connection along.
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll_body(cx)));
        let frame = match polled {
            Ok(Poll::Ready(frame)) => frame.map(|frame| frame.map_err(Into::into)),
            Ok(Poll::Pending) => {
                streams::Body::Waiting.note();
                return Poll::Pending;
            }
            Err(panic) => {
                self.body = Body::empty();
                Some(Err(Panicked::new(&*panic).into()))
            }
        };
        let offered = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        streams::Body::Offered(offered).note();
        if frame.is_none() {
            self.in_flight = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut size = SizeHint::new();
        if let Some(upper) = hint.upper() {
            size.set_upper(upper + rest);
        }
        size.set_lower(hint.lower() + rest);
        size
    }
}

/// A response's body that panicked half-way: too late for a 500, so the response is broken off.
#[derive(Debug)]
struct Panicked;

impl Panicked {
    fn new(panic: &(dyn Any + Send)) -> Self {
        // Logs the message, as for a panic before the response.
        drop(crate::step::hooks::panicked(panic));
        Self
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of the response panicked")
    }
}

impl std::error::Error for Panicked {}

/// What HTTP/2 sends in one frame, unless its peers agree on more (RFC 9113, 4.2).
const PIECE: usize = 16 * 1024;

/// How long the rest of a body is read.
const DRAIN: Duration = Duration::from_secs(5);
