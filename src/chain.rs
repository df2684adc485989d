//! The builder.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use axum_core::BoxError;
use axum_core::response::IntoResponse;
use bytes::Bytes;
use http::Method;
use http_body::Body as HttpBody;
use tower::Service;

use crate::adapter::{ChainLayer, ChainService, Root, ServicePath, static_service};
use crate::answer::End;
use crate::build::BuildError;
use crate::guard::{Guard, GuardFn, Provide};
use crate::handler::{Arguments, IntoHandler, IntoMiddleware, Passing};
use crate::hooks::{CatchPanics, OnError};
use crate::next::Middleware;
use crate::provide::{Cons, Expected, Nil, NothingExpected, Provides, Superset};
use crate::route::{Place, Registrar, Routes, Settings};
use crate::step::{AllSteps, Assembly, BoxSteps, Hook, On, Open, Push, Scope, Steps, Use};
use crate::{Error, Request, Response};

/// An ordered list of steps: middleware, handlers and paths.
///
/// ```text
/// Chain::new().use_(a).use_(b).get(h)     a request runs through a, b, h
///                                         its response through   h, b, a
/// ```
///
/// First written runs first. A step covers the steps after it and nothing before it. A chain is a value: each call takes it
/// and gives back a longer one, so that nothing written elsewhere can change it, and [`build`](Chain::build) freezes it.
///
/// # Matching comes first
///
/// Path and method are matched before anything runs. Where no path matches, the answer is 404 (see
/// [`on_no_match`](Chain::on_no_match)); where a path matches but not the method, it is 405 with a complete `Allow`
/// (see [`on_method_not_allowed`](Chain::on_method_not_allowed)). Steps added with [`use_`](Chain::use_) and [`guard`](Chain::guard) do
/// not run then, those added with [`always`](Chain::always) do. So an unknown path behind an authentication answers 404, not 401.
///
/// # Paths
///
/// | pattern | matches |
/// | --- | --- |
/// | `/users` | `/users` and `/users/` (see [`strict_slash`](Chain::strict_slash)) |
/// | `/users/{id}` | one segment that is not empty |
/// | `/files/{name}.png` | a part of a segment; such patterns are tried one by one, so have few of them |
/// | `/files/{*rest}` | all that follows, at least one character |
/// | `/a.b+c(d)`, `/a b`, `/日本` | these characters, percent-encoded by the client or not |
/// | `/{{x}}` | literal braces |
///
/// Static segments come before parameters, and both before catch-alls, whatever the order of writing. Paths are case-sensitive. A handler without a path
/// answers any path in the outermost chain, and exactly the path of the chain inside [`at`](Chain::at) or [`mount`](Chain::mount).
///
/// HEAD is answered by the GET handler if there is none for HEAD. OPTIONS is answered with 204 and `Allow` unless a handler, or a CORS layer added
/// with [`always`](Chain::always), answers.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, Next, Request, Response};
///
/// async fn log(next: Next<'_>) -> Response {
///     let path = next.uri().path().to_owned();
///     let response = next.run().await;
///     println!("{path} {}", response.status());
///     response
/// }
///
/// let service = Chain::new()
///     .always(log)
///     .at("/hello", |c| c.get(async || "hello").post(async |name: String| format!("hello, {name}")))
///     .build();
/// # let _ = service;
/// ```
#[must_use = "a chain does nothing until it is built"]
pub struct Chain<S = Steps, P = Nil, A = Nil, E = ()> {
    steps: S,
    settings: Settings,
    kind: PhantomData<fn() -> (P, A, E)>,
}

