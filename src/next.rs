//! What a step can do: look at the request, pass it on, answer.

use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::response::IntoResponse;
use futures_util::future::BoxFuture;
use http::{Extensions, HeaderMap, Method, Uri, Version};
use pin_project_lite::pin_project;

use crate::adapter::Inner;
use crate::handler::{Arguments, MiddlewareFn, Passing, PlainFn};
use crate::pattern::{Prefix, rest_after};
use crate::probe::Site;
use crate::provide::{Nil, Provides, Values};
use crate::route::{Plan, Routes, short_name};
use crate::{Body, Request, Response};

/// A step in front of the steps after it.
///
/// `call` sees the request on its way in and the response on its way out. It either answers the request itself, or
/// passes it on with [`Next::run`], once: the call consumes the [`Next`].
///
/// [`Provides`](Middleware::Provides) names what later steps may take as an argument: `()` for nothing, `(T,)` for a value
/// of type `T`, which is passed on with [`Next::run_with`]. [`MiddlewareExt`](crate::MiddlewareExt) has methods for all middleware.
///
/// # Example
///
/// ```
/// use tower_chain::{Endpoint, Middleware, Next, Response};
///
/// /// Adds a header to every response.
/// struct PoweredBy(http::HeaderValue);
///
/// impl Middleware for PoweredBy {
///     type Provides = ();
///
///     async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
///         let mut response = next.run().await;
///         response.headers_mut().insert("x-powered-by", self.0.clone());
///         response
///     }
/// }
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// What the steps after this one may take as an argument: `()`, `(T,)` or `(T, U)`.
    type Provides: Provides;

    /// Answers the request, or passes it on and returns the response of the rest, changed or not.
    ///
    /// Implement it as `async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response`, without named lifetimes; if it provides values,
    /// with `next: Next<'_, N, (T,)>`.
    fn call<'a, N: Endpoint>(
        &'a self,
        next: Next<'a, N, Self::Provides>,
    ) -> impl Future<Output = Response> + Send;

    /// The name of the step in [`ChainService::routes`](crate::ChainService::routes).
    ///
    /// Defaults to the name of the type, or of the function.
    fn name(&self) -> String {
        short_name::<Self>()
    }
}

/// The rest of the chain, as [`Next`] reaches it: by its type in a [`Middleware`], through a pointer in a function.
///
/// The chain implements it. Outside of this crate it is only a bound: `async fn call<N: Endpoint>(&self, next: Next<'_, N>)`.
pub trait Endpoint: Sized + Send + Sync + 'static {
    #[doc(hidden)]
    type Reach<'a>: Reach<'a>;
}

/// A request, and how the rest of the chain is reached with it.
#[doc(hidden)]
pub trait Reach<'a>: Send {
    fn request(&self) -> &Request;
    fn request_mut(&mut self) -> &mut Request;
    fn cx(&self) -> &'a Cx<'a>;
    fn run(self) -> impl Future<Output = Response> + Send + 'a;
}

/// The steps after a step, folded into one value when the chain is built.
#[doc(hidden)]
pub trait Tail: Send + Sync + 'static {
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a;
}

impl<N: Tail> Endpoint for N {
    type Reach<'a> = Direct<'a, N>;
}

/// Reaches a tail by its type.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "it is public to the compiler alone")]
pub struct Direct<'a, N> {
    req: &'a mut Request,
    tail: &'a N,
    cx: &'a Cx<'a>,
}

impl<'a, N: Tail> Reach<'a> for Direct<'a, N> {
    #[inline(always)]
    fn request(&self) -> &Request {
        self.req
    }

    #[inline(always)]
    fn request_mut(&mut self) -> &mut Request {
        self.req
    }

    #[inline(always)]
    fn cx(&self) -> &'a Cx<'a> {
        self.cx
    }

    #[inline(always)]
    fn run(self) -> impl Future<Output = Response> + Send + 'a {
        self.tail.call(self.req, self.cx)
    }
}

/// The rest of the chain behind a pointer, as functions reach it. All functions take the same type, whatever follows them.
#[derive(Debug)]
pub struct Erased(());

