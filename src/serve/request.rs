//! One request of a connection: its checks, its extensions, and its response. A panic becomes a 500.

use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_core::response::IntoResponse;
use http::header::{CONNECTION, COOKIE, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::ServiceExt;
use tower::util::Oneshot;
use tracing::Span;

use super::activity::{Activity, InFlight};
use super::background::Background;
use super::body::{CountedBody, RequestBody, UnreadBody};
use super::budget::{ConnectionBudget, HeadReservation, Room};
use super::host;
use super::http_version::HttpVersion;
use super::length::ContentLength;
use super::limits::Limits;
use super::log;
use super::peer::Peer;
use super::servable::Servable;
use crate::{Body, Error, Request, Response};

/// The service of one connection, as hyper calls it.
#[derive(Clone)]
pub(super) struct Requests<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) background: Background,
    pub(super) budget: Arc<ConnectionBudget>,
    pub(super) limits: Limits,
}

impl<S: Servable> hyper::service::Service<http::Request<Incoming>> for Requests<S> {
    type Response = http::Response<CountedBody>;
    type Error = Infallible;
    type Future = ServedRequest<S>;

    fn call(&self, req: http::Request<Incoming>) -> ServedRequest<S> {
        let in_flight = self.activity.request();
        self.activity.count_request(self.limits.max_requests_per_connection);
        let (method, version) = (req.method().clone(), req.version());
        let span = log::span(&method, req.headers());
        let upgrade = version == Version::HTTP_11 && req.headers().contains_key(UPGRADE);
        let http1 = version < Version::HTTP_2;
        if http1 {
            self.activity.begin_exchange();
        }
        let (mut parts, incoming) = req.into_parts();
        self.peer.describe(&mut parts.extensions);
        let mut stalled: Option<Arc<AtomicBool>> = None;
        let body = if incoming.is_end_stream() {
            Body::empty()
        } else {
            let unread = http1.then(|| UnreadBody {
                in_flight: self.activity.request(),
                limit: self.limits.unread_body,
                on_hold: parts.headers.contains_key(EXPECT),
            });
            let is_stalled = stalled.insert(Arc::default()).clone();
            Body::new(RequestBody::new(incoming, self.limits.body_pace(), is_stalled, unread))
        };
        let (answer, head) = match self.admit(&mut parts) {
            Ok(head) => {
                let answer = self.service.clone().oneshot(Request::from_parts(parts, body));
                (ResponseSource::Service { answer }, head)
            }
            Err(error) => (ResponseSource::Refused { error: Some(error) }, None),
        };
        // HTTP/1 has one request in flight.
        let start = if http1 { HandlerStart::Now } else { HandlerStart::Check };
        ServedRequest {
            answer,
            start,
            head,
            stalled,
            span,
            in_flight: Some(in_flight),
            budget: self.budget.clone(),
            background: self.background.clone(),
            method,
            version,
            upgrade,
            closing: http1.then(|| self.draining.clone()),
        }
    }
}

impl<S> Requests<S> {
    /// Checks a head. Reserves memory for it if many requests are in flight. The error is the response to a request that is refused.
    fn admit(&self, head: &mut Parts) -> Result<Option<HeadReservation>, Error> {
        if let Err(detail) = host::check(head) {
            return Err(Error::new(StatusCode::BAD_REQUEST, detail));
        }
        if has_unknown_coding(head) {
            // How the content is coded is unknown, and whether its length is what hyper takes it for.
            self.activity.leave_unread();
            return Err(Error::new(
                StatusCode::NOT_IMPLEMENTED,
                "The request has a `Transfer-Encoding` other than `chunked`",
            ));
        }
        if head.version != Version::HTTP_2 {
            return Ok(None);
        }
        // A client may send each cookie in a field of its own (RFC 9113, 8.2.3).
        let fields = head.headers.len();
        if fields > MAX_FIELDS && fields - head.headers.get_all(COOKIE).iter().count() > MAX_FIELDS
        {
            return Err(Error::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The request has too many header fields",
            ));
        }
        if self.activity.requests_in_flight() <= UNCOUNTED_HEADS {
            return Ok(None);
        }
        match self.budget.try_reserve_head(memory_of(head)) {
            Some(reserved) => Ok(Some(reserved)),
            None => Err(Error::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The requests in flight have too many or too large header fields",
            )),
        }
    }
}

/// Whether the body has a coding besides `chunked` (RFC 9112, 6.1). On HTTP/2 there is no such field.
fn has_unknown_coding(head: &Parts) -> bool {
    let mut fields = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(field) = fields.next() else { return false };
    fields.next().is_some() || !field.as_bytes().eq_ignore_ascii_case(b"chunked")
}

/// Whether a response with a status below 200 can be sent. hyper sends one response to each request, so an interim one would take the place of
/// the final one (RFC 9110, 15.2). 101 ends HTTP on the connection, and is the answer to an `Upgrade` on HTTP/1.1 only (RFC 9110, 7.8).
fn is_unfit(status: StatusCode, upgrade: bool) -> bool {
    status.is_informational() && !(status == StatusCode::SWITCHING_PROTOCOLS && upgrade)
}

/// About how many bytes a head takes in memory.
fn memory_of(head: &Parts) -> usize {
    let uri = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let fields = head.headers.iter();
    uri + fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum::<usize>()
}