impl<S, P, A, E> fmt::Debug for Chain<S, P, A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The empty chain. It answers 404.
    pub fn new() -> Self {
        Self::of(Steps::new(), Settings::default())
    }

    /// A chain that needs something of the chain in which it is mounted: a tuple of what steps there provide.
    ///
    /// [Mounting](Chain::mount) it where that is missing does not compile.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Provided};
    ///
    /// #[derive(Clone)]
    /// struct Database;
    ///
    /// let users = Chain::expecting::<(Database,)>().get(async |_: Provided<Database>| "users");
    /// let api = Chain::new().provide(Database).mount("/users", users).build();
    /// # let _ = api;
    /// ```
    pub fn expecting<T: Expected>() -> Chain<Steps, T::List, Nil, T> {
        Chain::of(Steps::new(), Settings::default())
    }

    /// A chain whose steps may take anything as provided.
    #[cfg(feature = "test-util")]
    pub(crate) fn of_anything()
    -> Chain<Steps, crate::provide::Anything, crate::provide::Anything, ()> {
        Chain::of(Steps::new(), Settings::default())
    }

    /// One middleware as a layer.
    pub(crate) fn layer_of<M: Middleware>(middleware: M) -> ChainLayer {
        let steps = Steps::new().push(Use::new(middleware, "use", false));
        Chain::<_>::of(steps, Settings::default()).into_layer()
    }
}

/// The list of steps with one more.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "it stands in public signatures")]
pub type Pushed<S, X> = <S as Push<X>>::Out;

/// The step that a middleware becomes.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "it stands in public signatures")]
pub type Used<M, K, P, W> = Use<<M as IntoMiddleware<K>>::Step<P, W>>;

/// The step that a handler becomes.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "it stands in public signatures")]
pub type Handling<H, K, P, W> = On<<H as IntoHandler<K>>::Step<P, W>>;

/// The step that the handler of a hook becomes.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "it stands in public signatures")]
pub type Hooked<H, K, P, W> = Hook<<H as IntoHandler<K>>::Step<P, W>>;

/// What is provided after a middleware.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "it stands in public signatures")]
pub type After<M, K, P> = <<M as IntoMiddleware<K>>::Provides as Provides>::Onto<P>;

impl<S, P, A, E> Chain<S, P, A, E> {
    fn of(steps: S, settings: Settings) -> Self {
        Self { steps, settings, kind: PhantomData }
    }

    fn push<X, P2, A2>(self, step: X) -> Chain<S::Out, P2, A2, E>
    where
        S: Push<X>,
    {
        Chain::of(self.steps.push(step), self.settings)
    }

    /// Adds middleware for the steps after it. It runs only for requests that one of them answers.
    ///
    /// It takes an `async fn(Request, Next<'_>)` whose result is `IntoResponse`, with up to eight extractors and provided values before
    /// `Request`; a type that implements [`Middleware`]; or any [`tower::Layer`], which is applied once, when the chain is built.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Next, Request, Response};
    ///
    /// async fn no_store(next: Next<'_>) -> Response {
    ///     let mut response = next.run().await;
    ///     response.headers_mut().insert("cache-control", http::HeaderValue::from_static("no-store"));
    ///     response
    /// }
    ///
    /// let chain = Chain::new().use_(no_store).get(async || "hello");
    /// # let _ = chain.build();
    /// ```
    pub fn use_<M, K, W>(
        self,
        middleware: M,
    ) -> Chain<Pushed<S, Used<M, K, P, W>>, After<M, K, P>, A, E>
    where
        M: IntoMiddleware<K>,
        M::Args: Arguments<P, W>,
        S: Push<Used<M, K, P, W>>,
    {
        self.push(Use::new(middleware.into_step(), "use", false))
    }

    /// Adds middleware that runs for every request that reaches the chain, matched or not: logging, request ids, CORS, a limiter against scanners.
    ///
    /// It takes what [`use_`](Chain::use_) takes. As arguments it may take only what always is provided: by
    /// [`provide`](Chain::provide), or by another `always` step.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Next, Request, Response};
    ///
    /// async fn log(next: Next<'_>) -> Response {
    ///     let path = next.uri().path().to_owned();
    ///     let response = next.run().await;
    ///     println!("{path} {}", response.status()); // 404 as well
    ///     response
    /// }
    ///
    /// let chain = Chain::new()
    ///     .always(log)
    ///     .always(tower_http::cors::CorsLayer::permissive())
    ///     .at("/hello", |c| c.get(async || "hello"));
    /// # let _ = chain.build();
    /// ```
    pub fn always<M, K, W>(
        self,
        middleware: M,
    ) -> Chain<Pushed<S, Used<M, K, A, W>>, After<M, K, P>, After<M, K, A>, E>
    where
        M: IntoMiddleware<K>,
        M::Args: Arguments<A, W>,
        S: Push<Used<M, K, A, W>>,
    {
        self.push(Use::new(middleware.into_step(), "always", true))
    }

