//! The bodies of requests and responses on a connection.

use std::any::Any;
use std::fmt;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use axum_core::BoxError;
use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Span;

use super::activity::InFlight;
use super::budget::{Charge, LazyBudget, Room};
use super::http_version::HttpVersion;
use super::pace::{Pace, PaceLimits};
use super::streams::BodyState;
use crate::Body;

/// The body of a request. The part that no handler reads is read and dropped, within limits, to keep the connection open.
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    /// `None` on HTTP/2, where a stream that is not read doesn't delay the others.
    unread: Option<UnreadBody>,
    pace: Pace,
    /// Set when the client is too slow.
    stalled: Arc<AtomicBool>,
}

/// What is needed to read the rest of a body.
pub(super) struct UnreadBody {
    pub(super) in_flight: InFlight,
    /// How many bytes are read at most.
    pub(super) limit: u64,
    /// Whether the client waits for a `100 Continue`. hyper sends it when the body is polled for the first time.
    pub(super) on_hold: bool,
}

impl RequestBody {
    pub(super) fn new(
        incoming: Incoming,
        pace: PaceLimits,
        stalled: Arc<AtomicBool>,
        unread: Option<UnreadBody>,
    ) -> Self {
        Self { incoming: Some(incoming), unread, pace: Pace::new(pace), stalled }
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
                this.pace.progress(frame.data_ref().map_or(0, Bytes::len));
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
                ready!(this.pace.poll_late(Duration::ZERO, cx));
                this.incoming = None;
                this.stalled.store(true, Ordering::Relaxed);
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
        let activity = unread.in_flight.activity();
        let too_long = incoming.size_hint().lower() > unread.limit;
        match Handle::try_current() {
            // The client may send the body or not: it is unknown where the next request begins.
            _ if unread.on_hold => activity.leave_unread(),
            Ok(_) if too_long && activity.leave_unread_before_response() => {}
            Ok(runtime) => drop(runtime.spawn(drain(incoming, unread))),
            Err(_) => activity.leave_unread(),
        }
    }
}

/// Reads the rest of a body, and drops it.
///
/// If it is too long, the connection ends after the response, which announces that. A response that has begun already can't announce it: the
/// client may send its next request behind the body. The rest of the body is then read however long it is, but not longer than a time limit
/// allows.
async fn drain(mut incoming: Incoming, unread: UnreadBody) {
    let activity = unread.in_flight.activity();
    let mut left = unread.limit;
    let rest = timeout(DRAIN, async {
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length as u64) {
                Some(rest) => left = rest,
                None if activity.leave_unread_before_response() => return false,
                None => left = u64::MAX,
            }
        }
        true
    });
    match rest.await {
        Ok(true) => activity.body_ended(),
        _ => activity.leave_unread(),
    }
}

/// The body of a response. The request is in flight until it is dropped.
pub(super) struct CountedBody {
    body: Body,
    version: HttpVersion,
    /// What most responses of HTTP/1 don't need: they are of one frame, which is passed on whole and charged nothing.
    flow: Option<Box<Flow>>,
    /// The rest of the declared length, for a body whose own length is unknown.
    declared: Option<u64>,
    budget: Arc<LazyBudget>,
    in_flight: Option<InFlight>,
    /// The span of the request.
    span: Option<Span>,
}

/// The frames of a response that are charged to the budget.
struct Flow {
    /// The rest of the last frame of the body.
    rest: Bytes,
    /// What that frame was charged.
    charge: Charge,
    /// The length of that frame, which the next one is expected to have.
    last: usize,
    /// Waits until the body may be polled for its next frame.
    waiting: Option<Pin<Box<dyn Future<Output = Room> + Send>>>,
    /// What the handler has reserved for the first frame.
    room: Option<Room>,
}

impl Flow {
    fn new(room: Option<Room>) -> Box<Self> {
        let (rest, charge) = (Bytes::new(), Charge::default());
        Box::new(Self { rest, charge, last: PIECE, waiting: None, room })
    }

