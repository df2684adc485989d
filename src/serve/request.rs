//! One request of a connection: what the connection knows goes into its extensions, and a panic is a 500.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum_core::response::IntoResponse;
use http::header::{CONNECTION, EXPECT, HOST};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::ServiceExt;
use tower::util::Oneshot;

use super::activity::{Activity, InFlight};
use super::body::{RequestBody, ResponseBody, Unread};
use super::connection::Peer;
use super::{Limits, Servable};
use crate::{Body, Error, Request, Response};

/// The service of one connection, as hyper calls it.
#[derive(Clone)]
pub(super) struct Requests<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) limits: Limits,
}

impl<S: Servable> hyper::service::Service<http::Request<Incoming>> for Requests<S> {
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
        let answer = if parts.version == Version::HTTP_11 && !has_one_host(&parts.headers) {
            Asked::Refused
        } else {
            let answer = self.service.clone().oneshot(Request::from_parts(parts, body));
            Asked::Service { answer }
        };
        Answer { answer, in_flight: Some(in_flight), closing: http1.then(|| self.draining.clone()) }
    }
}

/// RFC 9112, 3.2. Who routes or caches by `Host` must not be told two stories.
fn has_one_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    hosts.next().is_some() && hosts.next().is_none()
}

pin_project! {
    #[project = AskedProj]
    enum Asked<S: Servable> {
        Service {
            #[pin]
            answer: Oneshot<S, Request>,
        },
        Refused,
    }
}

impl<S: Servable> Asked<S> {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        match self.project() {
            AskedProj::Service { answer } => answer.poll(cx).map(|Ok(response)| response),
            AskedProj::Refused => {
                let detail = "A request of HTTP/1.1 has one `Host`";
                Poll::Ready(Error::new(StatusCode::BAD_REQUEST, detail).into_response())
            }
        }
    }
}

pin_project! {
    /// The future of a response.
    pub(super) struct Answer<S: Servable> {
        #[pin]
        answer: Asked<S>,
        in_flight: Option<InFlight>,
        // Says, on HTTP/1, whether the connection shall end with this response.
        closing: Option<Arc<AtomicBool>>,
    }
}

impl<S: Servable> Future for Answer<S> {
    type Output = Result<http::Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = this.answer;
        let mut response: Response = match catch_unwind(AssertUnwindSafe(|| answer.poll(cx))) {
            Ok(polled) => ready!(polled),
            Err(panic) => crate::step::hooks::panicked(&*panic),
        };
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if !upgraded && this.closing.as_ref().is_some_and(|on| on.load(Ordering::Acquire)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let in_flight = this.in_flight.take();
        let body = match this.closing {
            Some(_) => ResponseBody::whole,
            None => ResponseBody::in_pieces,
        };
        Poll::Ready(Ok(response.map(|inner| body(inner, in_flight))))
    }
}
