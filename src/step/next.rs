//! Middleware, and the `Next` that it receives.
//!
//! The fourth file on the path of a request: `step/around.rs` makes a [`Next`] and calls the middleware with it, and
//! [`Next::run`] calls the rest of the chain. The rest is another `Around`, or a path table (next: `chain/table.rs`), or the end of
//! a scope (`step/end.rs`).
//!
//! There are two forms of `Next`. In a [`Middleware`] the type of the rest is known, and the call is direct. A function takes the same
//! `Next<'_>` whatever follows it, so the type of the rest is erased. `step/reach.rs` has both; to follow a request, read
//! `self.into_reach().run()` as `tail.call(req, cx)`.

use std::future::Future;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;

use http::{Extensions, HeaderMap, Method, Uri, Version};

use crate::declare::Declaration;
use crate::provide::{Provides, Values};
use crate::route::listing::short_name;
use crate::route::pattern::rest_after;
use crate::step::reach::{Direct, Endpoint, Erased, Indirect, Reach, RestSlot};
use crate::step::route::CurrentRoute;
use crate::step::tail::{Cx, Tail};
use crate::{Body, Request, Response};

/// A step that wraps the steps after it.
///
/// `call` receives the request before the steps after it, and their response after them. It either answers the request itself,
/// or passes it on with [`Next::run`]. It can do this only once, because `run` consumes the [`Next`].
///
/// [`Provides`](Middleware::Provides) lists the values that later steps may take as arguments: `()` for nothing, `(T,)` for a
/// value of type `T`, which is passed on with [`Next::run_with`]. [`MiddlewareExt`](crate::MiddlewareExt) has methods for all middleware.
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
    /// The values that the steps after this one may take as arguments: `()`, `(T,)` or `(T, U)`.
    type Provides: Provides;

    /// Answers the request, or passes it on and returns the response of the rest of the chain, changed or not.
    ///
    /// Implement it as `async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response`, without named lifetimes; if it provides values,
    /// with `next: Next<'_, N, (T,)>`.
    fn call<N: Endpoint>(
        &self,
        next: Next<'_, N, Self::Provides>,
    ) -> impl Future<Output = Response> + Send;

    /// The name of the step in [`ChainService::routes`](crate::ChainService::routes).
    ///
    /// Defaults to the name of the type or function.
    fn name(&self) -> String {
        short_name::<Self>()
    }

    /// Declares what the step answers, requires and adds: see [`Declaration`].
    ///
    /// It is called when a chain is built, never for a request. Defaults to an empty declaration.
    fn declare(&self, to: &mut Declaration) {
        let _ = to;
    }
}

/// A request, and the rest of the chain. It derefs to [`Request`], and [`run`](Next::run) passes the request on.
///
/// A function takes `Next<'_>`. A [`Middleware`] takes `Next<'_, N>`, where `N` is the type of the rest of the chain, and
/// `Next<'_, N, T>` if it provides `T`. [`NextWith`] is the form for functions that provide values.
///
/// `run` consumes it, so the rest of the chain runs at most once. If it is dropped instead, the rest doesn't run.
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
/// `next.headers_mut()`, `next.uri_mut()` and the other methods change parts of the request. `*next = request` replaces it. A
/// replaced request keeps the extensions of the old one, which include all values that earlier steps provided. If both have a
/// value of the same type, the value of the new request is kept. The extensions are merged when the request is passed on, or borrowed
/// mutably again. This requires a clone of the extensions for each mutable borrow of the whole request (`*next = ..`, `&mut *next`).
/// The methods don't clone them.
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
        Self { reach: Direct { req, tail, cx }, provides: PhantomData }
    }
}

// The bounds on `T` are on `run` and `run_with`, not on the block. Only then does the compiler show the messages of `Values` and
// `Provides`.
impl<'a, N: Endpoint, T> Next<'a, N, T> {
    /// Passes the request on, and returns the response of the steps after this one. For middleware that provides nothing.
    ///
    /// Dropping the future, as a timeout does, drops the rest of the chain immediately.
    #[inline(always)]
    #[must_use = "the steps after this one run only when `next.run()` is awaited"]
    pub fn run(self) -> impl Future<Output = Response> + Send + use<'a, N, T>
    where
        (): Values<T>,
    {
        self.into_reach().run()
    }

    /// Passes the request on, together with the values that this middleware provides: one value as it is, several as a tuple.
    /// [`Provides`] has an example.
    #[inline(always)]
    #[must_use = "the steps after this one run only when `next.run_with(..)` is awaited"]
    pub fn run_with<V>(self, values: V) -> impl Future<Output = Response> + Send + use<'a, N, T, V>
    where
        T: Provides,
        V: Values<T>,
    {
        let mut reach = self.into_reach();
        let cx = reach.cx();
        let extensions = reach.request_mut().extensions_mut();
        values.into_provided().put(extensions, &cx.built.shared, cx.scope.end);
        reach.run()
    }