impl Endpoint for Erased {
    type Reach<'a> = Indirect<'a>;
}

/// Reaches the rest through a [`Slot`].
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "it is public to the compiler alone")]
pub struct Indirect<'a> {
    slot: Pin<&'a mut (dyn Slot + Send + 'a)>,
    cx: &'a Cx<'a>,
}

impl<'a> Reach<'a> for Indirect<'a> {
    fn request(&self) -> &Request {
        self.slot.request()
    }

    fn request_mut(&mut self) -> &mut Request {
        self.slot.as_mut().request_mut()
    }

    fn cx(&self) -> &'a Cx<'a> {
        self.cx
    }

    fn run(mut self) -> impl Future<Output = Response> + Send + 'a {
        self.slot.as_mut().start();
        Running(self.slot)
    }
}

/// A request, and the rest of the chain. It derefs to [`Request`], and [`run`](Next::run) passes the request on.
///
/// A function takes `Next<'_>`. A [`Middleware`] takes `Next<'_, N>`, where `N` is the type of the rest of the chain, and
/// `Next<'_, N, T>` if it provides `T`. [`NextWith`] is the form for functions that provide values.
///
/// `run` consumes it, so that the rest runs at most once. If it is dropped instead, the rest doesn't run.
///
/// ```compile_fail,E0382
/// # use tower_chain::{Next, Response};
/// async fn twice(next: Next<'_>) -> Response {
///     let _ = next.run().await;
///     next.run().await // use of moved value: `next`
/// }
/// ```
///
/// # Changing the request
///
/// `next.headers_mut()`, `next.uri_mut()` and the other methods change the request in place. `*next = request` replaces it. A
/// replaced request keeps the extensions of the old one, which include all values that earlier steps provided; where both have a
/// value of one type, that of the new request counts. To make this possible, the first mutable borrow of the whole request
/// (`*next = ..`, `&mut *next`) clones the extensions. The methods don't.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, Next, Response};
///
/// async fn no_store(mut next: Next<'_>) -> Response {
///     next.headers_mut().remove("x-internal");
///     let mut response = next.run().await;
///     response.headers_mut().insert("cache-control", http::HeaderValue::from_static("no-store"));
///     response
/// }
///
/// let chain = Chain::new().use_(no_store).get(async || "hello");
/// # let _ = chain.build();
/// ```
#[must_use = "the steps after this one run only when `next.run()` is awaited"]
pub struct Next<'a, N: Endpoint = Erased, T = ()> {
    reach: N::Reach<'a>,
    /// The extensions as they were before the whole request was borrowed mutably. Empty if it wasn't.
    kept: Extensions,
    provides: PhantomData<fn(T)>,
}

/// The [`Next`] of a function that provides values: `T` is a tuple, as in [`Middleware::Provides`].
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, NextWith, Provided, Response};
///
/// #[derive(Clone)]
/// struct RequestId(u64);
///
/// async fn request_id(next: NextWith<'_, (RequestId,)>) -> Response {
///     next.run_with(RequestId(7)).await
/// }
///
/// let chain = Chain::new().use_(request_id).get(async |id: Provided<RequestId>| id.0.0.to_string());
/// # let _ = chain.build();
/// ```
pub type NextWith<'a, T> = Next<'a, Erased, T>;

impl<'a, N: Tail, T> Next<'a, N, T> {
    #[inline(always)]
    pub(crate) fn new(req: &'a mut Request, tail: &'a N, cx: &'a Cx<'a>) -> Self {
        Self { reach: Direct { req, tail, cx }, kept: Extensions::new(), provides: PhantomData }
    }
}

impl<'a, N: Endpoint> Next<'a, N> {
    /// Passes the request on, and returns the response of the steps after this one.
    ///
    /// Dropping the future, as a timeout does, drops the rest of the chain at once.
    #[inline(always)]
    #[must_use = "the steps after this one run only when `next.run()` is awaited"]
    pub fn run(self) -> impl Future<Output = Response> + Send + 'a {
        self.into_reach().run()
    }
}

