//! A chain as a service: [`ChainService`], and the entry point of every request.
//!
//! # How a request runs
//!
//! In each file, only the item that is named here is on the path of a request. The rest of the file builds or supports it.
//!
//! 1. [`Root::respond`] (this file) receives the request.
//! 2. [`Routes::match_request`] (`route/routes.rs`) matches path and method before any step runs. It returns a [`Plan`]
//!    (`route/plan.rs`): the numbers of the handlers that match, and of the scope ends that the request can reach.
//! 3. `Around::call` (`step/around.rs`): `respond` calls the first step, which contains all later steps. A middleware runs if
//!    it covers a handler of the plan, a handler runs if it is in the plan. Otherwise the step calls the next one.
//! 4. `Next::run` (`step/next.rs`): a step that runs gets a `Next`. It answers, or calls the next step with `run`.
//! 5. `Branches::call_from` (`chain/table.rs`): consecutive paths (`at`, `mount`, `service`) are one step, and at the beginning of a
//!    path, its handlers are in this step as well. It enters the path or calls the handler that contains the next stop of the plan,
//!    or calls the step after the table if none does.
//! 6. `End::answer` (`step/end.rs`): a request that no handler of a scope answered reaches the end of the scope. It continues
//!    after the scope if the plan has a later stop. Otherwise a hook answers it, or the chain with 404, 405, 204 or 400.
//! 7. The response returns through the steps that ran. [`fit_to_http`] (this file) removes a body that HTTP does not allow.
//!
//! A function is such a step: `FromFn` (`function/middleware.rs`) or `HandlerStep` (`function/handler.rs`) makes its arguments
//! and calls it. A tower layer is a `LayerTail` (`tower/layer_step.rs`). After eight steps there is a box (`chain/list.rs`), and `InScope`
//! enters the steps at a path (`step/tail.rs`).
//!
//! [`Plan`]: crate::route::plan::Plan

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
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as HttpBody;
use tower::Service;
use tracing::Span;
use tracing::level_filters::LevelFilter;

use crate::route::listing::Route;
use crate::route::routes::Routes;
use crate::step::kept::Kept;
use crate::step::tail::{Built, CurrentScope, Cx, InnerService, Tail};
use crate::{Body, Error, Request, Response};

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
    pub(crate) fn lookup(&self) -> &Routes {
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

/// A built chain: its first step, which has the others inside it, and the lookup table.
pub(crate) struct Root<E> {
    pub(crate) first: Arc<E>,
    pub(crate) built: Arc<Built>,
}

impl<E: Tail> Root<E> {
    /// Answers a request. `inner` is the service behind the chain, if the chain is used as a layer.
    ///
    /// The request is passed by reference from here on. A move would copy about 240 bytes for each step.
    async fn respond(&self, req: &mut Request, inner: Option<&Arc<dyn InnerService>>) -> Response {
        let head = req.method() == Method::HEAD;
        let original = self.built.routes.original(req);
        let plan = self.built.routes.match_request(req);
        let kept = Kept::default();
        let cx = Cx {
            built: &self.built,
            plan: self.built.routes.plan(plan),
            inner,
            scope: CurrentScope::new(0, self.built.end),
            original: original.as_ref(),
            kept: &kept,
        };
        if LevelFilter::current() != LevelFilter::OFF
            && let Some(route) = cx.plan.route
        {
            // `Server` has such a span, and so may other hosts.
            Span::current().record("http.route", self.built.routes.pattern(route));
        }
        let response = self.first.call(req, &cx).await;
        #[cfg(feature = "serve")]
        crate::extensions::reuse(req.extensions_mut());
        fit_to_http(head, response)
    }
}

/// Removes a body that HTTP does not allow: of a 204, of a 304, and of the response to HEAD.
fn fit_to_http(head: bool, response: Response) -> Response {
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        bodiless(response)
    } else if head {
        without_body(response)
    } else {
        response
    }
}

/// Removes the body and the fields that describe it (RFC 9110, 15.3.5 and 15.4.5).
#[cold]
fn bodiless(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    for field in [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
        parts.headers.remove(field);
    }
    Response::from_parts(parts, Body::empty())
}

/// Removes the body, and keeps the header fields that GET would send (RFC 9110, 9.3.2).
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact()
        // For an empty body no length is added: a HEAD handler may return one where GET would send content (RFC 9110, 8.6).
        && length > 0
        && !parts.headers.contains_key(TRANSFER_ENCODING)
    {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty())
}

/// A [`Root`] without its type.
pub(super) trait DynRoot: Send + Sync {
    fn respond_boxed(self: Arc<Self>, req: Request) -> BoxFuture<'static, Response>;
    /// Like `respond_boxed`, with a service behind the chain.
    fn respond_boxed_in_front(
        self: Arc<Self>,
        req: Request,
        inner: Arc<dyn InnerService>,
    ) -> BoxFuture<'static, Response>;
    fn routes(&self) -> &Routes;
}

impl<E: Tail + 'static> DynRoot for Root<E> {
    fn respond_boxed(self: Arc<Self>, mut req: Request) -> BoxFuture<'static, Response> {
        Box::pin(async move { self.respond(&mut req, None).await })
    }

    fn respond_boxed_in_front(
        self: Arc<Self>,
        mut req: Request,
        inner: Arc<dyn InnerService>,
    ) -> BoxFuture<'static, Response> {
        Box::pin(async move { self.respond(&mut req, Some(&inner)).await })
    }

    fn routes(&self) -> &Routes {
        &self.built.routes
    }
}

/// The service of [`Chain::into_service`](crate::Chain::into_service).
pub(crate) fn static_service<E, B>(
    root: Arc<Root<E>>,
) -> impl Service<
    http::Request<B>,
    Response = Response,
    Error = Infallible,
    Future: Future<Output = Result<Response, Infallible>> + Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static
where
    E: Tail + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    tower::service_fn(move |req: http::Request<B>| {
        let root = root.clone();
        let mut req = req.map(box_body);
        async move { Ok(root.respond(&mut req, None).await) }
    })
}

/// Converts the body of a request. An empty body, which most requests have, needs no box. A [`Body`] has one already.
pub(super) fn box_body<B>(body: B) -> Body
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
