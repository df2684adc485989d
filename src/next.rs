//! What a step can do: look at the request, pass it on, answer.

use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::response::IntoResponse;
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;

use crate::adapter::{ChainLayer, Inner};
use crate::combine::{BoxMiddleware, Unless, When};
use crate::handler::{Arguments, MiddlewareFn, Passing, PlainFn};
use crate::pattern::rest_after;
use crate::prefix::Prefix;
use crate::probe::Site;
use crate::provide::{Nil, Provides};
use crate::route::{Plan, Routes, short_name};
use crate::{Chain, Request, Response};

/// A step that stands in front of the steps after it.
///
/// `call` sees the request on its way in and the response on its way out. It either answers itself or
/// passes the request on with [`Rest::run`], once: [`Rest`] is consumed by the call.
///
/// What [`Provides`](Middleware::Provides) names is what later steps may take as an argument: `()` for nothing, `(T,)` for a value
/// of type `T`, which goes along in [`Rest::run_with`].
///
/// # Example
///
/// ```
/// use tower_chain::{Endpoint, Middleware, Request, Response, Rest};
///
/// /// Adds a header to every response.
/// struct PoweredBy(http::HeaderValue);
///
/// impl Middleware for PoweredBy {
///     type Provides = ();
///
///     async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N>) -> Response {
///         let mut res = next.run(req).await;
///         res.headers_mut().insert("x-powered-by", self.0.clone());
///         res
///     }
/// }
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// What the steps after this one may take as an argument: `()`, `(T,)` or `(T, U)`.
    type Provides: Provides;

    /// Answers the request, or passes it on and answers with what comes back.
    ///
    /// Implement it as `async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N>) -> Response`, with the lifetimes left out.
    fn call<'a, N: Endpoint>(
        &'a self,
        req: &'a mut Request,
        next: Rest<'a, N, Self::Provides>,
    ) -> impl Future<Output = Response> + Send;

    /// The name under which the step stands in [`ChainService::routes`](crate::ChainService::routes).
    ///
    /// Defaults to the name of the type, or of the function.
    fn name(&self) -> String {
        short_name::<Self>()
    }

    /// Makes this middleware a [`tower::Layer`], to be used with no chain at all.
    ///
    /// What it provides stands in the extensions of the request: an axum handler behind it takes
    /// `Extension<T>`.
    ///
    /// # Example
    ///
    /// ```
    /// use axum::Router;
    /// use tower_chain::{Middleware, Next, Request, Response, from_fn};
    ///
    /// async fn log(req: Request, next: Next<'_>) -> Response {
    ///     next.run(req).await
    /// }
    ///
    /// let app: Router = Router::new().layer(from_fn(log).into_layer());
    /// # let _ = app;
    /// ```
    fn into_layer(self) -> ChainLayer
    where
        Self: Sized,
    {
        Chain::layer_of(self)
    }

    /// Runs this middleware only for the requests for which `predicate` holds; the others go past it.
    ///
    /// Only for middleware that provides nothing: what may be absent can't be promised.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Middleware, Next, Request, Response, from_fn};
    ///
    /// async fn log(req: Request, next: Next<'_>) -> Response {
    ///     next.run(req).await
    /// }
    ///
    /// let debugged = from_fn(log).when(|req| req.headers().contains_key("x-debug"));
    /// let chain = Chain::new().use_(debugged).get(async || "hello");
    /// # let _ = chain.build();
    /// ```
    fn when<F>(self, predicate: F) -> When<Self, F>
    where
        Self: Sized + Middleware<Provides = ()>,
        F: Fn(&Request) -> bool + Send + Sync + 'static,
    {
        When::new(self, predicate)
    }

    /// Runs this middleware only for the requests for which `predicate` does not hold.
    fn unless<F>(self, predicate: F) -> Unless<Self, F>
    where
        Self: Sized + Middleware<Provides = ()>,
        F: Fn(&Request) -> bool + Send + Sync + 'static,
    {
        Unless::new(self, predicate)
    }

    /// Erases the type, so that middleware chosen at run time fits one variable or one list.
    fn boxed(self) -> BoxMiddleware
    where
        Self: Sized + Middleware<Provides = ()>,
    {
        BoxMiddleware::new(self)
    }
}

/// The steps that follow a middleware, down to the handler. Made by the chain alone.
pub trait Endpoint: Send + Sync {
    #[doc(hidden)]
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a;
}

/// The rest of the chain, as a [`Middleware`] sees it. `T` is what must be provided to it: with `()` it has [`run`](Rest::run), with all
/// else [`run_with`](Rest::run_with).
pub struct Rest<'a, N, T = ()> {
    next: &'a N,
    cx: &'a Cx<'a>,
    provides: PhantomData<fn(T)>,
}

