//! Functions as middleware.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;

use axum_core::response::IntoResponse;
use futures_util::future::BoxFuture;

use crate::Response;
use crate::function::arguments::{Arguments, Passing, TakeAll};
use crate::function::checked::{Answer, Checked};
use crate::provide::{Nil, Provides};
use crate::route::listing::short_name;
use crate::step::Refusal;
use crate::step::next::{Declare, IntoMiddleware, Middleware, Next};
use crate::step::reach::{Endpoint, Erased, Reach as _, RestSlot};

/// An `async fn` of up to eight extractors and provided values, then `Next<'_>`. `T` is the tuple of types that it provides.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a middleware function",
    label = "not an `async fn(.., Next<'_>)`",
    note = "a middleware function is an `async fn` of up to 8 extractors and provided values, then `Next<'_>`, whose result is `IntoResponse` and whose future is `Send`",
    note = "`Next` holds the request: take no `Request` beside it, and write `next.method()` and `next.run().await`"
)]
pub trait MiddlewareFn<'a, A, T>: Send + Sync + 'static {
    type Out: IntoResponse;
    type Future: Future<Output = Self::Out> + Send + 'a;

    fn invoke(&self, args: A, next: Next<'a, Erased, T>) -> Self::Future;
}

/// The function takes `Next`.
#[doc(hidden)]
#[derive(Debug)]
pub struct AsFn<A, T>(PhantomData<(A, T)>);
/// The function does not take `Next`.
#[doc(hidden)]
#[derive(Debug)]
pub struct AsHandler<A, S, M>(PhantomData<(A, S, M)>);

impl<F, A, T> IntoMiddleware<AsFn<A, T>> for F
where
    F: for<'a> MiddlewareFn<'a, A, T>,
    T: Provides,
{
    type Args = Passing<A>;
    type Step<R> = FromFn<F, A, T, R>;
    type Provides = T;

    fn into_step<R>(self) -> (FromFn<F, A, T, R>, Option<Declare>) {
        (FromFn::new(self), None)
    }
}

/// An `async fn(.., Next<'_>)` as a [`Middleware`]. Made by [`from_fn`] and by the methods of a chain.
pub struct FromFn<F, A, T, R> {
    f: F,
    kind: PhantomData<fn() -> (A, T, R)>,
}

impl<F, A, T, R> FromFn<F, A, T, R> {
    pub(crate) fn new(f: F) -> Self {
        Self { f, kind: PhantomData }
    }
}

impl<F, A, T, R> std::fmt::Debug for FromFn<F, A, T, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&short_name::<F>())
    }
}

impl<F, A, T, R> Middleware for FromFn<F, A, T, R>
where
    F: for<'a> MiddlewareFn<'a, A, T>,
    R: TakeAll<Passing<A>>,
    A: Send + 'static,
    T: Provides,
{
    type Provides = T;

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, T>) -> Response {
        // The slot in which the rest of the chain will run (see `Slot` in `step/reach.rs`). It is in this future.
        let slot = pin!(RestSlot::default());
        let call = async {
            let cx = next.cx();
            let taken = R::take(next.request_mut(), cx).await;
            let call = |Passing(args)| self.f.invoke(args, next.through(slot, |reach| reach.run()));
            ((), taken.map(call).map_err(Refusal::by_function::<F>))
        };
        Checked::new(call, |(), function| Answer { function }).await
    }

    fn name(&self) -> String {
        short_name::<F>()
    }
}

/// Makes a [`Middleware`] of an `async fn(Next<'_>)`.
///
/// [`Chain::use_`](crate::Chain::use_) also takes such a function directly. This form has methods such as
/// [`when`](crate::MiddlewareExt::when), and its bound is simpler: if the compiler reports that a function isn't middleware without the
/// reason, wrap it in `from_fn`, and the compiler names the reason. Use [`from_fn_with`] for functions with more arguments, and
/// [`from_closure`] for closures that capture.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, MiddlewareExt, Next, Response, from_fn};
///
/// async fn log(next: Next<'_>) -> Response {
///     println!("{} {}", next.method(), next.uri().path());
///     next.run().await
/// }
///
/// let chain = Chain::new().use_(from_fn(log).unless(|req| req.uri().path() == "/healthz"));
/// # let _ = chain;
/// ```
pub fn from_fn<F>(f: F) -> FromFn<F, (), (), ()>
where
    F: for<'a> PlainFn<'a>,
{
    FromFn::new(f)
}

/// Makes a [`Middleware`] of an `async fn` that takes extractors before `Next`. `A` is the tuple of their types.
///
/// # Example
///
/// ```
/// use tower_chain::{MiddlewareExt, Next, Response, from_fn_with};
///
/// async fn log(method: http::Method, next: Next<'_>) -> Response {
///     println!("{method}");
///     next.run().await
/// }
///
/// let middleware = from_fn_with::<(http::Method,), _, _>(log).boxed();
/// # let _ = middleware;
/// ```
pub fn from_fn_with<A, F, W>(f: F) -> FromFn<F, A, (), <Passing<A> as Arguments<Nil, W>>::Sources>
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
        let slot = pin!(RestSlot::default());
        (self.0)(next.through(slot, |reach| reach.run())).await.into_response()
    }

    fn name(&self) -> String {
        short_name::<F>()
    }
}

/// Makes a [`Middleware`] of a closure that captures values. Its future is boxed, once per request.
///
/// [`Chain::use_`](crate::Chain::use_) takes an `async` closure directly if it captures nothing. It can't take one that captures: its
/// future borrows from the closure, and Rust has no syntax yet to require that such a future is `Send`.
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

/// An `async fn(Next<'_>)`. As this is only one shape, the compiler can report which part of a function is wrong.
#[doc(hidden)]
pub trait PlainFn<'a>: Fn(Next<'a>) -> Self::Future + Send + Sync + 'static {
    type Future: Future<Output: IntoResponse> + Send + 'a;
}

impl<'a, F, Fut> PlainFn<'a> for F
where
    F: Fn(Next<'a>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoResponse> + Send + 'a,
{
    type Future = Fut;
}
