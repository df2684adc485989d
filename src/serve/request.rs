//! One request of a connection: its checks, its extensions, and its response. A panic becomes a 500.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_core::response::IntoResponse;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, COOKIE, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Sleep, sleep};
use tracing::Span;

use super::activity::{Activity, InFlight};
use super::body::{CountedBody, RequestBody, UnreadBody};
use super::budget::{HeadReservation, LazyBudget, Room};
use super::host;
use super::http_version::HttpVersion;
use super::length::ContentLength;
use super::log;
use super::peer::Peer;
use super::servable::ErasedService;
use super::state::ServerState;
use crate::{Body, Error, Request, Response};

/// The service of one connection, as hyper calls it.
pub(super) struct Requests {
    pub(super) service: Arc<dyn ErasedService>,
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
    pub(super) server: Arc<ServerState>,
    pub(super) budget: Arc<LazyBudget>,
}

impl hyper::service::Service<http::Request<Incoming>> for Requests {
    type Response = http::Response<CountedBody>;
    type Error = Infallible;
    type Future = ServedRequest;

    fn call(&self, req: http::Request<Incoming>) -> ServedRequest {
        let limits = &self.server.limits;
        let in_flight = self.activity.request();
        self.activity.count_request(limits.max_requests_per_connection);
        let span = log::span(req.method(), req.headers());
        let is_head = req.method() == Method::HEAD;
        let version = req.version();
        let upgrade = is_upgrade(&req);
        let http1 = version < Version::HTTP_2;
        if http1 {
            self.activity.begin_exchange();
        }
        let (mut parts, incoming) = req.into_parts();
        self.peer.describe(&mut parts.extensions);
        let mut stalled: Option<Arc<AtomicBool>> = None;
        let has_body = !incoming.is_end_stream();
        let body = if has_body {
            let unread = http1.then(|| UnreadBody {
                in_flight: self.activity.request(),
                limit: limits.unread_body,
                on_hold: parts.headers.contains_key(EXPECT),
            });
            let is_stalled = stalled.insert(Arc::default()).clone();
            Body::new(RequestBody::new(incoming, limits.body_pace(), is_stalled, unread))
        } else {
            Body::empty()
        };
        let mut start = HandlerStart::Now;
        let mut head = None;
        let answer = match self.admit(&mut parts, has_body) {
            Ok(reserved) => {
                head = reserved;
                // HTTP/1 has one request in flight, which waits for no budget.
                if !http1 {
                    start = HandlerStart::Check;
                }
                self.service.call(Request::from_parts(parts, body))
            }
            Err(error) => Box::pin(ready(error.into_response())),
        };
        ServedRequest {
            answer,
            start,
            _head: head,
            stalled,
            span,
            in_flight: Some(in_flight),
            server: self.server.clone(),
            budget: self.budget.clone(),
            is_head,
            version,
            upgrade,
        }
    }
}

