//! The bodies of requests and responses on a connection.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::thread;
use std::time::Duration;

use axum_core::BoxError;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Span;

use super::activity::{Activity, InFlight};
use super::budget::{Charge, ConnectionBudget, Room};
use super::fields::{MAX_FIELDS, is_padded};
use super::http_version::HttpVersion;
use super::pace::{Pace, PaceLimits};
use super::streams::BodyState;
use crate::Body;

/// The body of a request. The part that no handler reads is read and dropped, within limits, to keep the connection open.
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    version: BodyVersion,
    limits: PaceLimits,
    /// How fast the client sends. `None` until the server had to wait for it.
    pace: Option<Box<Pace>>,
}

/// What the body of a request needs on each HTTP version.
pub(super) enum BodyVersion {
    Http1 {
        /// Taken by the task that reads the rest of the body.
        in_flight: Option<InFlight>,
        /// Whether the client waits for a `100 Continue`. hyper sends it when the body is polled for the first time.
        on_hold: bool,
    },
    /// There a stream that is not read doesn't delay the others.
    Http2 {
        /// Set when the client is too slow.
        stalled: Arc<AtomicBool>,
    },
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, version: BodyVersion, limits: PaceLimits) -> Self {
        Self { incoming: Some(incoming), version, limits, pace: None }
    }

    /// The connection, on HTTP/1.
    fn http1(&self) -> Option<&Activity> {
        match &self.version {
            BodyVersion::Http1 { in_flight, .. } => in_flight.as_ref().map(|on| &**on.activity()),
            BodyVersion::Http2 { .. } => None,
        }
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
        if let BodyVersion::Http1 { on_hold, .. } = &mut this.version {
            *on_hold = false;
        }
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.trailers_ref().is_some_and(are_unfit) => {
                this.incoming = None;
                let unfit =
                    "the trailers of the request are too many, or begin or end with a blank";
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, unfit).into())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(pace) = &mut this.pace {
                    pace.progress(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(last) => {
                this.incoming = None;
                match (&last, this.http1()) {
                    (None, Some(activity)) => activity.body_ended(),
                    // hyper doesn't read on: it is unknown where the next request begins.
                    (Some(_), Some(activity)) => activity.leave_unread(),
                    (_, None) => {}
                }
                Poll::Ready(last.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let pace = this.pace.get_or_insert_with(|| Box::new(Pace::new(this.limits)));
                ready!(pace.poll_late(Duration::ZERO, cx));
                this.incoming = None;
                match &this.version {
                    BodyVersion::Http1 { in_flight, .. } => {
                        in_flight.iter().for_each(|on| on.activity().stall());
                    }
                    BodyVersion::Http2 { stalled } => stalled.store(true, Ordering::Relaxed),
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
        let BodyVersion::Http1 { in_flight, on_hold } = &mut self.version else { return };
        let Some(in_flight) = in_flight.take() else { return };
        let activity = in_flight.activity();
        if *on_hold {
            // The client may send the body or not: it is unknown where the next request begins.
            return activity.leave_unread();
        }
        let left = activity.server.limits.unread_body;
        if incoming.size_hint().lower() > left && activity.leave_unread_before_response() {
            return;
        }
        let mut rest = UnreadBody { incoming, in_flight, left: Some(left) };
        // Most bodies have arrived, and need no task. The response then also announces the end of the connection if the body is not valid.
        if rest.poll(false, &mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(rest.drain())),
            Err(_) => rest.in_flight.activity().leave_unread(),
        }
    }
}

/// Whether trailers break a rule for the fields of a head. On HTTP/1, hyper applies these rules to both.
fn are_unfit(trailers: &HeaderMap) -> bool {
    trailers.len() > MAX_FIELDS || trailers.values().any(is_padded)
}

/// The rest of a body that no handler reads.
struct UnreadBody {
    incoming: Incoming,
    in_flight: InFlight,
    /// How many bytes may be read, or `None` if there were more.
    left: Option<u64>,
}

impl UnreadBody {
    /// Reads and drops what arrives. Is ready at the end of the body, or when the rest won't be read.
    ///
    /// If it is too long, and `may_end`, the connection ends after the response, which announces that. A response that has begun already can't announce it: the
    /// client may send its next request behind the body. The rest of the body is then read however long it is, but not longer than a time limit
    /// allows.
    fn poll(&mut self, may_end: bool, cx: &mut Context<'_>) -> Poll<()> {
        let activity = self.in_flight.activity();
        loop {
            if may_end && self.left.is_none() && activity.leave_unread_before_response() {
                return Poll::Ready(());
            }
            let frame = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => {
                    activity.leave_unread();
                    return Poll::Ready(());
                }
                None => {
                    activity.body_ended();
                    return Poll::Ready(());
                }
            };
            let length = frame.data_ref().map_or(0, Bytes::len);
            self.left = self.left.and_then(|left| left.checked_sub(length as u64));
        }
    }

    async fn drain(mut self) {
        if timeout(DRAIN, poll_fn(|cx| self.poll(true, cx))).await.is_err() {
            self.in_flight.activity().leave_unread();
        }
    }
}

/// The body of a response. The request is in flight until it is dropped.
pub(super) enum CountedBody {
    /// One frame of HTTP/1, as most bodies are. It is charged nothing: its connection has no other response in flight.
    Whole(Bytes, Option<InFlight>),
    Streamed(Box<StreamedBody>),
}

/// What a stream of frames needs.
pub(super) struct StreamedBody {
    body: Body,
    version: HttpVersion,
    /// The first frame, if it was polled before the response began.
    first: Option<thread::Result<PolledFrame>>,
    /// What one frame of HTTP/1 doesn't need.
    flow: Option<Flow>,
    /// The rest of the length that the head announces, if the body has to be compared with it.
    declared: Option<u64>,
    activity: Arc<Activity>,
    in_flight: Option<InFlight>,
    /// The span of the request.
    span: Option<Span>,
}

/// `None` is the end of the body.
type PolledFrame = Option<Result<Frame<Bytes>, axum_core::Error>>;

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
    fn new(room: Option<Room>) -> Self {
        Self { rest: Bytes::new(), charge: Charge::default(), last: PIECE, waiting: None, room }
    }

    /// Waits until the body may be polled for its next frame.
    fn poll_room(
        &mut self,
        budget: &Arc<ConnectionBudget>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Room>> {
        if let Some(room) = self.room.take() {
            return Poll::Ready(Some(room));
        }
        if self.waiting.is_none() && !budget.has_room_for_frame() {
            self.waiting = Some(Box::pin(budget.clone().frame(self.last)));
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
    /// A body of HTTP/1. It is polled for its first frame, which is nearly always the whole body.
    pub(super) fn http1(
        mut body: Body,
        declared: Option<u64>,
        in_flight: InFlight,
        span: &mut Option<Span>,
        cx: &mut Context<'_>,
    ) -> Self {
        // The length that the head announces, if no field does. A frame can show that it is wrong.
        let exact = body.size_hint().exact();
        let first = match exact {
            Some(0) if body.is_end_stream() => {
                return Self::Whole(Bytes::new(), Some(in_flight));
            }
            Some(exact) => {
                let entered = span.as_ref().map(Span::enter);
                let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut body).poll_frame(cx)));
                drop(entered);
                let is_whole = |frame: &Frame<Bytes>| {
                    frame.data_ref().is_some_and(|data| data.len() as u64 == exact)
                };
                match polled {
                    Ok(Poll::Ready(Some(Ok(frame))))
                        if is_whole(&frame) && body.is_end_stream() =>
                    {
                        return Self::Whole(frame.into_data().unwrap_or_default(), Some(in_flight));
                    }
                    Ok(Poll::Ready(frame)) => Some(Ok(frame)),
                    Ok(Poll::Pending) => None,
                    Err(panic) => Some(Err(panic)),
                }
            }
            None => None,
        };
        let declared = declared.or(exact);
        Self::streamed(body, HttpVersion::Http1, first, None, declared, in_flight, span.take())
    }

    /// A body of HTTP/2. `room` is what its handler has reserved, if it had to wait.
    pub(super) fn http2(
        body: Body,
        declared: Option<u64>,
        room: Option<Room>,
        in_flight: InFlight,
        span: Option<Span>,
    ) -> Self {
        let flow = Some(Flow::new(room));
        let declared = declared.or(body.size_hint().exact());
        Self::streamed(body, HttpVersion::Http2, None, flow, declared, in_flight, span)
    }

    fn streamed(
        body: Body,
        version: HttpVersion,
        first: Option<thread::Result<PolledFrame>>,
        flow: Option<Flow>,
        declared: Option<u64>,
        in_flight: InFlight,
        span: Option<Span>,
    ) -> Self {
        let activity = in_flight.activity().clone();
        let in_flight = Some(in_flight);
        let streamed =
            StreamedBody { body, version, first, flow, declared, activity, in_flight, span };
        Self::Streamed(Box::new(streamed))
    }
}