impl<'a, N: Endpoint, T: Provides> Next<'a, N, T> {
    /// Passes the request on, together with what this middleware provides: the value if it is one, a tuple if there are several.
    /// [`Provides`] has an example.
    #[inline(always)]
    #[must_use = "the steps after this one run only when `next.run_with(..)` is awaited"]
    pub fn run_with<V: Values<T>>(
        self,
        values: V,
    ) -> impl Future<Output = Response> + Send + use<'a, N, T, V> {
        let mut reach = self.into_reach();
        values.into_provided().put(reach.request_mut().extensions_mut());
        reach.run()
    }
}

impl<'a, N: Endpoint, T> Next<'a, N, T> {
    /// The pattern that the path of this request matched, such as `/users/{id}`; `None` if no path did.
    pub fn matched_path(&self) -> Option<&'a str> {
        self.reach.cx().matched_path()
    }

    /// The part of the path after the path of this chain: in a chain mounted at `/users`, `/7` for `/users/7`.
    ///
    /// It begins with a slash, and is percent-encoded as the client sent it.
    pub fn rest_path(&self) -> &str {
        rest_after(self.uri().path(), self.reach.cx().depth)
    }

    /// The method of the request, to be changed. The steps that follow are chosen already: they stay the same.
    pub fn method_mut(&mut self) -> &mut Method {
        self.request_mut().method_mut()
    }

    /// The URI of the request, to be changed. The steps that follow are chosen already: they stay the same.
    pub fn uri_mut(&mut self) -> &mut Uri {
        self.request_mut().uri_mut()
    }

    /// The version of the request, to be changed.
    pub fn version_mut(&mut self) -> &mut Version {
        self.request_mut().version_mut()
    }

    /// The header fields of the request, to be changed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request_mut().headers_mut()
    }

    /// The extensions of the request, to be changed. What earlier steps provided is among them.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.request_mut().extensions_mut()
    }

    /// The body of the request, to be read or changed.
    pub fn body_mut(&mut self) -> &mut Body {
        self.request_mut().body_mut()
    }

    /// The request, for code that doesn't replace it.
    #[inline(always)]
    pub(crate) fn request_mut(&mut self) -> &mut Request {
        self.reach.request_mut()
    }

    #[inline(always)]
    pub(crate) fn cx(&self) -> &'a Cx<'a> {
        self.reach.cx()
    }

    /// The same, without the type of the rest, which will run in `slot`.
    pub(crate) fn erase<'s, U, R, F>(
        self,
        mut slot: Pin<&'s mut RestSlot<N::Reach<'a>, R, F>>,
        run: R,
    ) -> Next<'s, Erased, U>
    where
        'a: 's,
        R: FnOnce(N::Reach<'a>) -> F + Send + 's,
        F: Future<Output = Response> + Send + 's,
    {
        let cx = self.reach.cx();
        slot.set(RestSlot::Waiting { start: Some((self.reach, run)) });
        Next { reach: Indirect { slot, cx }, kept: self.kept, provides: PhantomData }
    }

    #[inline(always)]
    fn into_reach(self) -> N::Reach<'a> {
        let Self { mut reach, kept, .. } = self;
        if !kept.is_empty() {
            restore(reach.request_mut().extensions_mut(), kept);
        }
        reach
    }
}

impl<N: Endpoint, T> Deref for Next<'_, N, T> {
    type Target = Request;

    #[inline(always)]
    fn deref(&self) -> &Request {
        self.reach.request()
    }
}

impl<N: Endpoint, T> DerefMut for Next<'_, N, T> {
    fn deref_mut(&mut self) -> &mut Request {
        let req = self.reach.request_mut();
        if self.kept.is_empty() && !req.extensions().is_empty() {
            self.kept = req.extensions().clone();
            req.extensions_mut().insert(SameRequest);
        }
        req
    }
}

impl<N: Endpoint, T> std::fmt::Debug for Next<'_, N, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Next")
    }
}

impl<'a> Next<'a> {
    pub(crate) fn from_reach(reach: Indirect<'a>) -> Self {
        Self { reach, kept: Extensions::new(), provides: PhantomData }
    }
}