impl Requests {
    /// Checks a head. Reserves memory for it if many requests are in flight. The error is the response to a request that is refused.
    fn admit(&self, head: &mut Parts, has_body: bool) -> Result<Option<HeadReservation>, Error> {
        if let Err(detail) = host::check(head) {
            return Err(Error::new(StatusCode::BAD_REQUEST, detail));
        }
        if has_body && has_unknown_coding(head) {
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
        if head.headers.values().any(is_padded) {
            return Err(Error::new(
                StatusCode::BAD_REQUEST,
                "A header field of the request begins or ends with a blank",
            ));
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
        match self.budget.get().try_reserve_head(memory_of(head)) {
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

/// Whether a value begins or ends with a blank, which is not valid on HTTP/2 (RFC 9113, 8.2.1). On HTTP/1 such blanks are not a part of it.
fn is_padded(value: &HeaderValue) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last())
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

/// Whether the client requests another protocol. hyper can upgrade the connection of such a request, and of a CONNECT.
fn is_upgrade(req: &http::Request<Incoming>) -> bool {
    req.version() == Version::HTTP_11
        && req.extensions().get::<OnUpgrade>().is_some()
        && req.headers().contains_key(UPGRADE)
}

/// Whether a handler may start. It waits while its connection has used up its budget.
enum HandlerStart {
    Now,
    Check,
    Waiting(Pin<Box<dyn Future<Output = Room> + Send>>),
    /// It has memory for its response, until it takes longer than most do.
    Waited {
        room: Box<Room>,
        until: Pin<Box<Sleep>>,
    },
}

impl HandlerStart {
    /// Is ready when the handler may start.
    fn poll(&mut self, cx: &mut Context<'_>, budget: &LazyBudget) -> Poll<()> {
        if matches!(self, Self::Check) {
            let budget = budget.get();
            *self = match budget.has_room_for_handler() {
                true => Self::Now,
                false => Self::Waiting(Box::pin(budget.clone().handler())),
            };
        }
        if let Self::Waiting(turn) = self {
            let room = ready!(turn.as_mut().poll(cx));
            *self = Self::Waited { room: Box::new(room), until: Box::pin(sleep(HANDLER)) };
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
            Self::Waited { room, .. } => Some(*room),
            Self::Now | Self::Check | Self::Waiting(_) => None,
        }
    }
}

/// The future of a response.
pub(super) struct ServedRequest {
    answer: BoxFuture<'static, Response>,
    start: HandlerStart,
    /// The memory of the request's head.
    _head: Option<HeadReservation>,
    /// Whether the client was too slow with the body of the request.
    stalled: Option<Arc<AtomicBool>>,
    span: Option<Span>,
    in_flight: Option<InFlight>,
    server: Arc<ServerState>,
    budget: Arc<LazyBudget>,
    /// Whether the request has the method HEAD.
    is_head: bool,
    version: Version,
    /// Whether the client requested another protocol.
    upgrade: bool,
}

impl Future for ServedRequest {
    type Output = Result<http::Response<CountedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        ready!(this.start.poll(cx, &this.budget));
        let entered = (this.span.as_ref().map(Span::enter), this.server.background.enter());
        let answer = this.answer.as_mut();
        let mut response = match catch_unwind(AssertUnwindSafe(|| answer.poll(cx))) {
            Ok(polled) => ready!(polled),
            Err(panic) => crate::step::errors::panicked(&*panic),
        };
        // Extractors of other crates know a body that can't be read, and not the reason.
        if response.status() == StatusCode::BAD_REQUEST
            && this.stalled.as_ref().is_some_and(|stalled| stalled.load(Ordering::Relaxed))
        {
            response = crate::error::body_timeout().into_response();
        }
        if is_unfit(response.status(), this.upgrade) {
            tracing::error!(status = %response.status(), "a handler returned an interim response");
            response = Error::internal("an interim response").into_response();
        }
        let length = ContentLength::check(this.is_head, &mut response);
        let declared = match length {
            ContentLength::Declared(length) => Some(length),
            ContentLength::Right | ContentLength::Corrected => None,
        };
        let version = match this.version < Version::HTTP_2 {
            true => HttpVersion::Http1,
            false => HttpVersion::Http2,
        };
        let in_flight = this.in_flight.take();
        if version == HttpVersion::Http1 {
            let activity = in_flight.as_ref().map(InFlight::activity);
            let left_unread = activity.is_some_and(|activity| activity.respond());
            let ends = left_unread
                // A fault that left the field wrong may have left more of the response wrong.
                || length == ContentLength::Corrected
                || this.server.draining.load(Ordering::Acquire)
                || activity.is_some_and(|activity| activity.is_closing());
            if ends && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                if this.version == Version::HTTP_10 {
                    // To a response with version 1.1, hyper would add `keep-alive` for a client of HTTP/1.0 that requested it.
                    *response.version_mut() = Version::HTTP_10;
                }
            }
        }
        drop(entered);
        let room = mem::replace(&mut this.start, HandlerStart::Now).into_room();
        let (span, budget) = (this.span.take(), this.budget.clone());
        Poll::Ready(Ok(response
            .map(|body| CountedBody::new(body, version, declared, budget, room, in_flight, span))))
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
