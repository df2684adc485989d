//! Middleware, and the `Next` that it receives.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Extensions, HeaderMap, Method, Uri, Version};
use pin_project_lite::pin_project;

use crate::provide::{Provides, Values};
use crate::route::listing::short_name;
use crate::route::pattern::rest_after;
use crate::step::tail::{Cx, Tail};
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
/// value of one type, that of the new request counts. They are joined when the request is passed on, or borrowed mutably again. To make
/// this possible, each mutable borrow of the whole request (`*next = ..`, `&mut *next`) clones the extensions. The methods don't.
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
    /// The extensions as they were before the whole request was last borrowed mutably. Empty if it wasn't.
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

// What `run` and `run_with` require of `T` are bounds of the methods, not of the block: only then the compiler shows the message of the trait.
impl<'a, N: Endpoint, T> Next<'a, N, T> {
    /// Passes the request on, and returns the response of the steps after this one. For middleware that provides nothing.
    ///
    /// Dropping the future, as a timeout does, drops the rest of the chain at once.
    #[inline(always)]
    #[must_use = "the steps after this one run only when `next.run()` is awaited"]
    pub fn run(self) -> impl Future<Output = Response> + Send + use<'a, N, T>
    where
        (): Values<T>,
    {
        self.into_reach().run()
    }

    /// Passes the request on, together with what this middleware provides: the value if it is one, a tuple if there are several.
    /// [`Provides`] has an example.
    #[inline(always)]
    #[must_use = "the steps after this one run only when `next.run_with(..)` is awaited"]
    pub fn run_with<V>(self, values: V) -> impl Future<Output = Response> + Send + use<'a, N, T, V>
    where
        T: Provides,
        V: Values<T>,
    {
        let mut reach = self.into_reach();
        values.into_provided().put(reach.request_mut().extensions_mut());
        reach.run()
    }

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

impl<'a> Next<'a> {
    pub(crate) fn from_reach(reach: Indirect<'a>) -> Self {
        Self { reach, kept: Extensions::new(), provides: PhantomData }
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
        let extensions = req.extensions_mut();
        if !self.kept.is_empty() {
            restore(extensions, mem::take(&mut self.kept));
        }
        if !extensions.is_empty() {
            self.kept = extensions.clone();
            extensions.insert(SameRequest);
        }
        req
    }
}

impl<N: Endpoint, T> std::fmt::Debug for Next<'_, N, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Next")
    }
}

/// What [`Chain::use_`](crate::Chain::use_) and [`Chain::always`](crate::Chain::always) take.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be used as middleware",
    label = "neither an `async fn(.., Next<'_>)`, nor a `Middleware` or `Dependent`, nor a `tower::Layer` that fits",
    note = "write `tower_chain::from_fn(f)`, or `from_fn_with::<(A, B), _, _>(f)` with the types before `Next`, and the compiler names the part of a function that does not fit; a closure that captures needs `tower_chain::from_closure(f)`",
    note = "seen most: `async` is missing; `Next<'_>` is not the last argument, or another crate's; `Request` is taken beside `Next`, which holds it; the result is not `IntoResponse`; a lock or an `Rc` is held over an `.await`; an `Option` of middleware that provides a value",
    note = "a layer fits if its service is `Clone + Send + Sync`, takes a `tower_chain::Request`, and answers with a body of `Bytes`"
)]
pub trait IntoMiddleware<Kind> {
    #[doc(hidden)]
    type Args;
    #[doc(hidden)]
    type Step<P, W>;
    #[doc(hidden)]
    type Provides: Provides;
    #[doc(hidden)]
    fn into_step<P, W>(self) -> Self::Step<P, W>;
}

#[doc(hidden)]
#[derive(Debug)]
pub struct AsMiddleware;

impl<M: Middleware> IntoMiddleware<AsMiddleware> for M {
    type Args = ();
    type Step<P, W> = M;
    type Provides = M::Provides;

    fn into_step<P, W>(self) -> M {
        self
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
