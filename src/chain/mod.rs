//! The builder of a chain: the methods that add steps.

// `builder` has the type `Chain`. Each method here wraps its argument in a step (`src/step/around.rs`) and appends it to the list of
// steps (`list`). Paths go into a `table`, as a `scope` or a service. `build` turns the list into a service or a layer.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod dependent;
pub(crate) mod ext;
pub(crate) mod list;
pub(crate) mod mount;
pub(crate) mod scope;
pub(crate) mod table;
mod unbuilt;

pub use self::dependent::Dependent;
pub use self::mount::Mountable;
pub use crate::provide::{Expected, FromChain, Provides, WithState};
pub(crate) use builder::Chain;

use std::panic::Location;

use axum_core::BoxError;
use bytes::Bytes;
use http::Method;
use http_body::Body as HttpBody;
use tower::Service;

use crate::chain::list::{Answer, BoxSteps, Open, Push};
use crate::chain::scope::{AddSteps, InnerChain, Scope};
use crate::declare::Documents;
use crate::declare::documents::{Guards, Serves};
use crate::function::arguments::{Arguments, Passing};
use crate::function::guard::{Guard, GuardStep, Provide};
use crate::function::handler::{HandlerFn, IntoHandler};
use crate::function::on_error::OnError;
use crate::provide::{Cons, ProvidedList, State, Stateful};
use crate::route::error::CallSite;
use crate::route::registrar::Settings;
use crate::step::around::{HandlerEntry, Hook, On, Remark, Use};
use crate::step::errors::CatchPanics;
use crate::step::next::IntoMiddleware;
use crate::tower::path::ServicePath;
use crate::{Error, Request};

/// The list of steps `S` with the step `X` appended.
#[doc(hidden)]
pub type Pushed<S, X> = <S as Push<X>>::Out;

/// The step for a middleware. `R` are the sources of its arguments.
#[doc(hidden)]
pub type Used<M, K, R> = Use<<M as IntoMiddleware<K>>::Step<R>>;

/// The step for a handler.
#[doc(hidden)]
pub type Handling<H, K, R> = On<<H as IntoHandler<K>>::Step<R>>;

/// The list of steps `S` with the handler `X` added.
#[doc(hidden)]
pub type Answered<S, X> = <S as Answer<X>>::Out;

/// The step for the handler of a hook.
#[doc(hidden)]
pub type Hooked<H, K, R> = Hook<<H as IntoHandler<K>>::Step<R>>;

/// The list of provided values after a middleware.
#[doc(hidden)]
pub type After<M, K, P> = <<M as IntoMiddleware<K>>::Provides as Provides>::Onto<P>;

impl<S, P, A, E, D> Chain<S, P, A, E, D> {
    /// Adds middleware for the steps after it. It runs only for requests that match one of their handlers.
    ///
    /// It takes an `async fn(Next<'_>)` whose result is `IntoResponse`, with up to eight extractors and provided values before
    /// [`Next`](crate::Next); a type that implements [`Middleware`](crate::Middleware); or any [`tower::Layer`], which is applied once, when the chain is built.
    /// A closure that captures values is passed through [`from_closure`](crate::from_closure).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Next, Response};
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
    #[track_caller]
    pub fn use_<M, K, W, R>(
        self,
        middleware: M,
    ) -> Chain<Pushed<S, Used<M, K, R>>, After<M, K, P>, A, E, D>
    where
        M: IntoMiddleware<K>,
        M::Args: Arguments<P, W, Sources = R>,
        S: Push<Used<M, K, R>>,
    {
        self.push(Use::declared(middleware.into_step(), "use", false))
    }

    /// Adds middleware that runs for every request that reaches the chain, matched or not: logging, request ids, CORS, a limiter against scanners.
    ///
    /// In a mounted chain, these are the requests that its handlers match, and those without a handler that belong to it. A request
    /// without a handler belongs to the innermost scope (an [`at`](Chain::at) or [`mount`](Chain::mount)) around its path that has an
    /// `always` step or a hook of its own. A path that is a literal comes before one with a parameter.
    ///
    /// It takes the same kinds of middleware as [`use_`](Chain::use_). The arguments of a function may only be values that are always
    /// provided: by [`provide`](Chain::provide), or by another `always` step.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Next, Response};
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
    #[track_caller]
    pub fn always<M, K, W, R>(
        self,
        middleware: M,
    ) -> Chain<Pushed<S, Used<M, K, R>>, After<M, K, P>, After<M, K, A>, E, D>
    where
        M: IntoMiddleware<K>,
        M::Args: Arguments<A, W, Sources = R>,
        S: Push<Used<M, K, R>>,
    {
        self.push(Use::declared(middleware.into_step(), "always", true))
    }