    /// Waits until the body may be polled for its next frame.
    fn poll_room(&mut self, budget: &LazyBudget, cx: &mut Context<'_>) -> Poll<Option<Room>> {
        if let Some(room) = self.room.take() {
            return Poll::Ready(Some(room));
        }
        if self.waiting.is_none() && !budget.get().has_room_for_frame() {
            self.waiting = Some(Box::pin(budget.get().clone().frame(self.last)));
        }
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(None) };
        let room = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(Some(room))
    }

    /// The next piece of the last frame, of at most this length.
    fn next_piece(&mut self, length: usize) -> Piece {
        let data = self.rest.split_to(length.min(self.rest.len()));
        // The memory of a frame is freed with its last piece.
        let charge = self.rest.is_empty().then(|| Box::new(mem::take(&mut self.charge)));
        Piece { data, _charge: charge }
    }
}

impl CountedBody {
    /// `declared` is a `Content-Length` that the body must turn out to have. `room` is what its handler has reserved, if it had to wait.
    pub(super) fn new(
        body: Body,
        version: HttpVersion,
        declared: Option<u64>,
        budget: Arc<LazyBudget>,
        room: Option<Room>,
        in_flight: Option<InFlight>,
        span: Option<Span>,
    ) -> Self {
        // On HTTP/1 the body may be polled for its first frame without a look at the budget: the connection has no other response in flight.
        let flow = (version == HttpVersion::Http2).then(|| Flow::new(room));
        Self { body, version, flow, declared, budget, in_flight, span }
    }

    /// Subtracts a frame from the declared length. Fails if the body is longer or shorter than that.
    fn check_length(&mut self, frame: Option<&Frame<Piece>>) -> Result<(), WrongLength> {
        let Some(left) = self.declared else { return Ok(()) };
        match frame.map(|frame| frame.data_ref().map(Buf::remaining)) {
            Some(Some(length)) => {
                self.declared = Some(left.checked_sub(length as u64).ok_or(WrongLength)?);
                Ok(())
            }
            // Trailers come at the end.
            Some(None) | None if left > 0 => Err(WrongLength),
            _ => Ok(()),
        }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum_core::Error>>> {
        let Self { body, version, flow, budget, .. } = self;
        // On HTTP/1 the socket shows whether the client reads a response, on HTTP/2 only the demand for pieces does.
        let piece = match version {
            HttpVersion::Http1 => usize::MAX,
            HttpVersion::Http2 => PIECE,
        };
        let mut room = None;
        if let Some(flow) = flow {
            if !flow.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(flow.next_piece(piece)))));
            }
            room = ready!(flow.poll_room(budget, cx));
        }
        // A body that is pending gives up what it has waited for.
        let data = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(frame) => return Poll::Ready(Some(Ok(frame.map_data(Piece::uncounted)))),
            },
        };
        // A body of one frame, as most are, is charged nothing on HTTP/1.
        if data.is_empty() || *version == HttpVersion::Http1 && body.is_end_stream() {
            return Poll::Ready(Some(Ok(Frame::data(Piece::uncounted(data)))));
        }
        let flow = flow.get_or_insert_with(|| Flow::new(None));
        flow.last = data.len();
        flow.charge = budget.get().charge(data.len(), room);
        flow.rest = data;
        Poll::Ready(Some(Ok(Frame::data(flow.next_piece(piece)))))
    }

    /// Compares a frame with the declared length, logs a failure, and notes the state of the body for its stream.
    fn checked(
        &mut self,
        polled: thread::Result<Poll<Option<Result<Frame<Piece>, axum_core::Error>>>>,
    ) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
        let frame = match polled {
            Ok(Poll::Ready(frame)) => {
                let checked = match &frame {
                    Some(Err(error)) => {
                        let error: &dyn std::error::Error = error;
                        tracing::warn!(
                            error,
                            "a response is broken off, because the stream of its body failed"
                        );
                        Ok(())
                    }
                    Some(Ok(frame)) => self.check_length(Some(frame)),
                    None => self.check_length(None),
                };
                if let Some(Err(_)) = &frame {
                    // An error is the end, and is logged once.
                    (self.body, self.declared) = (Body::empty(), None);
                }
                match checked {
                    Ok(()) => frame.map(|frame| frame.map_err(Into::into)),
                    Err(error) => {
                        tracing::error!("a response has a wrong Content-Length, and is broken off");
                        (self.body, self.declared) = (Body::empty(), None);
                        Some(Err(error.into()))
                    }
                }
            }
            Ok(Poll::Pending) => {
                // A body that waits for memory has data to send: the time limit of its stream continues.
                if self.flow.as_ref().is_none_or(|flow| flow.waiting.is_none()) {
                    BodyState::Pending.note();
                }
                return Poll::Pending;
            }
            Err(panic) => {
                self.body = Body::empty();
                Some(Err(Panicked::new(&*panic).into()))
            }
        };
        let length = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Buf::remaining),
            _ => 0,
        };
        BodyState::Frame(length).note();
        if frame.is_none() {
            self.in_flight = None;
        }
        Poll::Ready(frame)
    }

    /// What is left of the last frame.
    fn rest(&self) -> usize {
        self.flow.as_ref().map_or(0, |flow| flow.rest.len())
    }
}

