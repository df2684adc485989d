//! A chain as a service: [`ChainService`].

use axum_core::response::IntoResponse;
use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::Body as HttpBody;
use tower::Service;

use crate::route::listing::Route;
use crate::step::tail::Tail;
use crate::tower::root::{DynRoot, Root};
use crate::{Body, Error, Response};

/// A built chain: a service that any hyper-compatible server runs.
///
/// It is cheap to clone and never changes. It implements [`tower::Service`] and [`hyper::service::Service`] for every request body,
/// and never fails. Made by [`Chain::build`](crate::Chain::build).
///
/// # Example
///
/// ```
/// # futures_util::FutureExt::now_or_never(async {
/// use tower_chain::{Body, Chain};
///
/// let service = Chain::new().get(async || "hello").build();
/// let response = service.handle(http::Request::get("/").body(Body::empty())?).await;
/// assert_eq!(response.status(), 200);
/// # Ok::<(), http::Error>(()) }).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct ChainService(Arc<dyn DynRoot>);

impl ChainService {
    pub(crate) fn new<E: Tail + 'static>(root: Arc<Root<E>>) -> Self {
        Self(root)
    }

    /// Answers a request. Each call allocates one box, as the two service traits do.
    pub fn handle<B>(&self, req: http::Request<B>) -> ResponseFuture
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        ResponseFuture(self.0.clone().respond_boxed(req.map(box_body)))
    }

    /// The paths of the chain with their handlers and the middleware in front of each, in the order in which they are written.
    ///
    /// `to_string()` of a [`ChainService`] returns the same steps as a tree.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    ///
    /// async fn hello() -> &'static str {
    ///     "hello"
    /// }
    ///
    /// let service = Chain::new().at("/hello", |c| c.get(hello)).build();
    /// assert_eq!(service.routes()[0].pattern(), Some("/hello"));
    /// assert_eq!(service.to_string(), "/\n└─ /hello\n   └─ GET hello\n");
    /// ```
    pub fn routes(&self) -> &[Route] {
        self.0.routes().listing()
    }
}

#[cfg(feature = "overhead")]
impl ChainService {
    pub(crate) fn lookup(&self) -> &crate::route::routes::Routes {
        self.0.routes()
    }
}

impl fmt::Display for ChainService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.routes().fmt(f)
    }
}

impl fmt::Debug for ChainService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainService").field("routes", &self.routes()).finish()
    }
}

/// The future that [`ChainService::handle`] returns.
pub struct ResponseFuture(pub(crate) BoxFuture<'static, Response>);

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

impl Future for ResponseFuture {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.0.as_mut().poll(cx)
    }
}

/// The future of a [`ChainService`] as a service. Its result is never an error.
#[derive(Debug)]
pub struct ServiceFuture(pub(super) ResponseFuture);

impl Future for ServiceFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Ok)
    }
}

impl<B> Service<http::Request<B>> for ChainService
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ServiceFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, req: http::Request<B>) -> ServiceFuture {
        ServiceFuture(self.handle(req))
    }
}

impl<B> hyper::service::Service<http::Request<B>> for ChainService
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ServiceFuture;

    fn call(&self, req: http::Request<B>) -> ServiceFuture {
        ServiceFuture(self.handle(req))
    }
}

/// Converts the body of a request. An empty body, which most requests have, needs no box. A [`Body`] has one already.
pub(crate) fn box_body<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let is_boxed = TypeId::of::<B>() == TypeId::of::<Body>();
    if !is_boxed && body.is_end_stream() { Body::empty() } else { Body::new(body) }
}

/// The response of a foreign service. An error becomes an [`Error`] response.
pub(super) fn into_response<R, E>(result: Result<http::Response<R>, E>) -> Response
where
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
    E: Into<BoxError>,
{
    match result {
        Ok(response) => response.map(Body::new),
        Err(error) => Error::from_source(error.into()).into_response(),
    }
}
