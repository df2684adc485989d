//! How a request reaches the service.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body::Body as HttpBody;
use tower::{Service, ServiceExt};

use crate::{Body, Request, Response};

/// Sends a request to the service.
pub(super) trait Transport: Send + Sync {
    fn call(&self, req: Request) -> BoxFuture<'static, Result<Response, SendError>>;
}

/// Why there is no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The service failed: as a tower service it returned an error instead of a response.
    Service(BoxError),
    /// The service panicked, with this message.
    Panicked(String),
    /// The connection failed, for a client over TCP.
    Connection(BoxError),
    /// The request is not valid: its URI, a header name or value, or a body that can't be encoded.
    Request(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(error) => write!(f, "the service failed: {error}"),
            Self::Panicked(message) => write!(f, "the service panicked: {message}"),
            Self::Connection(error) => write!(f, "the connection failed: {error}"),
            Self::Request(what) => write!(f, "the request of the test is not valid: {what}"),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Service(error) | Self::Connection(error) => Some(&**error),
            Self::Panicked(_) | Self::Request(_) => None,
        }
    }
}

/// Why the body of a response is incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The body failed while it was read.
    Failed(String),
    /// The body is longer than [`TestClient::max_body`](super::TestClient::max_body) allows.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the body failed: {error}"),
            Self::TooLong { limit } => write!(
                f,
                "the body is longer than {limit} bytes; raise `max_body`, or read it with `stream`"
            ),
        }
    }
}

impl std::error::Error for BodyError {}

/// Calls the service in process. Each call has its own clone, which is polled until it is ready.
pub(super) struct InPlace<S>(Mutex<S>);

impl<S> InPlace<S> {
    pub(super) fn new(service: S) -> Self {
        Self(Mutex::new(service))
    }
}

impl<S, B> Transport for InPlace<S>
where
    S: Service<Request, Response = http::Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn call(&self, req: Request) -> BoxFuture<'static, Result<Response, SendError>> {
        let service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = async move {
            let mut service = service;
            let response = service.ready().await.map_err(Into::into)?.call(req).await;
            response.map(|response| response.map(Body::new)).map_err(Into::into)
        };
        Box::pin(async move {
            match AssertUnwindSafe(answer).catch_unwind().await {
                Ok(answer) => answer.map_err(SendError::Service),
                Err(panic) => Err(SendError::Panicked(message(&*panic))),
            }
        })
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "(no message)".to_owned(),
    }
}

/// Marks a request whose body is shorter than its Content-Length. Over TCP, the client sends this data and then closes its sending side.
#[derive(Clone)]
pub(super) struct Unfinished(pub(super) Bytes);