    /// The pattern that the path of this request matched, such as `/users/{id}`; `None` if no path did.
    pub fn matched_path(&self) -> Option<&'a str> {
        self.reach.cx().matched_path()
    }

    /// The route of the request, which can also be read after the request was passed on.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Next, Response};
    ///
    /// async fn count(next: Next<'_>) -> Response {
    ///     let route = next.current_route();
    ///     let response = next.run().await;
    ///     println!("{:?} {}", route.pattern(), response.status());
    ///     response
    /// }
    ///
    /// let chain = Chain::new().always(count).get(async || "hello");
    /// # let _ = chain.build();
    /// ```
    pub fn current_route(&self) -> CurrentRoute<'a> {
        CurrentRoute(self.reach.cx())
    }

    /// The part of the path after the path of this chain: in a chain mounted at `/users`, `/7` for `/users/7`.
    ///
    /// It begins with a slash, and is percent-encoded as the client sent it.
    pub fn rest_path(&self) -> &str {
        rest_after(self.uri().path(), self.reach.cx().scope.depth as usize)
    }

    /// The method of the request, mutable. The steps that follow are already chosen, so a change has no effect on them.
    pub fn method_mut(&mut self) -> &mut Method {
        self.request_mut().method_mut()
    }

    /// The URI of the request, mutable. The steps that follow are already chosen, so a change has no effect on which steps run,
    /// except for a prefix of [`use_at`](crate::Chain::use_at).
    pub fn uri_mut(&mut self) -> &mut Uri {
        self.request_mut().uri_mut()
    }

    /// The version of the request, mutable.
    pub fn version_mut(&mut self) -> &mut Version {
        self.request_mut().version_mut()
    }

    /// The header fields of the request, mutable.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request_mut().headers_mut()
    }

    /// The extensions of the request, mutable. They include the values that earlier steps provided.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.request_mut().extensions_mut()
    }

    /// The body of the request, mutable.
    pub fn body_mut(&mut self) -> &mut Body {
        self.request_mut().body_mut()
    }

    /// The request, for code of this crate, which doesn't replace it. Unlike `deref_mut`, it does not clone the extensions. If the request
    /// was replaced, its extensions are merged first.
    #[inline(always)]
    pub(crate) fn request_mut(&mut self) -> &mut Request {
        let kept = self.reach.cx().kept;
        let req = self.reach.request_mut();
        if kept.is_lent() {
            kept.restore(req.extensions_mut());
        }
        req
    }

    #[inline(always)]
    pub(crate) fn cx(&self) -> &'a Cx<'a> {
        self.reach.cx()
    }

    /// Moves the request and the rest into a slot, and returns the `Next` that reaches them there, without the type of the rest.
    /// `run` calls the rest.
    pub(crate) fn through<'s, R, F>(
        self,
        mut slot: Pin<&'s mut RestSlot<N::Reach<'a>, R, F>>,
        run: R,
    ) -> Next<'s, Erased, T>
    where
        'a: 's,
        R: FnOnce(N::Reach<'a>) -> F + Send,
        F: Future<Output = Response> + Send,
    {
        let cx = self.reach.cx();
        slot.as_mut().begin((self.reach, run));
        Next { reach: Indirect { slot, cx }, provides: PhantomData }
    }

    /// Ends the borrow of the request: if it was replaced, its extensions are merged.
    #[inline(always)]
    fn into_reach(mut self) -> N::Reach<'a> {
        if self.cx().kept.is_lent() {
            self.request_mut();
        }
        self.reach
    }
}

impl<'a> Next<'a> {
    pub(crate) fn from_reach(reach: Indirect<'a>) -> Self {
        Self { reach, provides: PhantomData }
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
        let cx = self.cx();
        let req = self.request_mut();
        // Extractors that are called with the request look for the matched path.
        cx.show_match(req);
        cx.kept.lend(req.extensions_mut());
        req
    }
}

impl<N: Endpoint, T> std::fmt::Debug for Next<'_, N, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Next")
    }
}

/// The argument of [`Chain::use_`](crate::Chain::use_) and [`Chain::always`](crate::Chain::always).
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be used as middleware",
    label = "neither an `async fn(.., Next<'_>)`, nor a `Middleware` or `Dependent`, nor a `tower::Layer` that fits",
    note = "write `tower_chain::from_fn(f)`, or `from_fn_with::<(A, B), _, _>(f)` with the types before `Next`, and the compiler names the part of a function that does not fit; a closure that captures needs `tower_chain::from_closure(f)`",
    note = "a function without `Next` that returns a `Result` is a guard: `.guard(f)`; a `Result` of a built-in step needs `?`, as in `.use_(Jwt::<C>::hs256(secret)?)`; a prefix is for `.use_at(prefix, m)`, and a chain for `.mount(path, chain)` or, as a step, `.use_(chain.into_layer())`",
    note = "seen most: `async` is missing; `Next<'_>` is not the last argument, or another crate's; `Request` is taken beside `Next`, which holds it; the result is not `IntoResponse`; a lock or an `Rc` is held over an `.await`; more than 8 arguments are before `Next`; an `Option` of middleware that provides a value; a reference instead of a value; a limit without its time, as in `RateLimit::per_client(9).every(minute)`",
    note = "a layer fits if its service is `Clone + Send + Sync`, takes a `tower_chain::Request`, and answers with a body of `Bytes`"
)]
pub trait IntoMiddleware<Kind> {
    #[doc(hidden)]
    type Args;
    #[doc(hidden)]
    type Step<R>;
    #[doc(hidden)]
    type Provides: Provides;
    /// The step, and its declaration from outside if it has one.
    #[doc(hidden)]
    fn into_step<R>(self) -> (Self::Step<R>, Option<Declare>);
}

/// A declaration from outside. Called once, when the chain is built.
pub(crate) type Declare = Box<dyn FnOnce(&mut Declaration) + Send>;

#[doc(hidden)]
#[derive(Debug)]
pub struct AsMiddleware;

impl<M: Middleware> IntoMiddleware<AsMiddleware> for M {
    type Args = ();
    type Step<R> = M;
    type Provides = M::Provides;

    fn into_step<R>(self) -> (M, Option<Declare>) {
        (self, None)
    }
}