    /// Adds middleware for the steps after it, for paths under a prefix: `/prefix`, `/prefix/` and `/prefix/x`, not `/prefixed`.
    ///
    /// It takes the same kinds of middleware as [`use_`](Chain::use_). The prefix is relative to the path of the chain; `{name}` in it matches any segment.
    ///
    /// A value that the middleware provides exists only for requests under the prefix. Later steps take it as `Option<Provided<T>>`, `Option<Claims<C>>`
    /// and so on, which is `None` for all other requests; a service finds it in the extensions of the request. They cannot take it as
    /// [`Provided<T>`](crate::Provided), because the compiler does not know which paths are under the prefix. Where all handlers under the prefix need the
    /// value, write [`at`](Chain::at) with [`use_`](Chain::use_) in it. To check the value under the same prefix, add both steps as one layer.
    ///
    /// A [`service`](Chain::service) may parse a path differently from the chain. The middleware therefore runs for each
    /// path that any of these readers could find under the prefix:
    ///
    /// | reader | reads as `/prefix/x` |
    /// | --- | --- |
    /// | a file server | `//prefix/x`, `/./prefix/x`, `/prefix%2Fx` |
    /// | a URL type | `/a/../prefix/x`, `/a/%2e%2e/prefix/x`, `/a\..\prefix/x`, `/pre%09fix/x` |
    /// | a proxy that decodes again | `/%2570refix/x`, `/a/%252e%252e/prefix/x` |
    /// | a server that removes parameters of segments | `/prefix;a=b/x`, `/a/..;/prefix/x` |
    /// | a C library | `/prefix%00.png` |
    ///
    /// It also runs for `/prefix/../x`, which some of them don't resolve. Case matters, as everywhere in a chain: where the
    /// file system ignores it, guard the whole service with [`use_`](Chain::use_).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Error, Next, Response, StatusCode};
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
    ///
    /// An authentication, and a check of the caller that it provides:
    ///
    /// ```
    /// use tower_chain::{Chain, Error, NextWith, Provided, Response, StatusCode};
    ///
    /// #[derive(Clone)]
    /// struct User(&'static str);
    ///
    /// async fn sign_in(next: NextWith<'_, (User,)>) -> Response {
    ///     next.run_with(User("ann")).await // From a session, say.
    /// }
    ///
    /// async fn admins(user: Provided<User>) -> Result<(), Error> {
    ///     (user.0.0 == "ann").then_some(()).ok_or_else(|| Error::new(StatusCode::FORBIDDEN, "For admins"))
    /// }
    ///
    /// let greeting = async |user: Option<Provided<User>>| match user {
    ///     Some(user) => format!("hello, {}", user.0.0),
    ///     None => "hello, stranger".to_owned(),
    /// };
    /// let chain = Chain::new()
    ///     .use_at("/admin", Chain::new().use_(sign_in).guard(admins).into_layer())
    ///     .at("/{*path}", |c| c.get(greeting));
    /// # let _ = chain.build();
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use tower_chain::{Chain, NextWith, Provided, Response};
    /// # #[derive(Clone)] struct User(&'static str);
    /// # async fn sign_in(next: NextWith<'_, (User,)>) -> Response { next.run_with(User("ann")).await }
    /// let chain = Chain::new().use_at("/admin", sign_in).get(async |user: Provided<User>| user.0.0);
    /// ```
    #[track_caller]
    pub fn use_at<M, K, W, R>(
        self,
        prefix: &str,
        middleware: M,
    ) -> Chain<Pushed<S, Used<M, K, R>>, P, A, E, D>
    where
        M: IntoMiddleware<K>,
        M::Args: Arguments<P, W, Sources = R>,
        S: Push<Used<M, K, R>>,
    {
        self.push(Use::declared(middleware.into_step(), "use_at", false).at(prefix))
    }

