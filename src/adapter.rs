//! Tower on both sides: layers and services inside a chain, a chain as a service and as a layer.
//!
//! All of tower's machinery is here, so that no other file has to know of readiness.

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::response::IntoResponse;
use bytes::Bytes;
use futures_util::future::{BoxFuture, Either};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as HttpBody;
use tower::{Layer, Service, ServiceExt};

use crate::handler::{IntoMiddleware, Passing};
use crate::next::{BoxTail, Cover, Cx, OwnedCx, Tail};
use crate::pattern::{Pattern, rest_after};
use crate::probe::Site;
use crate::route::{Matched, Place, Registrar, Route, Routes, Settings, short_name};
use crate::step::{Assembly, Parent, Path};
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

    /// Answers a request. One box a call, as for the two service traits.
    pub fn handle<B>(&self, req: http::Request<B>) -> ResponseFuture
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        ResponseFuture(self.0.clone().respond_boxed(req.map(boxed)))
    }

    /// The paths of the chain with their handlers and the middleware in front of each, in the order in which they are written.
    ///
    /// `to_string()` of a [`ChainService`] is the same as a tree.
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
    pub(crate) fn table(&self) -> &Routes {
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

/// The future of a response of a [`ChainService`].
pub struct ResponseFuture(BoxFuture<'static, Response>);

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

/// The future of a [`ChainService`] as a service. It never fails.
#[derive(Debug)]
pub struct ServiceFuture(ResponseFuture);

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

/// A chain with its table of paths.
pub(crate) struct Root<E> {
    pub(crate) endpoint: E,
    pub(crate) routes: Arc<Routes>,
}

impl<E: Tail> Root<E> {
    /// Answers a request. It stays where it lies: each move of it would copy some 240 bytes.
    async fn respond(&self, req: &mut Request, inner: Option<&Arc<dyn Inner>>) -> Response {
        let head = req.method() == Method::HEAD;
        let path: Option<Arc<str>> = self.routes.gated.then(|| Arc::from(req.uri().path()));
        let plan = self.routes.find(req);
        let cx = Cx {
            routes: &self.routes,
            plan: self.routes.plan(plan),
            inner,
            depth: 0,
            path: path.as_ref(),
        };
        let response = self.endpoint.call(req, &cx).await;
        finish(head, response)
    }
}

/// What HTTP says of the answer to any request.
fn finish(head: bool, response: Response) -> Response {
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        bodiless(response)
    } else if head {
        without_body(response)
    } else {
        response
    }
}

/// RFC 9110, 15.3.5 and 15.4.5: neither a body nor the fields that describe one.
#[cold]
fn bodiless(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    for field in [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
        parts.headers.remove(field);
    }
    Response::from_parts(parts, Body::empty())
}

/// RFC 9110, 9.3.2: the header that GET would send, and no body.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact()
        // Of an empty body it isn't known whether GET would have sent one (RFC 9110, 8.6).
        && length > 0
        && !parts.headers.contains_key(TRANSFER_ENCODING)
    {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty())
}

trait DynRoot: Send + Sync {
    fn respond_boxed(self: Arc<Self>, req: Request) -> BoxFuture<'static, Response>;
    fn run_in_front(
        self: Arc<Self>,
        req: Request,
        inner: Arc<dyn Inner>,
    ) -> BoxFuture<'static, Response>;
    fn routes(&self) -> &Routes;
}

impl<E: Tail + 'static> DynRoot for Root<E> {
    fn respond_boxed(self: Arc<Self>, mut req: Request) -> BoxFuture<'static, Response> {
        Box::pin(async move { self.respond(&mut req, None).await })
    }

    fn run_in_front(
        self: Arc<Self>,
        mut req: Request,
        inner: Arc<dyn Inner>,
    ) -> BoxFuture<'static, Response> {
        Box::pin(async move { self.respond(&mut req, Some(&inner)).await })
    }

    fn routes(&self) -> &Routes {
        &self.routes
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
        let mut req = req.map(boxed);
        async move { Ok(root.respond(&mut req, None).await) }
    })
}

/// The body of a request. Most have none, and need no box; a [`Body`] has its box already.
fn boxed<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let is_boxed = TypeId::of::<B>() == TypeId::of::<Body>();
    if !is_boxed && body.is_end_stream() { Body::empty() } else { Body::new(body) }
}

/// A chain in front of a service, for [`Chain::into_layer`](crate::Chain::into_layer).
///
/// It is one layer however often it is applied: the services behind it share the state of its middleware.
#[derive(Clone)]
pub struct ChainLayer(Arc<dyn DynRoot>);