impl<'a, N: Endpoint, T> Rest<'a, N, T> {
    #[inline(always)]
    pub(crate) fn new(next: &'a N, cx: &'a Cx<'a>) -> Self {
        Self { next, cx, provides: PhantomData }
    }

    /// The pattern that the path of this request matched, such as `/users/{id}`; `None` if no path did.
    pub fn matched_path(&self) -> Option<&'a str> {
        self.cx.matched_path()
    }

    /// What of the path stands behind the path of this chain: in a chain mounted at `/users`, `/7` for `/users/7`.
    ///
    /// It begins with a slash, and is percent-encoded as the client sent it.
    pub fn rest_path<'r>(&self, req: &'r Request) -> &'r str {
        rest_after(req.uri().path(), self.cx.depth)
    }

    pub(crate) fn cx(&self) -> &'a Cx<'a> {
        self.cx
    }

    pub(crate) fn next(&self) -> &'a N {
        self.next
    }
}

impl<'a, N: Endpoint> Rest<'a, N> {
    /// Passes the request on. The response is what the steps after this one answered.
    ///
    /// Dropping the future, as a timeout does, drops the rest of the chain at once.
    #[inline(always)]
    pub fn run(self, req: &'a mut Request) -> impl Future<Output = Response> + Send + 'a {
        self.next.call(req, self.cx)
    }
}

impl<'a, N: Endpoint, T: Provides> Rest<'a, N, T> {
    /// Passes the request on, together with what this middleware provides. [`Provides`] has an example.
    #[inline(always)]
    pub fn run_with(
        self,
        req: &'a mut Request,
        provided: T,
    ) -> impl Future<Output = Response> + Send + 'a {
        provided.put(req.extensions_mut());
        self.next.call(req, self.cx)
    }
}

impl<N, T> std::fmt::Debug for Rest<'_, N, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rest")
    }
}

/// The rest of the chain, as an `async fn(Request, Next<'_>)` sees it.
///
/// [`run`](Next::run) takes it by value, so that the rest runs at most once. If it is dropped instead, the rest doesn't run.
///
/// ```compile_fail,E0382
/// # use tower_chain::{Next, Request, Response};
/// async fn twice(req: Request, next: Next<'_>) -> Response {
///     let _ = next.run(Request::default()).await;
///     next.run(req).await // use of moved value: `next`
/// }
/// ```
#[must_use = "the steps after this one run only when `next.run(req)` is awaited"]
pub struct Next<'a> {
    slot: Pin<&'a mut (dyn Slot + Send + 'a)>,
    cx: &'a Cx<'a>,
}

impl<'a> Next<'a> {
    /// Passes the request on. The response is what the steps after this one answered.
    ///
    /// Dropping the future, as a timeout does, drops the rest of the chain at once.
    pub fn run(self, req: Request) -> impl Future<Output = Response> + Send + use<'a> {
        let mut slot = self.slot;
        slot.as_mut().start(req);
        Running(slot)
    }

    /// The pattern that the path of this request matched, such as `/users/{id}`; `None` if no path did.
    pub fn matched_path(&self) -> Option<&'a str> {
        self.cx.matched_path()
    }

    /// What of the path stands behind the path of this chain: in a chain mounted at `/users`, `/7` for `/users/7`.
    ///
    /// It begins with a slash, and is percent-encoded as the client sent it.
    pub fn rest_path<'r>(&self, req: &'r Request) -> &'r str {
        rest_after(req.uri().path(), self.cx.depth)
    }
}

impl std::fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Next")
    }
}

/// The place where the future of the rest lives: inside the future of the step that runs it, so that it needs no box.
trait Slot {
    fn start(self: Pin<&mut Self>, req: Request);
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response>;
    fn clear(self: Pin<&mut Self>);
}