    /// Adds middleware for the steps after it, for paths under a prefix: `/prefix`, `/prefix/` and `/prefix/x`, not `/prefixed`.
    ///
    /// It takes what [`use_`](Chain::use_) takes, as long as it provides nothing. The prefix is relative to the path of the chain;
    /// `{name}` in it stands for any segment.
    ///
    /// What a file server could take for a path under the prefix, such as `//prefix/x` or `/prefix%2Fx`, is one here as well.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Error, Next, Request, Response, StatusCode};
    ///
    /// async fn members(next: Next<'_>) -> Result<Response, Error> {
    ///     if !next.headers().contains_key("authorization") {
    ///         return Err(Error::new(StatusCode::UNAUTHORIZED, "For members"));
    ///     }
    ///     Ok(next.run().await)
    /// }
    ///
    /// let files = tower_http::services::ServeDir::new("public");
    /// let chain = Chain::new().use_at("/inner", members).service("/", files);
    /// # let _ = chain.build();
    /// ```
    #[track_caller]
    pub fn use_at<M, K, W>(
        self,
        prefix: &str,
        middleware: M,
    ) -> Chain<Pushed<S, Used<M, K, P, W>>, P, A, E>
    where
        M: IntoMiddleware<K, Provides = ()>,
        M::Args: Arguments<P, W>,
        S: Push<Used<M, K, P, W>>,
    {
        self.push(Use::new(middleware.into_step(), "use_at", false).at(prefix, Location::caller()))
    }

    /// Adds a check: an `async fn` of up to eight extractors and provided values that returns `Result<T, E>`.
    ///
    /// `Err` is the answer. `Ok(T)` goes on, and the steps after it may take [`Provided<T>`](crate::Provided). Like [`use_`](Chain::use_), it
    /// runs only for requests that a later step answers. It can't read the body.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Error, Provided, StatusCode};
    ///
    /// #[derive(Clone)]
    /// struct Tenant(String);
    ///
    /// async fn tenant(headers: http::HeaderMap) -> Result<Tenant, Error> {
    ///     let name = headers.get("x-tenant").and_then(|name| name.to_str().ok());
    ///     name.map(|name| Tenant(name.to_owned()))
    ///         .ok_or_else(|| Error::new(StatusCode::BAD_REQUEST, "The header `x-tenant` is missing"))
    /// }
    ///
    /// let chain = Chain::new().guard(tenant).get(async |tenant: Provided<Tenant>| tenant.0.0);
    /// # let _ = chain.build();
    /// ```
    #[allow(clippy::type_complexity, reason = "it is written out by the compiler alone")]
    pub fn guard<F, G, W>(
        self,
        check: F,
    ) -> Chain<Pushed<S, Use<Guard<F, G, P, W>>>, Cons<F::Value, P>, A, E>
    where
        F: GuardFn<G>,
        Passing<G>: Arguments<P, W>,
        S: Push<Use<Guard<F, G, P, W>>>,
    {
        self.push(Use::new(Guard::new(check), "guard", false))
    }

    /// Adds state: every step after it may take [`Provided<T>`](crate::Provided). Each request gets a clone.
    ///
    /// # Example
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tower_chain::{Chain, Provided};
    ///
    /// struct Pool; // not `Clone`
    ///
    /// let chain = Chain::new().provide(Arc::new(Pool)).get(async |_: Provided<Arc<Pool>>| "hello");
    /// # let _ = chain.build();
    /// ```
    #[allow(clippy::type_complexity, reason = "it is written out by the compiler alone")]
    pub fn provide<T>(
        self,
        value: T,
    ) -> Chain<Pushed<S, Use<Provide<T>>>, Cons<T, P>, Cons<T, A>, E>
    where
        T: Clone + Send + Sync + 'static,
        S: Push<Use<Provide<T>>>,
    {
        self.push(Use::new(Provide(value), "provide", true))
    }