impl ChainLayer {
    pub(crate) fn new<E: Tail + 'static>(root: Arc<Root<E>>) -> Self {
        Self(root)
    }
}

impl fmt::Debug for ChainLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainLayer")
    }
}

impl<S> Layer<S> for ChainLayer {
    type Service = Chained<S>;

    fn layer(&self, inner: S) -> Chained<S> {
        Chained { root: self.0.clone(), inner }
    }
}

/// A service behind a [`ChainLayer`].
#[derive(Clone)]
pub struct Chained<S> {
    root: Arc<dyn DynRoot>,
    inner: S,
}

impl<S: fmt::Debug> fmt::Debug for Chained<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chained").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<http::Request<B>> for Chained<S>
where
    S: Service<Request, Response = http::Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ChainedFuture<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, req: http::Request<B>) -> ChainedFuture<S::Error> {
        let not_ready = self.inner.clone();
        let ready = mem::replace(&mut self.inner, not_ready);
        let mut req = req.map(boxed);
        // This chain may stand as a layer in another one: what that has left in the request is put back behind this one.
        let extensions = req.extensions_mut();
        let outer = (extensions.remove::<OwnedCx>(), extensions.remove::<Matched>());
        let inner = Arc::new(Once { service: Mutex::new(Some(ready)), outer });
        let future = self.root.clone().run_in_front(req, inner);
        ChainedFuture { future, error: PhantomData }
    }
}

/// The future of a [`Chained`] service. What the service behind the chain fails with becomes a response there, so that the middleware
/// of the chain sees it.
pub struct ChainedFuture<E> {
    future: BoxFuture<'static, Response>,
    error: PhantomData<fn() -> E>,
}

impl<E> fmt::Debug for ChainedFuture<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainedFuture")
    }
}

impl<E> Future for ChainedFuture<E> {
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx).map(Ok)
    }
}

/// The service behind a chain, for one request.
pub(crate) trait Inner: Send + Sync {
    fn call(&self, req: Request) -> BoxFuture<'static, Response>;
}

/// A service that was polled ready, until it is called.
struct Once<S> {
    service: Mutex<Option<S>>,
    /// What a chain around this one has left in the request.
    outer: (Option<OwnedCx>, Option<Matched>),
}

impl<S, R> Inner for Once<S>
where
    S: Service<Request, Response = http::Response<R>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    fn call(&self, mut req: Request) -> BoxFuture<'static, Response> {
        let (cx, matched) = &self.outer;
        let extensions = req.extensions_mut();
        extensions.remove::<OwnedCx>();
        if let Some(cx) = cx {
            extensions.insert(cx.clone());
        }
        if let Some(matched) = matched {
            extensions.insert(matched.clone());
        }
        let ready = self.service.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut service) = ready else {
            let error =
                Error::internal("a tower layer called the rest of the chain twice for one request");
            return Box::pin(std::future::ready(error.into_response()));
        };
        let future = service.call(req);
        Box::pin(async move { into_response(future.await) })
    }
}

fn into_response<R, E>(result: Result<http::Response<R>, E>) -> Response
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

/// The rest of a chain, as a tower layer inside the chain sees it.
#[derive(Clone)]
pub struct TowerNext(BoxTail);

impl fmt::Debug for TowerNext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TowerNext")
    }
}

impl<B> Service<http::Request<B>> for TowerNext
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
        let req = req.map(boxed);
        let future = match req.extensions().get::<OwnedCx>().cloned() {
            Some(on) => self.0.0.clone().call_owned(req, on),
            None => {
                let error = Error::internal(
                    "a tower layer made a new request: it must pass on the extensions of the one that it was given",
                );
                Box::pin(std::future::ready(error.into_response()))
            }
        };
        ServiceFuture(ResponseFuture(future))
    }
}

/// What the body of a layer's or service's response must be.
#[doc(hidden)]
pub trait ResponseBody: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}

impl<B> ResponseBody for B
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
}

/// What a tower layer must be to stand in a chain. `B` is the body of its responses.
#[doc(hidden)]
pub trait TowerLayer<B>:
    Layer<
        TowerNext,
        Service: Service<
            Request,
            Response = http::Response<B>,
            Error: Into<BoxError>,
            Future: Send,
        > + Clone
                     + Send
                     + Sync
                     + 'static,
    > + Send
    + 'static
{
}