pin_project! {
    #[project = RestSlotProjection]
    enum RestSlot<'a, M, F> {
        Waiting { start: Option<(&'a mut Request, M)> },
        Running { #[pin] rest: F },
        Done,
    }
}

impl<'a, M, F> Slot for RestSlot<'a, M, F>
where
    M: FnOnce(&'a mut Request) -> F,
    F: Future<Output = Response>,
{
    fn start(mut self: Pin<&mut Self>, req: Request) {
        if let RestSlotProjection::Waiting { start } = self.as_mut().project()
            && let Some((place, start)) = start.take()
        {
            // What lies there is the empty request that was left when the true one was taken: it owns nothing that would have to be
            // dropped.
            mem::forget(mem::replace(place, req));
            self.set(RestSlot::Running { rest: start(place) });
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        match self.project() {
            RestSlotProjection::Running { rest } => rest.poll(cx),
            _ => Poll::Pending,
        }
    }

    fn clear(mut self: Pin<&mut Self>) {
        self.set(RestSlot::Done);
    }
}

struct Running<'a>(Pin<&'a mut (dyn Slot + Send + 'a)>);

impl Future for Running<'_> {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.0.as_mut().poll(cx)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.as_mut().clear();
    }
}

/// An `async fn(.., Request, Next<'_>)` as a [`Middleware`]. Made by [`from_fn`] and by the verbs of a chain.
pub struct FromFn<F, A, P, W> {
    f: F,
    kind: PhantomData<fn() -> (A, P, W)>,
}

impl<F, A, P, W> FromFn<F, A, P, W> {
    pub(crate) fn new(f: F) -> Self {
        Self { f, kind: PhantomData }
    }
}

impl<F, A, P, W> std::fmt::Debug for FromFn<F, A, P, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&short_name::<F>())
    }
}

impl<F, A, P, W> Middleware for FromFn<F, A, P, W>
where
    F: for<'a> MiddlewareFn<'a, A>,
    Passing<A>: Arguments<P, W>,
    A: Send + 'static,
    P: 'static,
    W: 'static,
{
    type Provides = ();

    async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N>) -> Response {
        let Rest { next, cx, .. } = next;
        let Passing(args) = match Passing::<A>::take(req, cx).await {
            Ok(args) => args,
            Err(refusal) => return refusal,
        };
        let owned = mem::take(req);
        let slot = RestSlot::Waiting { start: Some((req, |req| next.call(req, cx))) };
        let slot = std::pin::pin!(slot);
        self.f.invoke(args, owned, Next { slot, cx }).await.into_response()
    }

    fn name(&self) -> String {
        short_name::<F>()
    }
}

/// Makes a [`Middleware`] of an `async fn(Request, Next<'_>)`.
///
/// [`Chain::use_`] takes such a function as it is. This form has methods such as [`when`](Middleware::when), and its
/// bound is a plain one: if the compiler says that a function isn't middleware without saying why, wrap it in `from_fn`,
/// and the true cause is named. For functions that take more, there is [`from_fn_with`].
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, Middleware, Next, Request, Response, from_fn};
///
/// async fn log(req: Request, next: Next<'_>) -> Response {
///     next.run(req).await
/// }
///
/// let chain = Chain::new().use_(from_fn(log).unless(|req| req.uri().path() == "/healthz"));
/// # let _ = chain;
/// ```
pub fn from_fn<F>(f: F) -> FromFn<F, (), Nil, ()>
where
    F: for<'a> PlainFn<'a>,
{
    FromFn::new(f)
}

/// Makes a [`Middleware`] of an `async fn` that takes extractors before `Request`: `A` lists them as a tuple.
///
/// # Example
///
/// ```
/// use tower_chain::{Middleware, Next, Request, Response, from_fn_with};
///
/// async fn log(method: http::Method, req: Request, next: Next<'_>) -> Response {
///     println!("{method}");
///     next.run(req).await
/// }
///
/// let middleware = from_fn_with::<(http::Method,), _, _>(log).boxed();
/// # let _ = middleware;
/// ```
pub fn from_fn_with<A, F, W>(f: F) -> FromFn<F, A, Nil, W>
where
    F: for<'a> MiddlewareFn<'a, A>,
    Passing<A>: Arguments<Nil, W>,
{
    FromFn::new(f)
}

/// What is known of a request while it walks the chain.
#[doc(hidden)]
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "it is public to the compiler alone")]
pub struct Cx<'a> {
    pub(crate) routes: &'a Arc<Routes>,
    pub(crate) plan: &'a Plan,
    pub(crate) inner: Option<&'a Arc<dyn Inner>>,
    /// How many segments of the path stand before the present scope.
    pub(crate) depth: usize,
    /// The path as it was matched, where a step decides on it.
    pub(crate) path: Option<&'a Arc<str>>,
}

impl<'a> Cx<'a> {
    pub(crate) fn matched_path(&self) -> Option<&'a str> {
        self.plan.route.map(|route| self.routes.pattern(route))
    }
}

/// What is known of a request, on its way through a tower layer.
#[derive(Clone)]
pub(crate) struct OwnedCx {
    routes: Arc<Routes>,
    plan: usize,
    inner: Option<Arc<dyn Inner>>,
    depth: usize,
    path: Option<Arc<str>>,
}

impl OwnedCx {
    pub(crate) fn new(cx: &Cx<'_>) -> Self {
        Self {
            routes: cx.routes.clone(),
            plan: cx.plan.index,
            inner: cx.inner.cloned(),
            depth: cx.depth,
            path: cx.path.cloned(),
        }
    }