impl StreamedBody {
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
        let Self { body, version, first, flow, activity, .. } = self;
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
            room = ready!(flow.poll_room(activity.budget(), cx));
        }
        let frame = match first.take() {
            Some(Ok(frame)) => frame,
            Some(Err(panic)) => resume_unwind(panic),
            // A body that is pending gives up what it has waited for.
            None => ready!(Pin::new(&mut *body).poll_frame(cx)),
        };
        let data = match frame {
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
        flow.charge = activity.budget().charge(data.len(), room);
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

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
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
        self.waits_to_be_sent() == 0
            && self.first.is_none()
            && self.body.is_end_stream()
            && is_complete
    }

    fn size_hint(&self) -> SizeHint {
        if let Some(left) = self.declared {
            return SizeHint::with_exact(left);
        }
        let (hint, rest) = (self.body.size_hint(), self.waits_to_be_sent() as u64);
        let mut size = SizeHint::new();
        if let Some(upper) = hint.upper() {
            size.set_upper(upper.saturating_add(rest));
        }
        size.set_lower(hint.lower() + rest);
        size
    }

    /// How much of the body was polled, and is not on its way to the socket.
    fn waits_to_be_sent(&self) -> usize {
        match &self.first {
            Some(Ok(Some(Ok(frame)))) => frame.data_ref().map_or(0, Bytes::len),
            _ => self.flow.as_ref().map_or(0, |flow| flow.rest.len()),
        }
    }
}

impl HttpBody for CountedBody {
    type Data = Piece;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(data, in_flight) => {
                *in_flight = None;
                let data = mem::take(data);
                Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(Piece::uncounted(data)))))
            }
            Self::Streamed(streamed) => streamed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(data, _) => data.is_empty(),
            Self::Streamed(streamed) => streamed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(data, _) => SizeHint::with_exact(data.len() as u64),
            Self::Streamed(streamed) => streamed.size_hint(),
        }
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

    use super::super::limits::Limits;
    use super::super::state::ServerState;
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
                let server = Arc::new(ServerState::new(Limits::default()));
                let in_flight = Arc::new(Activity::new(server)).request();
                let mut body = match version {
                    HttpVersion::Http1 => {
                        let mut cx = Context::from_waker(Waker::noop());
                        CountedBody::http1(body, None, in_flight, &mut None, &mut cx)
                    }
                    HttpVersion::Http2 => CountedBody::http2(body, None, None, in_flight, None),
                };
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
