//! One request of a connection: what the connection knows goes into its extensions, and a panic is a 500.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::ServiceExt;
use tower::util::Oneshot;

use super::Limits;
use super::activity::{Activity, InFlight};
use super::body::{RequestBody, ResponseBody, Unread};
use super::connection::{Peer, Service};
use crate::{Body, Request, Response};

/// The service of one connection, as hyper calls it.
#[derive(Clone)]
pub(super) struct Requests<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) limits: Limits,
}

impl<S: Service> hyper::service::Service<http::Request<Incoming>> for Requests<S> {
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = Answer<S>;

    fn call(&self, req: http::Request<Incoming>) -> Answer<S> {
        let in_flight = self.activity.request();
        let http1 = req.version() < Version::HTTP_2;
        let (mut parts, incoming) = req.into_parts();
        self.peer.describe(&mut parts.extensions);
        let body = if incoming.is_end_stream() {
            Body::empty()
        } else {
            let unread = http1.then(|| Unread {
                in_flight: self.activity.request(),
                limit: self.limits.unread_body,
                on_hold: parts.headers.contains_key(EXPECT),
            });
            Body::new(RequestBody::new(incoming, self.limits.body_read_timeout, unread))
        };
        Answer {
            answer: self.service.clone().oneshot(Request::from_parts(parts, body)),
            in_flight: Some(in_flight),
            closing: http1.then(|| self.draining.clone()),
        }
    }
}

pin_project! {
    /// The future of a response.
    pub(super) struct Answer<S: Service> {
        #[pin]
        answer: Oneshot<S, Request>,
        in_flight: Option<InFlight>,
        // Says, on HTTP/1, whether the connection shall end with this response.
        closing: Option<Arc<AtomicBool>>,
    }
}

impl<S: Service> Future for Answer<S> {
    type Output = Result<http::Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = this.answer;
        let mut response: Response = match catch_unwind(AssertUnwindSafe(|| answer.poll(cx))) {
            Ok(polled) => match ready!(polled) {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Err(panic) => crate::hooks::panicked(&*panic),
        };
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if !upgraded && this.closing.as_ref().is_some_and(|on| on.load(Ordering::Acquire)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let in_flight = this.in_flight.take();
        Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, in_flight))))
    }
}