impl HttpBody for CountedBody {
    type Data = Piece;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
        let span = self.span.take();
        let entered = span.as_ref().map(Span::enter);
        // Without this, a panic would end all streams of an HTTP/2 connection.
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll_body(cx)));
        let polled = self.checked(polled);
        drop(entered);
        self.span = span;
        polled
    }

    fn is_end_stream(&self) -> bool {
        // A body that ends too early is polled once more, and fails.
        let is_complete = self.declared.is_none_or(|left| left == 0);
        self.rest() == 0 && self.body.is_end_stream() && is_complete
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest() as u64);
        let mut size = SizeHint::new();
        if let Some(upper) = hint.upper() {
            size.set_upper(upper.saturating_add(rest));
        }
        size.set_lower(hint.lower() + rest);
        size
    }
}

/// A part of a response, on its way to the socket.
pub(super) struct Piece {
    data: Bytes,
    /// What the frame was charged, with its last piece. It is refunded once that has been written.
    _charge: Option<Box<Charge>>,
}

impl Piece {
    fn uncounted(data: Bytes) -> Self {
        Self { data, _charge: None }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }
}

/// The body of a response panicked. The head has been sent, so the response is broken off.
#[derive(Debug)]
struct Panicked;

impl Panicked {
    fn new(panic: &(dyn Any + Send)) -> Self {
        // Logs the message, as for a panic before the response.
        drop(crate::step::errors::panicked(panic));
        Self
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of the response panicked")
    }
}

impl std::error::Error for Panicked {}

/// The body of a response is not as long as its `Content-Length`. The head has been sent, so the response is broken off.
#[derive(Debug)]
struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of the response is not as long as its Content-Length")
    }
}

impl std::error::Error for WrongLength {}

/// The default size of a frame on HTTP/2 (RFC 9113, 4.2).
const PIECE: usize = 16 * 1024;

/// How long the rest of a body is read before the connection ends.
const DRAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::super::budget::TotalBudget;
    use super::super::limits::Limits;
    use super::*;
    use crate::test_log::Log;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the query failed")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[tokio::test]
    async fn a_stream_that_fails_is_logged_once_with_its_cause() {
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            for (case, count) in [("fails", 1), ("ends", 0), ("is dropped", 0)] {
                let log = Log::start();
                let failed = || Err(Outer(io::Error::other("the database is away")));
                let frames = match case {
                    "ends" => vec![Ok("a"), Ok("b")],
                    _ => vec![Ok("a"), failed(), failed()],
                };
                let body = Body::from_stream(stream::iter(frames));
                let budget = LazyBudget::new(TotalBudget::new(&Limits::default()), None);
                let mut body =
                    CountedBody::new(body, version, None, Arc::new(budget), None, None, None);
                assert!(body.frame().await.unwrap().is_ok());
                if case != "is dropped" {
                    while let Some(frame) = body.frame().await {
                        assert_eq!(frame.is_err(), case == "fails");
                    }
                }
                drop(body);
                let text = log.text();
                assert_eq!(text.matches("WARN").count(), count, "{case} {text}");
                assert_eq!(text.contains("the query failed"), count == 1, "{case} {text}");
                assert_eq!(text.contains("the database is away"), count == 1, "{case} {text}");
            }
        }
    }
}