    /// Adds a handler for GET, and for HEAD unless there is one.
    ///
    /// A handler is an `async fn` of up to twelve extractors and provided values whose result is `IntoResponse`; the last one may read the body.
    /// Or it is an `async fn(.., Request, Next<'_>)` as for [`use_`](Chain::use_), which may pass the request on to the next step that
    /// matches. Past the last one the answer is that of [`on_no_match`](Chain::on_no_match).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Next, Request, Response};
    ///
    /// async fn hello(headers: http::HeaderMap) -> String {
    ///     format!("hello, {:?}", headers.get("user-agent"))
    /// }
    ///
    /// // Answers some requests, and passes the others on.
    /// async fn english(next: Next<'_>) -> Response {
    ///     if next.headers().get("accept-language").is_some_and(|language| language == "en") {
    ///         return Response::new("good morning".into());
    ///     }
    ///     next.run().await
    /// }
    ///
    /// let chain = Chain::new().get(english).get(hello);
    /// # let _ = chain.build();
    /// ```
    #[track_caller]
    pub fn get<H, K, W>(self, handler: H) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.handler(Some(Method::GET), handler)
    }

    /// Adds a handler for POST. See [`get`](Chain::get).
    #[track_caller]
    pub fn post<H, K, W>(self, handler: H) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.handler(Some(Method::POST), handler)
    }

    /// Adds a handler for PUT. See [`get`](Chain::get).
    #[track_caller]
    pub fn put<H, K, W>(self, handler: H) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.handler(Some(Method::PUT), handler)
    }

    /// Adds a handler for PATCH. See [`get`](Chain::get).
    #[track_caller]
    pub fn patch<H, K, W>(self, handler: H) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.handler(Some(Method::PATCH), handler)
    }

    /// Adds a handler for DELETE. See [`get`](Chain::get).
    #[track_caller]
    pub fn delete<H, K, W>(self, handler: H) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.handler(Some(Method::DELETE), handler)
    }

    /// Adds a handler for HEAD. The body of its response is dropped. See [`get`](Chain::get).
    #[track_caller]
    pub fn head<H, K, W>(self, handler: H) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.handler(Some(Method::HEAD), handler)
    }

    /// Adds a handler for OPTIONS, instead of the automatic answer. See [`get`](Chain::get).
    #[track_caller]
    pub fn options<H, K, W>(self, handler: H) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.handler(Some(Method::OPTIONS), handler)
    }

    /// Adds a handler for QUERY, a safe method with a body. See [`get`](Chain::get).
    #[track_caller]
    pub fn query<H, K, W>(self, handler: H) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.handler(Some(Method::QUERY), handler)
    }

    /// Adds a handler for every method, so that there is no 405. See [`get`](Chain::get).
    #[track_caller]
    pub fn all<H, K, W>(self, handler: H) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.handler(None, handler)
    }

    /// Adds a handler for any method, such as one of WebDAV. Methods are case-sensitive. See [`get`](Chain::get).
    ///
    /// # Example
    ///
    /// ```
    /// use http::Method;
    /// use tower_chain::Chain;
    ///
    /// # fn main() -> Result<(), http::method::InvalidMethod> {
    /// let propfind = Method::from_bytes(b"PROPFIND")?;
    /// let chain = Chain::new().on(propfind, async || "<multistatus/>");
    /// # let _ = chain.build();
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn on<H, K, W>(
        self,
        method: Method,
        handler: H,
    ) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.handler(Some(method), handler)
    }

    #[track_caller]
    fn handler<H, K, W>(
        self,
        method: Option<Method>,
        handler: H,
    ) -> Chain<Pushed<S, Handling<H, K, P, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        S: Push<Handling<H, K, P, W>>,
    {
        self.push(On::new(handler.into_step(), method, H::PASSES, Location::caller()))
    }

    /// Adds a path. The steps inside belong to it; they may take what is provided so far.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    ///
    /// let chain = Chain::new().at("/users", |c| {
    ///     c.get(async || "all users").at("/{id}", |c| c.get(async || "one user"))
    /// });
    /// # let _ = chain.build();
    /// ```
    #[track_caller]
    pub fn at<F, S2, P2, A2>(self, path: &str, steps: F) -> Chain<S::Out, P, A, E>
    where
        F: FnOnce(Chain<Steps, P, A>) -> Chain<S2, P2, A2>,
        S: Open,
        S2: AllSteps,
    {
        let place = Location::caller();
        let inside = steps(Chain::of(Steps::new(), Settings::default()));
        self.scope(path, place, inside.steps, inside.settings)
    }

    /// Adds a chain that was made elsewhere, at a path. Its middleware never touches what stands beside it.
    ///
    /// It takes a [`Chain`] or a [`Sealed`] one. What it [expects](Chain::expecting) must be provided here. The URI is left as it is; the
    /// paths of the mounted chain match what follows `path`.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Path};
    ///
    /// let users = Chain::new()
    ///     .get(async || "all users")
    ///     .at("/{id}", |c| c.get(async |Path(id): Path<u32>| format!("user {id}")));
    /// let api = Chain::new().mount("/api/users", users).build();
    /// assert_eq!(api.routes()[1].pattern(), Some("/api/users/{id}"));
    /// ```
    #[track_caller]
    pub fn mount<M, I>(self, path: &str, chain: M) -> Chain<S::Out, P, A, E>
    where
        M: Mountable<P, I>,
        S: Open,
    {
        let (steps, settings) = chain.into_steps();
        self.scope(path, Location::caller(), steps, settings)
    }

    fn scope<S2: AllSteps>(
        self,
        path: &str,
        place: Place,
        steps: S2,
        settings: Settings,
    ) -> Chain<S::Out, P, A, E>
    where
        S: Open,
    {
        let scope = Scope::new(path, place, steps, settings);
        Chain::of(self.steps.open(Box::new(scope)), self.settings)
    }

    /// Adds any tower service at a path, for all methods: it answers the path itself and all that is under it.
    ///
    /// What protects a part of it belongs into [`use_at`](Chain::use_at), not into a path beside it: a file server takes `//admin` and
    /// `/admin%2Fx` for paths under `/admin`, and so does `use_at`, while the chain matches them as they are written.
    ///
    /// The service sees the path without what stands before it, as file servers and foreign routers want it. Readiness is respected:
    /// each request gets a clone that was polled ready.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Body, Chain, Request, Response};
    ///
    /// let files = tower::service_fn(async |req: Request| {
    ///     Ok::<_, std::convert::Infallible>(Response::new(Body::from(req.uri().path().to_owned())))
    /// });
    /// let chain = Chain::new().service("/static", files);
    /// # let _ = chain.build();
    /// ```
    #[track_caller]
    pub fn service<T, B>(self, path: &str, service: T) -> Chain<S::Out, P, A, E>
    where
        T: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        S: Open,
    {
        let path = ServicePath::new(path, Location::caller(), service);
        Chain::of(self.steps.open(Box::new(path)), self.settings)
    }

    /// Renders the errors of the steps after it and inside them: an `async fn(Error)` whose result is `IntoResponse`.
    ///
    /// It sees errors of extractors, guards, middleware and handlers, and the chain's own refusals such as 404. The headers that middleware set on the
    /// response are kept. Of several hooks the innermost renders. Errors that nobody renders are problem+json (see [`Error`]).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Error};
    ///
    /// async fn plain(error: Error) -> (http::StatusCode, String) {
    ///     (error.status(), error.title().to_owned())
    /// }
    ///
    /// let chain = Chain::new().on_error(plain).get(async || "hello");
    /// # let _ = chain.build();
    /// ```
    pub fn on_error<F, Fut>(self, render: F) -> Chain<Pushed<S, Use<OnError<F>>>, P, A, E>
    where
        F: Fn(Error) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoResponse> + Send,
        S: Push<Use<OnError<F>>>,
    {
        self.push(Use::new(OnError(render), "on_error", true))
    }

    /// Makes a 500 of a panic in the steps after it. The message of the panic is logged, not sent.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    ///
    /// let chain = Chain::new().catch_panics().get(async || -> &'static str { panic!("a bug") });
    /// # let _ = chain.build();
    /// ```
    pub fn catch_panics(self) -> Chain<Pushed<S, Use<CatchPanics>>, P, A, E>
    where
        S: Push<Use<CatchPanics>>,
    {
        self.push(Use::new(CatchPanics, "catch", true))
    }

    /// Sets what answers a request that no path matches, or that all handlers passed on: for the steps after it and inside them.
    ///
    /// It takes a handler. Defaults to 404 as problem+json.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, StatusCode};
    ///
    /// async fn nothing(uri: http::Uri) -> (StatusCode, &'static str) {
    ///     let is_api = uri.path().starts_with("/api/");
    ///     (StatusCode::NOT_FOUND, if is_api { "no such call" } else { "no such page" })
    /// }
    ///
    /// let chain = Chain::new().on_no_match(nothing).at("/hello", |c| c.get(async || "hello"));
    /// # let _ = chain.build();
    /// ```
    pub fn on_no_match<H, K, W>(self, handler: H) -> Chain<Pushed<S, Hooked<H, K, A, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<A, W>,
        S: Push<Hooked<H, K, A, W>>,
    {
        let handler = handler.into_step();
        self.push(Hook::new("on_no_match", handler, |hooks, index| hooks.no_match = Some(index)))
    }

    /// Sets what answers a request whose path matches but not its method: for the steps after it and inside them.
    ///
    /// It takes a handler. `Allow` is added to its response. Defaults to 405 as problem+json.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, StatusCode};
    ///
    /// async fn read_only() -> (StatusCode, &'static str) {
    ///     (StatusCode::METHOD_NOT_ALLOWED, "this can only be read")
    /// }
    ///
    /// let chain = Chain::new().on_method_not_allowed(read_only).get(async || "hello");
    /// # let _ = chain.build();
    /// ```
    pub fn on_method_not_allowed<H, K, W>(
        self,
        handler: H,
    ) -> Chain<Pushed<S, Hooked<H, K, A, W>>, P, A, E>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<A, W>,
        S: Push<Hooked<H, K, A, W>>,
    {
        let handler = handler.into_step();
        let name = "on_method_not_allowed";
        self.push(Hook::new(name, handler, |hooks, index| hooks.not_allowed = Some(index)))
    }

    /// Makes `/a` and `/a/` two paths. Holds for the whole chain and those inside it. Defaults to one path.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    ///
    /// let chain = Chain::new()
    ///     .strict_slash()
    ///     .at("/users", |c| c.get(async || "a list"))
    ///     .at("/users/", |c| c.get(async || "a folder"));
    /// # let _ = chain.build();
    /// ```
    pub fn strict_slash(mut self) -> Self {
        self.settings.strict_slash = true;
        self
    }

    /// Turns the automatic answer to OPTIONS off. Holds for the whole chain and those inside it.
    pub fn no_auto_options(mut self) -> Self {
        self.settings.no_auto_options = true;
        self
    }

    /// Makes it a chain whose type can be written down, so that a module can return it from a function.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Provided, Sealed};
    ///
    /// #[derive(Clone)]
    /// struct Database;
    ///
    /// fn users() -> Sealed<(Database,)> {
    ///     Chain::expecting::<(Database,)>().get(async |_: Provided<Database>| "users").seal()
    /// }
    ///
    /// let api = Chain::new().provide(Database).mount("/users", users()).build();
    /// # let _ = api;
    /// ```
    pub fn seal(self) -> Sealed<E>
    where
        S: AllSteps,
    {
        Sealed { steps: BoxSteps(Box::new(self.steps)), settings: self.settings, kind: PhantomData }
    }
}