    /// Adds a check: an `async fn` of up to eight extractors and provided values that returns `Result<T, E>`.
    ///
    /// `Err` is the response. With `Ok(T)` the request continues, and the steps after it may take [`Provided<T>`](crate::Provided). Like [`use_`](Chain::use_), it
    /// runs only for requests that match a later handler. It can't read the body. [`Guard`] is the type of a function that makes guards, as
    /// in `.guard(can("create"))`.
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
    #[track_caller]
    #[allow(clippy::type_complexity, reason = "it is written out by the compiler alone")]
    pub fn guard<F, G, W, R, O>(
        self,
        check: F,
    ) -> Chain<Pushed<S, Use<GuardStep<O, G, R>>>, Cons<F::Value, P>, A, E, D>
    where
        F: Guard<G, Own = O>,
        Passing<G>: Arguments<P, W, Sources = R>,
        S: Push<Use<GuardStep<O, G, R>>>,
        D: Documents<Guards<O, G, R>>,
    {
        let step = Use::new(GuardStep::new(check.own()), "guard", false);
        self.push(step.in_each_pass().described(D::DESCRIBE))
    }

    /// Adds state: every step after it may take [`Provided<T>`](crate::Provided). Each request gets a clone: `T` is `Clone + Send + Sync`.
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
    #[track_caller]
    #[allow(clippy::type_complexity, reason = "it is written out by the compiler alone")]
    pub fn provide<T>(
        self,
        value: T,
    ) -> Chain<Pushed<S, Use<Provide<T>>>, Cons<T, P>, Cons<T, A>, E, D>
    where
        T: State,
        S: Push<Use<Provide<T>>>,
    {
        self.push(Use::new(Provide(value), "provide", true))
    }

    /// Adds state, as [`provide`](Chain::provide) does, and gives it to all extractors after it.
    ///
    /// An extractor is a `FromRequestParts<S>`. In a chain with a state, `S` is its type; otherwise `S` is `()`. So extractors for an axum
    /// application compile in a chain as they are: those that require `AppState: FromRef<S>`, and axum's own `State<AppState>` and
    /// `State<Pool>`. A chain that is mounted has a state of its own, or [expects](crate::chain::WithState) one.
    ///
    /// # Example
    ///
    /// ```
    /// use axum::extract::{FromRef, FromRequestParts, State};
    /// use http::request::Parts;
    /// use tower_chain::{Chain, Error, StatusCode};
    ///
    /// #[derive(Clone)]
    /// struct AppState {
    ///     token: String,
    /// }
    ///
    /// struct RequireAuth;
    ///
    /// impl<S> FromRequestParts<S> for RequireAuth
    /// where
    ///     S: Send + Sync,
    ///     AppState: FromRef<S>,
    /// {
    ///     type Rejection = Error;
    ///
    ///     async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
    ///         let AppState { token } = AppState::from_ref(state);
    ///         match parts.headers.get("authorization") {
    ///             Some(given) if given.as_bytes() == token.as_bytes() => Ok(Self),
    ///             _ => Err(Error::new(StatusCode::UNAUTHORIZED, "Who are you?")),
    ///         }
    ///     }
    /// }
    ///
    /// async fn length(_: RequireAuth, State(state): State<AppState>) -> String {
    ///     state.token.len().to_string()
    /// }
    ///
    /// let chain = Chain::new().with_state(AppState { token: "t".to_owned() }).get(length);
    /// # let _ = chain.build();
    /// ```
    #[track_caller]
    #[allow(clippy::type_complexity, reason = "it is written out by the compiler alone")]
    pub fn with_state<T>(
        self,
        state: T,
    ) -> Chain<Pushed<S, Use<Provide<T>>>, Stateful<T, Cons<T, P>>, Stateful<T, Cons<T, A>>, E, D>
    where
        T: State,
        S: Push<Use<Provide<T>>>,
    {
        self.push(Use::new(Provide(state), "with_state", true))
    }

