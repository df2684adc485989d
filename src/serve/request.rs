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
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Sleep, sleep};
use tracing::Span;

use super::activity::{Activity, InFlight};
use super::body::{BodyVersion, CountedBody, RequestBody};
use super::budget::{HeadReservation, Room};
use super::fields::{MAX_FIELDS, is_padded};
use super::host;
use super::length::ContentLength;
use super::log;
use super::peer::Peer;
use super::servable::ErasedService;
use crate::{Body, Error, Response};

/// The service of one connection, as hyper calls it.
pub(super) struct Requests {
    pub(super) service: Arc<dyn ErasedService>,
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
}

impl hyper::service::Service<http::Request<Incoming>> for Requests {
    type Response = http::Response<CountedBody>;
    type Error = Infallible;
    type Future = ServedRequest;

    fn call(&self, mut req: http::Request<Incoming>) -> ServedRequest {
        let limits = &self.activity.server.limits;
        let in_flight = self.activity.request();
        self.activity.count_request(limits.max_requests_per_connection);
        let span = log::span(req.method(), req.headers());
        let (is_head, is_connect) = (req.method() == Method::HEAD, req.method() == Method::CONNECT);
        let version = req.version();
        let upgrade = is_upgrade(&req);
        let http1 = version < Version::HTTP_2;
        if http1 {
            self.activity.begin_exchange();
        }
        self.peer.describe(req.extensions_mut());
        let mut stalled = None;
        let has_body = !req.body().is_end_stream();
        let expects = has_body && req.headers().contains_key(EXPECT);
        let body_version = has_body.then(|| {
            if http1 {
                BodyVersion::Http1 { in_flight: Some(self.activity.request()), on_hold: expects }
            } else {
                let stalled: &mut Arc<AtomicBool> = stalled.insert(Arc::default());
                BodyVersion::Http2 { stalled: stalled.clone() }
            }
        });
        let admitted = self.admit(&mut req, has_body, expects);
        let body = |incoming| match body_version {
            Some(version) => Body::new(RequestBody::new(incoming, version, limits.body_pace())),
            None => Body::empty(),
        };
        let mut start = HandlerStart::Now;
        let mut head = None;
        let answer = match admitted {
            Ok(reserved) => {
                head = reserved;
                // HTTP/1 has one request in flight, which waits for no budget.
                if !http1 {
                    start = HandlerStart::Check;
                }
                self.service.call(req.map(body))
            }
            Err(error) => {
                drop(body(req.into_body()));
                Box::pin(ready(error.into_response()))
            }
        };
        let in_flight = Some(in_flight);
        ServedRequest {
            answer,
            start,
            _head: head,
            stalled,
            span,
            in_flight,
            is_head,
            is_connect,
            version,
            upgrade,
        }
    }
}

impl Requests {
    /// Checks a head. Reserves memory for it if many requests are in flight. The error is the response to a request that is refused.
    fn admit(
        &self,
        req: &mut http::Request<Incoming>,
        has_body: bool,
        expects: bool,
    ) -> Result<Option<HeadReservation>, Error> {
        if let Err(detail) = host::check(req) {
            return Err(Error::new(StatusCode::BAD_REQUEST, detail));
        }
        // With a length, there is no such field.
        let headers = req.headers();
        if has_body && req.body().size_hint().exact().is_none() && has_unknown_coding(headers) {
            // How the content is coded is unknown, and whether its length is what hyper takes it for.
            self.activity.leave_unread();
            return Err(Error::new(
                StatusCode::NOT_IMPLEMENTED,
                "The request has a `Transfer-Encoding` other than `chunked`",
            ));
        }
        if expects && headers.get_all(EXPECT).iter().any(is_unknown_expectation) {
            // The client may wait for an answer, and not send the body.
            self.activity.leave_unread();
            return Err(Error::new(
                StatusCode::EXPECTATION_FAILED,
                "The request has an `Expect` other than `100-continue`",
            ));
        }
        if req.version() != Version::HTTP_2 {
            return Ok(None);
        }
        if headers.values().any(is_padded) {
            return Err(Error::new(
                StatusCode::BAD_REQUEST,
                "A header field of the request begins or ends with a blank",
            ));
        }
        // A client may send each cookie in a field of its own (RFC 9113, 8.2.3).
        let fields = headers.len();
        if fields > MAX_FIELDS && fields - headers.get_all(COOKIE).iter().count() > MAX_FIELDS {
            return Err(Error::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The request has too many header fields",
            ));
        }
        if self.activity.requests_in_flight() <= UNCOUNTED_HEADS {
            return Ok(None);
        }
        match self.activity.budget().try_reserve_head(memory_of(req)) {
            Some(reserved) => Ok(Some(reserved)),
            None => Err(Error::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The requests in flight have too many or too large header fields",
            )),
        }
    }
}