/// Marks the extensions of a request that could be replaced: where it is missing, the request was replaced.
#[derive(Clone)]
struct SameRequest;

/// Gives a request that was replaced the extensions of the one before it.
#[cold]
fn restore(extensions: &mut Extensions, mut kept: Extensions) {
    if extensions.remove::<SameRequest>().is_none() {
        kept.extend(mem::take(extensions));
        *extensions = kept;
    }
}

/// The slot for the rest of the chain in the future of the step that runs it. The rest needs no box of its own there.
///
/// It first holds the request with the means to reach the rest, and then the future of the rest.
trait Slot {
    fn request(&self) -> &Request;
    fn request_mut(self: Pin<&mut Self>) -> &mut Request;
    fn start(self: Pin<&mut Self>);
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response>;
    fn clear(self: Pin<&mut Self>);
}

pin_project! {
    #[project = RestSlotProjection]
    pub(crate) enum RestSlot<P, R, F> {
        Waiting { start: Option<(P, R)> },
        Running { #[pin] rest: F },
        Done,
    }
}

impl<'a, P, R, F> Slot for RestSlot<P, R, F>
where
    P: Reach<'a>,
    R: FnOnce(P) -> F,
    F: Future<Output = Response>,
{
    fn request(&self) -> &Request {
        match self {
            Self::Waiting { start: Some((reach, _)) } => reach.request(),
            _ => unreachable!("`run` consumes the only `Next` that leads here"),
        }
    }

    fn request_mut(self: Pin<&mut Self>) -> &mut Request {
        match self.project() {
            RestSlotProjection::Waiting { start: Some((reach, _)) } => reach.request_mut(),
            _ => unreachable!("`run` consumes the only `Next` that leads here"),
        }
    }

    fn start(mut self: Pin<&mut Self>) {
        if let RestSlotProjection::Waiting { start } = self.as_mut().project()
            && let Some((reach, run)) = start.take()
        {
            self.set(Self::Running { rest: run(reach) });
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        match self.project() {
            RestSlotProjection::Running { rest } => rest.poll(cx),
            _ => Poll::Pending,
        }
    }

    fn clear(mut self: Pin<&mut Self>) {
        self.set(Self::Done);
    }
}

/// The future of the rest, in the slot of a step.
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

/// An `async fn(.., Next<'_>)` as a [`Middleware`]. Made by [`from_fn`] and by the verbs of a chain.
pub struct FromFn<F, A, T, P, W> {
    f: F,
    kind: PhantomData<fn() -> (A, T, P, W)>,
}

impl<F, A, T, P, W> FromFn<F, A, T, P, W> {
    pub(crate) fn new(f: F) -> Self {
        Self { f, kind: PhantomData }
    }
}

impl<F, A, T, P, W> std::fmt::Debug for FromFn<F, A, T, P, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&short_name::<F>())
    }
}

impl<F, A, T, P, W> Middleware for FromFn<F, A, T, P, W>
where
    F: for<'a> MiddlewareFn<'a, A, T>,
    Passing<A>: Arguments<P, W>,
    A: Send + 'static,
    T: Provides,
    P: 'static,
    W: 'static,
{
    type Provides = T;

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, T>) -> Response {
        let cx = next.cx();
        let Passing(args) = match Passing::<A>::take(next.request_mut(), cx).await {
            Ok(args) => args,
            Err(refusal) => return refusal,
        };
        let slot = std::pin::pin!(RestSlot::Done);
        self.f.invoke(args, next.erase(slot, Reach::run)).await.into_response()
    }

    fn name(&self) -> String {
        short_name::<F>()
    }
}

/// Makes a [`Middleware`] of an `async fn(Next<'_>)`.
///
/// [`Chain::use_`](crate::Chain::use_) takes such a function as it is. This form has methods such as [`when`](Middleware::when), and its
/// bound is a plain one: if the compiler reports that a function isn't middleware without the reason, wrap it in `from_fn`,
/// and the compiler names the reason. For functions that take more, there is [`from_fn_with`], and for closures that capture
/// [`from_closure`].
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, Middleware, Next, Response, from_fn};
///
/// async fn log(next: Next<'_>) -> Response {
///     println!("{} {}", next.method(), next.uri().path());
///     next.run().await
/// }
///
/// let chain = Chain::new().use_(from_fn(log).unless(|req| req.uri().path() == "/healthz"));
/// # let _ = chain;
/// ```
pub fn from_fn<F>(f: F) -> FromFn<F, (), (), Nil, ()>
where
    F: for<'a> PlainFn<'a>,
{
    FromFn::new(f)
}