    /// Adds a handler for GET. It also answers HEAD, unless there is a handler for HEAD.
    ///
    /// A handler is an `async fn` of up to twelve extractors and provided values whose result is `IntoResponse`; the last one may read the body.
    /// Or it is an `async fn(.., Next<'_>)` as for [`use_`](Chain::use_), which may pass the request on: first to the next handler of the
    /// same path, then to those of broader paths that match (of `/users/me`, to `/users/{id}` and then `/{*rest}`), then to handlers
    /// without a path. Middleware that runs for several of them runs once, with the first match; a [`guard`](Chain::guard) runs again for each of
    /// them, with its match and parameters. If the last one passes the request on,
    /// [`on_no_match`](Chain::on_no_match) answers it. A handler of a catch-all must not pass requests on if a more specific path is below
    /// it, for which it would not run: write [`use_at`](Chain::use_at) for such a check.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Next, Response};
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
    pub fn get<H, K, W, R>(self, handler: H) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W, Sources = R>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
    {
        self.handler(Some(Method::GET), handler)
    }

    /// Adds a handler for POST. See [`get`](Chain::get).
    #[track_caller]
    pub fn post<H, K, W, R>(self, handler: H) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W, Sources = R>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
    {
        self.handler(Some(Method::POST), handler)
    }

    /// Adds a handler for PUT. See [`get`](Chain::get).
    #[track_caller]
    pub fn put<H, K, W, R>(self, handler: H) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W, Sources = R>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
    {
        self.handler(Some(Method::PUT), handler)
    }

    /// Adds a handler for PATCH. See [`get`](Chain::get).
    #[track_caller]
    pub fn patch<H, K, W, R>(self, handler: H) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W, Sources = R>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
    {
        self.handler(Some(Method::PATCH), handler)
    }

    /// Adds a handler for DELETE. See [`get`](Chain::get).
    #[track_caller]
    pub fn delete<H, K, W, R>(self, handler: H) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W, Sources = R>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
    {
        self.handler(Some(Method::DELETE), handler)
    }

    /// Adds a handler for HEAD. The body of its response is dropped. See [`get`](Chain::get).
    #[track_caller]
    pub fn head<H, K, W, R>(self, handler: H) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W, Sources = R>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
    {
        self.handler(Some(Method::HEAD), handler)
    }

    /// Adds a handler for OPTIONS, instead of the automatic answer. See [`get`](Chain::get).
    #[track_caller]
    pub fn options<H, K, W, R>(
        self,
        handler: H,
    ) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W, Sources = R>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
    {
        self.handler(Some(Method::OPTIONS), handler)
    }

    /// Adds a handler for QUERY, a safe method with a body. See [`get`](Chain::get).
    #[track_caller]
    pub fn query<H, K, W, R>(self, handler: H) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W, Sources = R>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
    {
        self.handler(Some(query()), handler)
    }

    /// Adds a handler for every method but CONNECT, which would turn the connection into a tunnel: only `on(Method::CONNECT, ..)` and a
    /// [`service`](Chain::service) answer it. The path answers 405 to no other method. See [`get`](Chain::get).
    #[track_caller]
    pub fn all<H, K, W, R>(self, handler: H) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W, Sources = R>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
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
    pub fn on<H, K, W, R>(
        self,
        method: Method,
        handler: H,
    ) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<P, W, Sources = R>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
    {
        self.handler(Some(method), handler)
    }

    #[track_caller]
    fn handler<H, K, R>(
        self,
        method: Option<Method>,
        handler: H,
    ) -> Chain<Answered<S, Handling<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        S: Answer<Handling<H, K, R>>,
        D: Documents<H::Contract<R>>,
    {
        // The entry is made last: if `into_step` panicked, it would have to be dropped here, which is code for each handler.
        let handler = handler.into_step();
        let entry = HandlerEntry::new(method, H::PASSES, D::DESCRIBE, Location::caller());
        Chain::of(self.steps.answer(On { handler, entry }), self.settings)
    }

    /// Adds a path. The steps inside belong to it. They may take all values that are provided so far.
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
    pub fn at<F>(self, path: &str, steps: F) -> Chain<S::Out, P, A, E, D>
    where
        F: AddSteps<P, A, D>,
        F::Chain: InnerChain,
        S: Open,
    {
        let location = Location::caller();
        let inside = steps(Chain::inside());
        let (steps, settings) = inside.into_inner();
        self.scope(Some(path), location, steps, settings)
    }