pin_project! {
    #[project = ResponseSourceProj]
    enum ResponseSource<S: Servable> {
        Service {
            #[pin]
            answer: Oneshot<S, Request>,
        },
        Refused {
            error: Option<Error>,
        },
    }
}

impl<S: Servable> ResponseSource<S> {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        match self.project() {
            ResponseSourceProj::Service { answer } => answer.poll(cx).map(|Ok(response)| response),
            ResponseSourceProj::Refused { error } => {
                Poll::Ready(error.take().map_or_else(Response::default, Error::into_response))
            }
        }
    }
}

/// Whether a handler may start. It waits while its connection has used up its budget.
enum HandlerStart {
    Now,
    Check,
    Waiting(Pin<Box<dyn Future<Output = Room> + Send>>),
    /// It has memory for its response, until it takes longer than most do.
    Waited {
        room: Room,
        until: Pin<Box<Sleep>>,
    },
}

impl HandlerStart {
    /// Is ready when the handler may start.
    fn poll(&mut self, cx: &mut Context<'_>, budget: &Arc<ConnectionBudget>) -> Poll<()> {
        if matches!(self, Self::Check) {
            *self = match budget.has_room_for_handler() {
                true => Self::Now,
                false => Self::Waiting(Box::pin(budget.clone().handler())),
            };
        }
        if let Self::Waiting(turn) = self {
            let room = ready!(turn.as_mut().poll(cx));
            *self = Self::Waited { room, until: Box::pin(sleep(HANDLER)) };
        }
        if let Self::Waited { until, .. } = self
            && until.as_mut().poll(cx).is_ready()
        {
            *self = Self::Now;
        }
        Poll::Ready(())
    }

    /// The memory that the response may use.
    fn into_room(self) -> Option<Room> {
        match self {
            Self::Waited { room, .. } => Some(room),
            Self::Now | Self::Check | Self::Waiting(_) => None,
        }
    }
}

pin_project! {
    /// The future of a response.
    pub(super) struct ServedRequest<S: Servable> {
        #[pin]
        answer: ResponseSource<S>,
        start: HandlerStart,
        // The memory of the request's head.
        head: Option<HeadReservation>,
        // Whether the client was too slow with the body of the request.
        stalled: Option<Arc<AtomicBool>>,
        span: Span,
        budget: Arc<ConnectionBudget>,
        // Of the server.
        background: Background,
        in_flight: Option<InFlight>,
        method: Method,
        version: Version,
        // Whether the client requested another protocol.
        upgrade: bool,
        // On HTTP/1: whether the server stops, and the connection ends with this response.
        closing: Option<Arc<AtomicBool>>,
    }
}

impl<S: Servable> Future for ServedRequest<S> {
    type Output = Result<http::Response<CountedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        ready!(this.start.poll(cx, this.budget));
        let span = this.span.clone();
        let _entered = (span.enter(), this.background.enter());
        let answer = this.answer;
        let mut response: Response = match catch_unwind(AssertUnwindSafe(|| answer.poll(cx))) {
            Ok(polled) => ready!(polled),
            Err(panic) => crate::step::errors::panicked(&*panic),
        };
        // Extractors of other crates know a body that can't be read, and not the reason.
        if response.status() == StatusCode::BAD_REQUEST
            && this.stalled.as_ref().is_some_and(|stalled| stalled.load(Ordering::Relaxed))
        {
            response = crate::error::body_timeout().into_response();
        }
        if is_unfit(response.status(), *this.upgrade) {
            tracing::error!(status = %response.status(), "a handler returned an interim response");
            response = Error::internal("an interim response").into_response();
        }
        let length = ContentLength::check(this.method, &mut response);
        let declared = match length {
            ContentLength::Declared(length) => Some(length),
            ContentLength::Right | ContentLength::Corrected => None,
        };
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let ends = |draining: &Arc<AtomicBool>| {
            let activity = this.in_flight.as_ref().map(InFlight::activity);
            let left_unread = activity.is_some_and(|activity| activity.respond());
            // A fault that left the field wrong may have left more of the response wrong.
            left_unread
                || length == ContentLength::Corrected
                || draining.load(Ordering::Acquire)
                || activity.is_some_and(|activity| activity.is_closing())
        };
        if this.closing.as_ref().is_some_and(ends) && !upgraded {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            if *this.version == Version::HTTP_10 {
                // To a response with version 1.1, hyper would add `keep-alive` for a client of HTTP/1.0 that requested it.
                *response.version_mut() = Version::HTTP_10;
            }
        }
        let room = mem::replace(this.start, HandlerStart::Now).into_room();
        let in_flight = this.in_flight.take();
        let budget = this.budget.clone();
        let version = match this.closing {
            Some(_) => HttpVersion::Http1,
            None => HttpVersion::Http2,
        };
        Poll::Ready(Ok(response.map(|body| {
            CountedBody::new(body, version, declared, budget, room, in_flight, span.clone())
        })))
    }
}

/// How many header fields a request may have: as many as hyper takes on HTTP/1.
const MAX_FIELDS: usize = 100;
/// How many requests of an HTTP/2 connection may be in flight before their heads are counted.
const UNCOUNTED_HEADS: u32 = 16;
/// How long a handler that had to wait has memory for its response. Handlers that wait for an event would stop the others otherwise.
const HANDLER: Duration = Duration::from_secs(1);
/// How many bytes a header field takes in memory in addition to its name and value.
const FIELD: usize = 96;