/// Makes a [`Middleware`] of an `async fn` that takes extractors before `Next`: `A` lists them as a tuple.
///
/// # Example
///
/// ```
/// use tower_chain::{Middleware, Next, Response, from_fn_with};
///
/// async fn log(method: http::Method, next: Next<'_>) -> Response {
///     println!("{method}");
///     next.run().await
/// }
///
/// let middleware = from_fn_with::<(http::Method,), _, _>(log).boxed();
/// # let _ = middleware;
/// ```
pub fn from_fn_with<A, F, W>(f: F) -> FromFn<F, A, (), Nil, W>
where
    F: for<'a> MiddlewareFn<'a, A, ()>,
    Passing<A>: Arguments<Nil, W>,
{
    FromFn::new(f)
}

/// A closure as a [`Middleware`]. Made by [`from_closure`].
#[derive(Clone)]
pub struct FromClosure<F>(F);

impl<F> std::fmt::Debug for FromClosure<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&short_name::<F>())
    }
}

impl<F, R> Middleware for FromClosure<F>
where
    F: for<'a> Fn(Next<'a>) -> BoxFuture<'a, R> + Send + Sync + 'static,
    R: IntoResponse,
{
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let slot = std::pin::pin!(RestSlot::Done);
        (self.0)(next.erase(slot, Reach::run)).await.into_response()
    }

    fn name(&self) -> String {
        short_name::<F>()
    }
}

/// Makes a [`Middleware`] of a closure that captures values. Its future is boxed, once per request.
///
/// [`Chain::use_`](crate::Chain::use_) takes an `async` closure that captures nothing as it is. One that captures can't be taken so:
/// its future borrows from the closure, and the compiler has no means yet to require that such a future is `Send`.
///
/// # Example
///
/// ```
/// use http::HeaderValue;
/// use tower_chain::{Chain, from_closure};
///
/// let version = HeaderValue::from_static("7");
/// let chain = Chain::new()
///     .use_(from_closure(move |next| {
///         let version = version.clone();
///         Box::pin(async move {
///             let mut response = next.run().await;
///             response.headers_mut().insert("x-version", version);
///             response
///         })
///     }))
///     .get(async || "hello");
/// # let _ = chain.build();
/// ```
pub fn from_closure<F, R>(f: F) -> FromClosure<F>
where
    F: for<'a> Fn(Next<'a>) -> BoxFuture<'a, R> + Send + Sync + 'static,
    R: IntoResponse,
{
    FromClosure(f)
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
    pub(crate) fn holds(&self, cx: &Cx<'_>) -> bool {
        let &Self { low, high, ref prefix } = self;
        let reached = low > high
            || match *cx.plan.steps {
                [step] => low <= step && step <= high,
                ref steps => steps.iter().any(|step| low <= *step && *step <= high),
            };
        reached && prefix.as_ref().is_none_or(|prefix| prefix.covers(cx.path))
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
pub(crate) trait ErasedTail: Send + Sync {
    fn call_boxed<'a>(&'a self, req: &'a mut Request, cx: &'a Cx<'a>) -> BoxFuture<'a, Response>;

    fn call_owned(self: Arc<Self>, req: Request, on: OwnedCx) -> BoxFuture<'static, Response>
    where
        Self: 'static;
}

impl<E: Tail> ErasedTail for E {
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

/// See [`ErasedTail`].
#[doc(hidden)]
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "it is public to the compiler alone")]
pub struct BoxTail(pub(crate) Arc<dyn ErasedTail>);

impl Tail for BoxTail {
    #[inline(always)]
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        Site::CHAIN.probe(cx, || self.0.call_boxed(req, cx))
    }
}