    /// Adds a group: a scope without a path of its own. The middleware inside covers only the handlers and paths inside.
    ///
    /// Use it for steps that only some methods of a path need, or only some paths. The steps inside may take all values that are provided so
    /// far; the values that they provide themselves end with the group. `Allow` lists the methods of all groups.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Error, StatusCode};
    ///
    /// async fn can_write(headers: http::HeaderMap) -> Result<(), Error> {
    ///     let known = headers.contains_key("x-writer");
    ///     known.then_some(()).ok_or_else(|| Error::new(StatusCode::FORBIDDEN, "Read only"))
    /// }
    ///
    /// let chain = Chain::new().at("/posts", |c| {
    ///     c.group(|c| c.guard(can_write).post(async || "created").delete(async || "deleted"))
    ///         .get(async || "all posts") // without the guard
    /// });
    /// # let _ = chain.build();
    /// ```
    #[track_caller]
    pub fn group<F>(self, steps: F) -> Chain<S::Out, P, A, E, D>
    where
        F: AddSteps<P, A, D>,
        F::Chain: InnerChain,
        S: Open,
    {
        let location = Location::caller();
        let inside = steps(Chain::inside());
        let (steps, settings) = inside.into_inner();
        self.scope(None, location, steps, settings)
    }

    /// Adds a separate chain at a path. Its middleware covers only its own handlers, not the steps of this chain.
    ///
    /// It takes a [`Chain`] or a [`Sealed`](crate::Sealed) one. The values that it [expects](Chain::expecting) must be provided here. The URI is not
    /// changed; the paths of the mounted chain match the rest of the path after `path`.
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
    pub fn mount<M, I>(self, path: &str, chain: M) -> Chain<S::Out, P, A, E, D>
    where
        M: Mountable<P, I, D>,
        S: Open,
    {
        let (steps, settings) = chain.into_steps();
        self.scope(Some(path), Location::caller(), steps, settings)
    }

    fn scope(
        self,
        path: Option<&str>,
        location: CallSite,
        steps: BoxSteps,
        settings: Settings,
    ) -> Chain<S::Out, P, A, E, D>
    where
        S: Open,
    {
        let scope = Scope::new(path, location, steps, settings);
        Chain::of(self.steps.open(Box::new(scope)), self.settings)
    }

    /// Adds any tower service at a path, for all methods. It answers the path itself and all paths under it.
    ///
    /// The service receives the rest of the path after its own, as the client wrote it. Readiness is respected: each request
    /// gets a clone that was polled ready.
    ///
    /// The service never receives a path that leaves its scope. The chain answers 400 if any of the readers that
    /// [`use_at`](Chain::use_at) lists could resolve the rest of the path to one above it, or could drop a segment of the
    /// path before it. At `/files`, these are `/files/../x`, `/files/%2e%2e/x`, `/files/..%2Fx`, `/files/%252e%252e/x`,
    /// `/files/..\x` and `/files/..;/x`; at `/{user}/files`, also `/./files/x`. Dot segments that stay inside, as in
    /// `/files/a/../x`, are left to the service.
    ///
    /// To protect a part of a service, use [`use_at`](Chain::use_at), not a path next to it: a file server reads `//admin` and
    /// `/admin%2Fx` as paths under `/admin`, and so does `use_at`, but the chain matches them as the client wrote them.
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
    pub fn service<T, B>(self, path: &str, service: T) -> Chain<S::Out, P, A, E, D>
    where
        T: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        S: Open,
        D: Documents<Serves<T>>,
    {
        let path = ServicePath::new(path, Location::caller(), service);
        Chain::of(self.steps.open(Box::new(path)), self.settings)
    }

