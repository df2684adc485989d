//! One request of a connection: its checks, its extensions, and its response. A panic becomes a 500.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_core::response::IntoResponse;
use http::header::{CONNECTION, COOKIE, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::ServiceExt;
use tower::util::Oneshot;

use super::activity::{Activity, InFlight};
use super::body::{CountedBody, RequestBody, UnreadBody};
use super::budget::{ConnectionBudget, HeadReservation, Room};
use super::host;
use super::http_version::HttpVersion;
use super::length::ContentLength;
use super::limits::Limits;
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
    pub(super) budget: Arc<ConnectionBudget>,
    pub(super) limits: Limits,
}

impl<S: Servable> hyper::service::Service<http::Request<Incoming>> for Requests<S> {
    type Response = http::Response<CountedBody>;
    type Error = Infallible;
    type Future = ServedRequest<S>;

    fn call(&self, req: http::Request<Incoming>) -> ServedRequest<S> {
        let in_flight = self.activity.request();
        let (method, version) = (req.method().clone(), req.version());
        let http1 = version < Version::HTTP_2;
        if http1 {
            self.activity.begin_exchange();
        }
        let (mut parts, incoming) = req.into_parts();
        self.peer.describe(&mut parts.extensions);
        let body = if incoming.is_end_stream() {
            Body::empty()
        } else {
            let unread = http1.then(|| UnreadBody {
                in_flight: self.activity.request(),
                limit: self.limits.unread_body,
                on_hold: parts.headers.contains_key(EXPECT),
            });
            Body::new(RequestBody::new(incoming, self.limits.body_read_timeout, unread))
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
            in_flight: Some(in_flight),
            budget: self.budget.clone(),
            method,
            version,
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
        _room: Room,
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
            *self = Self::Waited { _room: room, until: Box::pin(sleep(HANDLER)) };
        }
        if let Self::Waited { until, .. } = self
            && until.as_mut().poll(cx).is_ready()
        {
            *self = Self::Now;
        }
        Poll::Ready(())
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
        budget: Arc<ConnectionBudget>,
        in_flight: Option<InFlight>,
        method: Method,
        version: Version,
        // On HTTP/1: whether the server stops, and the connection ends with this response.
        closing: Option<Arc<AtomicBool>>,
    }
}

impl<S: Servable> Future for ServedRequest<S> {
    type Output = Result<http::Response<CountedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        ready!(this.start.poll(cx, this.budget));
        let answer = this.answer;
        let mut response: Response = match catch_unwind(AssertUnwindSafe(|| answer.poll(cx))) {
            Ok(polled) => ready!(polled),
            Err(panic) => crate::step::errors::panicked(&*panic),
        };
        let length = ContentLength::check(this.method, &mut response);
        let declared = match length {
            ContentLength::Declared(length) => Some(length),
            ContentLength::Right | ContentLength::Corrected => None,
        };
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let ends = |draining: &Arc<AtomicBool>| {
            let left_unread =
                this.in_flight.as_ref().is_some_and(|request| request.activity().respond());
            // A fault that left the field wrong may have left more of the response wrong.
            left_unread || length == ContentLength::Corrected || draining.load(Ordering::Acquire)
        };
        if this.closing.as_ref().is_some_and(ends) && !upgraded {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            if *this.version == Version::HTTP_10 {
                // To a response with version 1.1, hyper would add `keep-alive` for a client of HTTP/1.0 that requested it.
                *response.version_mut() = Version::HTTP_10;
            }
        }
        *this.start = HandlerStart::Now;
        let in_flight = this.in_flight.take();
        let budget = this.budget.clone();
        let version = match this.closing {
            Some(_) => HttpVersion::Http1,
            None => HttpVersion::Http2,
        };
        Poll::Ready(Ok(
            response.map(|body| CountedBody::new(body, version, declared, budget, in_flight))
        ))
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
