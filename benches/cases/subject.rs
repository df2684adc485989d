//! A case to measure: a service, and the request that it receives.

use std::convert::Infallible;
use std::future::Future;
use std::task::{Context, Poll, Waker};

use axum_core::body::Body;
use tower::Service;

pub type Request = http::Request<Body>;
pub type Response = http::Response<Body>;

/// A named measurement.
pub struct Case {
    /// The cases of one group are compared with each other.
    pub group: &'static str,
    pub name: String,
    /// Builds the service. Called only for the selected cases.
    pub build: fn(usize) -> Subject,
    pub size: usize,
}

impl Case {
    #[allow(dead_code, reason = "not every program names them")]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }
}

/// A service and the request that it receives.
pub struct Subject {
    pub request: Box<dyn Fn() -> Request>,
    pub answer: Box<dyn FnMut(Request) -> Response>,
}

impl Subject {
    pub fn new<S>(mut service: S, request: impl Fn() -> Request + 'static) -> Self
    where
        S: Service<Request, Response = Response, Error = Infallible> + 'static,
    {
        let answer = move |req| match poll_once(service.call(req)) {
            Ok(response) => response,
            Err(never) => match never {},
        };
        Self { request: Box::new(request), answer: Box::new(answer) }
    }
}

fn poll_once<F: Future>(future: F) -> F::Output {
    let future = std::pin::pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}