    /// Renders the errors of the steps after it and inside them: an `async fn` of the [`Error`], whose result is `IntoResponse`.
    ///
    /// Beside the error, the function takes what [`on_no_match`](Chain::on_no_match) takes, in any order and up to eight arguments:
    /// extractors of the head of the request, as it was when it reached the hook, and values that are always provided before the hook. A
    /// response can therefore contain a request id, use the language of the client, or be HTML or JSON. An argument that may be absent is an
    /// `Option`: if an argument refuses the request, the hook does not render the error.
    ///
    /// It renders the errors of extractors, guards, middleware and handlers, their panics as a 500, and the errors of the chain itself such
    /// as 404. The headers that middleware set on the response are kept. If there are several hooks, the innermost renders. An error without
    /// a hook is sent as problem+json (see [`Error`]).
    ///
    /// For a function with extractors, the head of each request is copied, because it is not known before that a request fails. With provided
    /// values alone, only the extensions are copied, and with the error alone, nothing is.
    ///
    /// # Example
    ///
    /// ```
    /// use http::HeaderMap;
    /// use tower_chain::respond::IntoResponse;
    /// use tower_chain::{Chain, Error, Response};
    ///
    /// async fn page(error: Error, headers: HeaderMap) -> Response {
    ///     let accept = headers.get("accept").and_then(|accept| accept.to_str().ok());
    ///     if accept.is_none_or(|accept| !accept.contains("text/html")) {
    ///         return error.into_response(); // problem+json
    ///     }
    ///     let html = format!("<h1>{}</h1>", error.title());
    ///     (error.status(), [("content-type", "text/html; charset=utf-8")], html).into_response()
    /// }
    ///
    /// let chain = Chain::new().on_error(page).get(async || "hello");
    /// # let _ = chain.build();
    /// ```
    #[track_caller]
    #[allow(clippy::type_complexity, reason = "it is written out by the compiler alone")]
    pub fn on_error<F, B, M, W, R, O>(
        self,
        render: F,
    ) -> Chain<Pushed<S, Use<OnError<O, B, A::State, M, R>>>, P, A, E, D>
    where
        A: ProvidedList,
        F: HandlerFn<B, A::State, M, Own = O>,
        Passing<B>: Arguments<Cons<Error, A>, W, Sources = R>,
        S: Push<Use<OnError<O, B, A::State, M, R>>>,
    {
        self.push(Use::new(OnError::new(render.own()), "on_error", true))
    }

    /// Answers 500 if a step after it panics. The message of the panic is logged, not sent. [`on_error`](Chain::on_error) does so as well.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    ///
    /// let chain = Chain::new().catch_panics().get(async || -> &'static str { panic!("a bug") });
    /// # let _ = chain.build();
    /// ```
    #[track_caller]
    pub fn catch_panics(self) -> Chain<Pushed<S, Use<CatchPanics>>, P, A, E, D>
    where
        S: Push<Use<CatchPanics>>,
    {
        self.push(Use::new(CatchPanics, "catch", true))
    }

    /// Sets the handler for requests that no path matches, or that all handlers passed on. It is in force for the steps after it and
    /// inside them.
    ///
    /// A mounted chain with its own hook owns all paths under its own: no broader path, handler without a path or service outside of
    /// it answers them. Without its own hook, a catch-all outside of it does.
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
    pub fn on_no_match<H, K, W, R>(
        self,
        handler: H,
    ) -> Chain<Pushed<S, Hooked<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<A, W, Sources = R>,
        S: Push<Hooked<H, K, R>>,
    {
        let handler = handler.into_step();
        self.push(Hook::new("on_no_match", handler, |hooks, index| hooks.no_match = Some(index)))
    }

    /// Sets the handler for requests whose path matches, but not their method. It is in force for the steps after it and inside them.
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
    pub fn on_method_not_allowed<H, K, W, R>(
        self,
        handler: H,
    ) -> Chain<Pushed<S, Hooked<H, K, R>>, P, A, E, D>
    where
        H: IntoHandler<K>,
        H::Args: Arguments<A, W, Sources = R>,
        S: Push<Hooked<H, K, R>>,
    {
        let handler = handler.into_step();
        let name = "on_method_not_allowed";
        self.push(Hook::new(name, handler, |hooks, index| hooks.not_allowed = Some(index)))
    }

    /// Allows a finding of the audit for the steps after it in this chain and inside them: the name of the rule, and the reason.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    ///
    /// let chain = Chain::new()
    ///     .allow("open-write", "anyone may leave a message")
    ///     .post(async |text: String| text);
    /// # let _ = chain.build();
    /// ```
    pub fn allow(
        self,
        rule: &'static str,
        reason: &'static str,
    ) -> Chain<Pushed<S, Remark>, P, A, E, D>
    where
        S: Push<Remark>,
    {
        self.push(Remark::Allow { rule, reason })
    }

    /// Makes `/a` and `/a/` two paths. Applies to the whole chain and the chains inside it. Defaults to one path.
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

    /// Turns the automatic answer to OPTIONS off. Applies to the whole chain and the chains inside it. Defaults to on.
    pub fn no_auto_options(mut self) -> Self {
        self.settings.no_auto_options = true;
        self
    }
}

/// The method QUERY (RFC 10008). `Method::QUERY` needs `http` 1.5.
fn query() -> Method {
    Method::from_bytes(b"QUERY").expect("a method is a token")
}