impl<S, P, A, E> Chain<S, P, A, E> {
    /// Makes the service. From here on nothing changes any more.
    ///
    /// # Panics
    ///
    /// If a path is no pattern, if two paths are in conflict, or if no request reaches a handler. The message says where it is registered and what to change.
    /// [`try_build`](Chain::try_build) returns it instead.
    #[track_caller]
    pub fn build(self) -> ChainService
    where
        S: AllSteps,
        E: NothingExpected,
    {
        match self.try_build() {
            Ok(service) => service,
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes the service. From here on nothing changes any more.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    ///
    /// let twice = Chain::new().at("/{a}", |c| c.get(async || "a")).at("/{b}", |c| c.get(async || "b"));
    /// assert!(twice.try_build().is_err());
    /// ```
    #[track_caller]
    pub fn try_build(self) -> Result<ChainService, BuildError>
    where
        S: AllSteps,
        E: NothingExpected,
    {
        Ok(ChainService::new(Arc::new(self.root(false)?)))
    }

    /// Makes a service without the box that [`build`](Chain::build) costs each request, but of a type that can't be written down.
    ///
    /// # Panics
    ///
    /// As [`build`](Chain::build).
    ///
    /// # Example
    ///
    /// ```
    /// use tower::ServiceExt;
    /// use tower_chain::{Body, Chain};
    ///
    /// # futures_util::FutureExt::now_or_never(async {
    /// let service = Chain::new().get(async || "hello").into_service();
    /// let response = service.oneshot(http::Request::get("/").body(Body::empty())?).await?;
    /// assert_eq!(response.status(), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn into_service<B>(
        self,
    ) -> impl Service<
        http::Request<B>,
        Response = Response,
        Error = Infallible,
        Future: Future<Output = Result<Response, Infallible>> + Send + 'static,
    >
    + Clone
    + Send
    + Sync
    + 'static
    + use<S, P, A, E, B>
    where
        S: AllSteps,
        E: NothingExpected,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.root(false) {
            Ok(root) => static_service(Arc::new(root)),
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes a [`tower::Layer`]: what no handler of the chain answers goes to the service behind it.
    ///
    /// For an existing axum `Router`, say. Its middleware then runs for every request, because the service behind it may answer each.
    /// What it provides stands in the extensions of the request.
    ///
    /// # Panics
    ///
    /// As [`build`](Chain::build).
    ///
    /// # Example
    ///
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use tower_chain::{Chain, Error};
    ///
    /// async fn checked(headers: http::HeaderMap) -> Result<(), Error> {
    ///     # let _ = headers;
    ///     Ok(())
    /// }
    ///
    /// let app: Router = Router::new()
    ///     .route("/", get(async || "axum"))
    ///     .layer(Chain::new().guard(checked).into_layer());
    /// # let _ = app;
    /// ```
    #[track_caller]
    pub fn into_layer(self) -> ChainLayer
    where
        S: AllSteps,
        E: NothingExpected,
    {
        match self.root(true) {
            Ok(root) => ChainLayer::new(Arc::new(root)),
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    fn root(mut self, in_front: bool) -> Result<Root<S::Out>, BuildError>
    where
        S: AllSteps,
    {
        let mut registrar = Registrar::new(self.settings);
        self.steps.register(&mut registrar);
        let left =
            if in_front { registrar.end_in_service(Location::caller()) } else { registrar.leave() };
        let mut routes: Routes = registrar.finish(left.end)?;
        let tables = RefCell::new(Vec::new());
        let assembly = Assembly { end: left.end, tables: &tables, depth: 0 };
        let endpoint = self.steps.assemble(End::new(left.end, None), &assembly);
        routes.tables = tables.into_inner().into_iter().flatten().collect();
        Ok(Root { endpoint, routes: Arc::new(routes) })
    }
}

/// What [`Chain::mount`] takes: a [`Chain`], or a [`Sealed`] one.
pub trait Mountable<P, I> {
    #[doc(hidden)]
    type Steps: AllSteps;
    #[doc(hidden)]
    fn into_steps(self) -> (Self::Steps, Settings);
}

impl<P, I, S, P2, A, E> Mountable<P, I> for Chain<S, P2, A, E>
where
    S: AllSteps,
    E: Expected,
    P: Superset<E::List, I>,
{
    type Steps = S;

    fn into_steps(self) -> (S, Settings) {
        (self.steps, self.settings)
    }
}

impl<P, I, E> Mountable<P, I> for Sealed<E>
where
    E: Expected,
    P: Superset<E::List, I>,
{
    type Steps = BoxSteps;

    fn into_steps(self) -> (BoxSteps, Settings) {
        (self.steps, self.settings)
    }
}

/// A chain whose type can be written down, to be [mounted](Chain::mount). `E` is what it [expects](Chain::expecting). Made by [`Chain::seal`],
/// where there is an example.
#[must_use = "a chain does nothing until it is mounted"]
pub struct Sealed<E = ()> {
    steps: BoxSteps,
    settings: Settings,
    kind: PhantomData<fn() -> E>,
}

impl<E> fmt::Debug for Sealed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("settings", &self.settings).finish_non_exhaustive()
    }
}