/// Whether the body has a coding besides `chunked` (RFC 9112, 6.1). On HTTP/2 there is no such field.
fn has_unknown_coding(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(field) = fields.next() else { return false };
    fields.next().is_some() || !field.as_bytes().eq_ignore_ascii_case(b"chunked")
}

fn is_unknown_expectation(value: &HeaderValue) -> bool {
    !value.as_bytes().eq_ignore_ascii_case(b"100-continue")
}

/// Whether a response with a status below 200 can be sent. hyper sends one response to each request, so an interim one would take the place of
/// the final one (RFC 9110, 15.2). 101 ends HTTP on the connection, and is the answer to an `Upgrade` on HTTP/1.1 only (RFC 9110, 7.8).
fn is_unfit(status: StatusCode, upgrade: bool) -> bool {
    status.is_informational() && !(status == StatusCode::SWITCHING_PROTOCOLS && upgrade)
}

/// Whether a handler ends the connection.
fn announces_end(response: &Response) -> bool {
    let mut fields = response.headers().get_all(CONNECTION).iter();
    fields.any(|field| field.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// About how many bytes a head takes in memory.
fn memory_of<B>(req: &http::Request<B>) -> usize {
    let uri = req.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let fields = req.headers().iter();
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
    fn poll(&mut self, cx: &mut Context<'_>, activity: &Activity) -> Poll<()> {
        if matches!(self, Self::Check) {
            let budget = activity.budget();
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
    /// Whether the client was too slow with the body of the request, on HTTP/2.
    stalled: Option<Arc<AtomicBool>>,
    span: Option<Span>,
    /// `None` once there is a response.
    in_flight: Option<InFlight>,
    /// Whether the request has the method HEAD.
    is_head: bool,
    /// Whether it has the method CONNECT.
    is_connect: bool,
    version: Version,
    /// Whether the client requested another protocol.
    upgrade: bool,
}

impl Future for ServedRequest {
    type Output = Result<http::Response<CountedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(in_flight) = &this.in_flight else { return Poll::Pending };
        let activity = &**in_flight.activity();
        let http1 = this.version < Version::HTTP_2;
        if !http1 {
            ready!(this.start.poll(cx, activity));
        }
        let server = activity.server.background.enter();
        let span = this.span.as_ref().map(Span::enter);
        let answer = this.answer.as_mut();
        let mut response = match catch_unwind(AssertUnwindSafe(|| answer.poll(cx))) {
            Ok(polled) => ready!(polled),
            Err(panic) => crate::step::errors::panicked(&*panic),
        };
        // Extractors of other crates know a body that can't be read, and not the reason.
        if response.status() == StatusCode::BAD_REQUEST
            && match &this.stalled {
                Some(stalled) => stalled.load(Ordering::Relaxed),
                None => http1 && activity.is_stalled(),
            }
        {
            response = crate::error::body_timeout().into_response();
        }
        if is_unfit(response.status(), this.upgrade) {
            tracing::error!(status = %response.status(), "a handler returned an interim response");
            response = Error::internal("an interim response").into_response();
        }
        let length = ContentLength::check(this.is_head, this.is_connect, &mut response);
        let declared = match length {
            ContentLength::Declared(length) => Some(length),
            ContentLength::Right | ContentLength::Corrected => None,
        };
        if http1 {
            // The end of such a body is the end of the connection.
            let is_delimited_by_close = this.version == Version::HTTP_10
                && declared.is_none()
                && response.body().size_hint().exact().is_none();
            let ends = activity.respond()
                || is_delimited_by_close
                || this.version == Version::HTTP_10 && announces_end(&response)
                // A fault that left the field wrong may have left more of the response wrong.
                || length == ContentLength::Corrected
                || activity.is_closing()
                || activity.server.draining.load(Ordering::Acquire);
            if ends && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                if this.version == Version::HTTP_10 {
                    // To a response with version 1.1, hyper would add `keep-alive` for a client of HTTP/1.0 that requested it.
                    *response.version_mut() = Version::HTTP_10;
                }
            }
        }
        drop(span);
        drop(server);
        let Some(in_flight) = this.in_flight.take() else { return Poll::Pending };
        let span = &mut this.span;
        Poll::Ready(Ok(response.map(|body| match http1 {
            true => CountedBody::http1(body, declared, in_flight, span, cx),
            false => {
                let room = mem::replace(&mut this.start, HandlerStart::Now).into_room();
                CountedBody::http2(body, declared, room, in_flight, span.take())
            }
        })))
    }
}

/// How many requests of an HTTP/2 connection may be in flight before their heads are counted.
const UNCOUNTED_HEADS: u32 = 16;
/// How long a handler that had to wait has memory for its response. Handlers that wait for an event would stop the others otherwise.
const HANDLER: Duration = Duration::from_secs(1);
/// How many bytes a header field takes in memory in addition to its name and value.
const FIELD: usize = 96;