impl<L, B> TowerLayer<B> for L
where
    L: Layer<TowerNext> + Send + 'static,
    L::Service: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request>>::Error: Into<BoxError>,
    <L::Service as Service<Request>>::Future: Send,
{
}

#[doc(hidden)]
#[derive(Debug)]
pub struct AsLayer<B>(PhantomData<B>);

/// A tower layer on its way into a chain.
#[doc(hidden)]
#[derive(Debug)]
pub struct LayerStep<L, B>(L, PhantomData<fn() -> B>);

impl<L, B> IntoMiddleware<AsLayer<B>> for L
where
    L: TowerLayer<B>,
    B: ResponseBody,
{
    type Args = Passing<()>;
    type Step<P, W> = LayerStep<L, B>;
    type Provides = ();

    fn into_step<P, W>(self) -> LayerStep<L, B> {
        LayerStep(self, PhantomData)
    }
}

/// A tower layer, applied to the rest of the chain.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "it is public to the compiler alone")]
pub struct LayerEndpoint<L: Layer<TowerNext>, B> {
    service: L::Service,
    next: BoxTail,
    cover: Cover,
    site: Site,
    body: PhantomData<fn() -> B>,
}

impl<L: TowerLayer<B>, B> LayerEndpoint<L, B> {
    pub(crate) fn new(step: LayerStep<L, B>, next: BoxTail, cover: Cover, site: Site) -> Self {
        let service = step.0.layer(TowerNext(next.clone()));
        Self { service, next, cover, site, body: PhantomData }
    }
}

impl<L, B> Tail for LayerEndpoint<L, B>
where
    L: TowerLayer<B>,
    B: ResponseBody,
{
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        if !self.cover.holds(cx) {
            return Either::Left(self.next.call(req, cx));
        }
        Either::Right(self.site.probe(cx, || {
            if !req.extensions().get::<OwnedCx>().is_some_and(|on| on.is_of(cx)) {
                req.extensions_mut().insert(OwnedCx::new(cx));
            }
            cx.routes.show_match(cx, req);
            // `oneshot` polls the clone ready before it calls it.
            let future = self.service.clone().oneshot(mem::take(req));
            async move { into_response(future.await) }
        }))
    }
}

/// A service behind a path of a chain.
pub(crate) struct ServicePath<S, B> {
    path: String,
    place: Place,
    service: S,
    prefix: usize,
    site: Site,
    body: PhantomData<fn() -> B>,
}

impl<S, B> ServicePath<S, B> {
    pub(crate) fn new(path: &str, place: Place, service: S) -> Self {
        let site = Site::CHAIN;
        Self { path: path.to_owned(), place, service, prefix: 0, site, body: PhantomData }
    }
}

impl<S, B> Path for ServicePath<S, B>
where
    S: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn register(&mut self, registrar: &mut Registrar) {
        let absolute = registrar.absolute(&self.path);
        // A path that is none is refused by `enter`.
        self.prefix = Pattern::parse(&absolute).map_or(0, |pattern| pattern.depth());
        registrar.enter(&self.path, Settings::default(), self.place);
        self.site = Site::step(registrar.service(short_name::<S>(), self.place));
        registrar.leave();
    }

    fn assemble(self: Box<Self>, _: Parent, _: &Assembly<'_>) -> BoxTail {
        BoxTail(Arc::new(ServiceEndpoint {
            service: self.service,
            prefix: self.prefix,
            site: self.site,
            body: PhantomData,
        }))
    }
}

struct ServiceEndpoint<S, B> {
    service: S,
    /// How many segments of the path are not for the service.
    prefix: usize,
    site: Site,
    body: PhantomData<fn() -> B>,
}

impl<S, B> Tail for ServiceEndpoint<S, B>
where
    S: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn call(&self, req: &mut Request, cx: &Cx<'_>) -> Response {
        let service = || async move {
            cx.routes.show_match(cx, req);
            let mut req = mem::take(req);
            if self.prefix > 0 {
                strip(&mut req, self.prefix);
            }
            into_response(self.service.clone().oneshot(req).await)
        };
        self.site.probe(cx, service).await
    }
}

/// Takes the first segments off the path.
fn strip(req: &mut Request, segments: usize) {
    let rest = rest_after(req.uri().path(), segments);
    let stripped = match req.uri().query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    let mut parts = req.uri().clone().into_parts();
    if let Ok(stripped) = stripped.parse() {
        parts.path_and_query = Some(stripped);
    }
    if let Ok(uri) = http::Uri::from_parts(parts) {
        *req.uri_mut() = uri;
    }
}