    /// Whether this was made of that.
    pub(crate) fn is_of(&self, cx: &Cx<'_>) -> bool {
        Arc::ptr_eq(&self.routes, cx.routes) && self.plan == cx.plan.index && self.depth == cx.depth
    }

    pub(crate) fn borrow(&self) -> Cx<'_> {
        Cx {
            routes: &self.routes,
            plan: self.routes.plan(self.plan),
            inner: self.inner.as_ref(),
            depth: self.depth,
            path: self.path.as_ref(),
        }
    }
}

/// Which requests a step is for: those that one of the handlers `low..=high` answers, or all; where there is a prefix, those under it.
pub(crate) struct Cover {
    low: u32,
    high: u32,
    prefix: Option<Prefix>,
}

impl Cover {
    /// Every request that comes by.
    pub(crate) const ALWAYS: Self = Self { low: 1, high: 0, prefix: None };

    pub(crate) fn range(low: u32, high: u32, prefix: Option<Prefix>) -> Self {
        // An empty range would read as "always": a step after which no handler stands covers none.
        let (low, high) = if low > high { (u32::MAX, u32::MAX) } else { (low, high) };
        Self { low, high, prefix }
    }

    /// Whether the step takes part in this request.
    #[inline(always)]
    pub(crate) fn holds(&self, cx: &Cx<'_>, req: &Request) -> bool {
        let &Self { low, high, ref prefix } = self;
        let reached = low > high
            || match *cx.plan.steps {
                [step] => low <= step && step <= high,
                ref steps => steps.iter().any(|step| low <= *step && *step <= high),
            };
        reached
            && prefix.as_ref().is_none_or(|prefix| prefix.covers(cx.path.map(|path| &**path), req))
    }
}

pin_project! {
    /// A future that is made when it is first polled: until then it is as small as what it is made of.
    #[project = LateProjection]
    pub(crate) enum Late<M, F> {
        Waiting { start: Option<M> },
        Started { #[pin] future: F },
    }
}

impl<M: FnOnce() -> F, F> Late<M, F> {
    #[inline(always)]
    pub(crate) fn new(start: M) -> Self {
        Self::Waiting { start: Some(start) }
    }
}

impl<M, F> Default for Late<M, F> {
    fn default() -> Self {
        Self::Waiting { start: None }
    }
}

/// Boxes the future that `start` makes.
///
/// It is made inside its box: made outside it would be copied, with all the room for the steps after it.
fn boxed<'a, M, F>(start: M) -> BoxFuture<'a, F::Output>
where
    M: FnOnce() -> F + Send + 'a,
    F: Future + Send + 'a,
{
    let mut late = Box::into_pin(Box::<Late<M, F>>::default());
    if let LateProjection::Waiting { start: place } = late.as_mut().project() {
        *place = Some(start);
    }
    late
}

impl<M: FnOnce() -> F, F: Future> Future for Late<M, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let LateProjection::Waiting { start } = self.as_mut().project()
            && let Some(start) = start.take()
        {
            self.set(Self::Started { future: start() });
        }
        match self.project() {
            LateProjection::Started { future } => future.poll(cx),
            LateProjection::Waiting { .. } => Poll::Pending,
        }
    }
}

/// An endpoint whose type is erased: one box a call. Between segments of a chain, and at each path.
pub(crate) trait ErasedEndpoint: Send + Sync {
    fn call_boxed<'a>(&'a self, req: &'a mut Request, cx: &'a Cx<'a>) -> BoxFuture<'a, Response>;

    fn call_owned(self: Arc<Self>, req: Request, on: OwnedCx) -> BoxFuture<'static, Response>
    where
        Self: 'static;
}

impl<E: Endpoint> ErasedEndpoint for E {
    fn call_boxed<'a>(&'a self, req: &'a mut Request, cx: &'a Cx<'a>) -> BoxFuture<'a, Response> {
        boxed(move || self.call(req, cx))
    }

    fn call_owned(self: Arc<Self>, mut req: Request, on: OwnedCx) -> BoxFuture<'static, Response>
    where
        Self: 'static,
    {
        Box::pin(async move { self.call(&mut req, &on.borrow()).await })
    }
}

/// See [`ErasedEndpoint`].
#[doc(hidden)]
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "it is public to the compiler alone")]
pub struct BoxEndpoint(pub(crate) Arc<dyn ErasedEndpoint>);

impl Endpoint for BoxEndpoint {
    #[inline(always)]
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        Site::CHAIN.probe(cx, || self.0.call_boxed(req, cx))
    }
}
