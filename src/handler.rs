//! Which functions are handlers and middleware, and how their arguments are made.
//!
//! The shape of a function and its arguments are two bounds on purpose: where an argument is what fails, the compiler
//! then names that argument.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::future::Future;
use std::marker::PhantomData;
use std::mem;

use axum_core::extract::{FromRequest, FromRequestParts};
use axum_core::response::IntoResponse;
use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::next::{Cx, Endpoint, Erased, FromFn, Middleware, Next};
use crate::provide::{FromChain, Has, Provides, find};
use crate::route::short_name;
use crate::{Body, Error, Request, Response};

/// An `async fn` of up to twelve extractors and provided values, whose result is [`IntoResponse`].
#[doc(hidden)]
pub trait HandlerFn<A, M>: Send + Sync + 'static {
    fn invoke(&self, args: A) -> impl Future<Output = Response> + Send;
}

/// An `async fn` of up to eight extractors and provided values, then `Next<'_>`. `T` is what it provides.
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

/// What a verb such as [`Chain::get`](crate::Chain::get) takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not an `async fn` of extractors and provided values whose result is `IntoResponse` and whose future is `Send`",
    note = "write `tower_chain::handler_fn::<(A, B), _, _>(f)`, with the types of its arguments, and the compiler says which part does not fit",
    note = "seen most: `async` is missing; the function is called, as in `f()`; `T` in `Json<T>` is not `Deserialize`, or not `Serialize` in the result; state is taken as `T`, not as `Provided<T>`; a lock or an `Rc` is held over an `.await`",
    note = "it has up to 12 arguments, of which the last may read the body; a handler that may pass the request on is an `async fn(.., Next<'_>)`, where `Next` holds the request"
)]
pub trait IntoHandler<Kind> {
    #[doc(hidden)]
    type Args;
    #[doc(hidden)]
    type Step<P, W>;
    #[doc(hidden)]
    const PASSES: bool;
    #[doc(hidden)]
    fn into_step<P, W>(self) -> Self::Step<P, W>;
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
#[doc(hidden)]
#[derive(Debug)]
pub struct AsFn<A, T>(PhantomData<(A, T)>);
#[doc(hidden)]
#[derive(Debug)]
pub struct AsHandler<A, M>(PhantomData<(A, M)>);

impl<M: Middleware> IntoMiddleware<AsMiddleware> for M {
    type Args = Passing<()>;
    type Step<P, W> = M;
    type Provides = M::Provides;

    fn into_step<P, W>(self) -> M {
        self
    }
}

impl<F, A, T> IntoMiddleware<AsFn<A, T>> for F
where
    F: for<'a> MiddlewareFn<'a, A, T>,
    T: Provides,
{
    type Args = Passing<A>;
    type Step<P, W> = FromFn<F, A, T, P, W>;
    type Provides = T;

    fn into_step<P, W>(self) -> FromFn<F, A, T, P, W> {
        FromFn::new(self)
    }
}

impl<F, A> IntoHandler<AsFn<A, ()>> for F
where
    F: for<'a> MiddlewareFn<'a, A, ()>,
{
    type Args = Passing<A>;
    type Step<P, W> = FromFn<F, A, (), P, W>;
    const PASSES: bool = true;

    fn into_step<P, W>(self) -> FromFn<F, A, (), P, W> {
        FromFn::new(self)
    }
}

impl<F, A, M> IntoHandler<AsHandler<A, M>> for F
where
    F: HandlerFn<A, M>,
{
    type Args = Ending<A>;
    type Step<P, W> = HandlerStep<F, A, M, P, W>;
    const PASSES: bool = false;

    fn into_step<P, W>(self) -> HandlerStep<F, A, M, P, W> {
        HandlerStep { f: self, kind: PhantomData }
    }
}

/// Gives back `f`, if it is a handler of the arguments `A`, listed as a tuple; if it isn't, the compiler says why.
///
/// [`Chain::get`](crate::Chain::get) and the other verbs take functions of many shapes, so that they can only say that one has none of them.
/// Here the shape is given. What the handler takes is checked by the verb.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, handler_fn};
///
/// async fn hello(method: http::Method, name: String) -> String {
///     format!("{method}, {name}")
/// }
///
/// let chain = Chain::new().post(handler_fn::<(http::Method, String), _, _>(hello));
/// # let _ = chain.build();
/// ```
pub fn handler_fn<A, F, M>(f: F) -> F
where
    F: HandlerFn<A, M>,
{
    f
}

/// An `async fn(Next<'_>)`. With one shape only, the compiler can name what is wrong with a function.
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

/// A handler as the last step of a request.
#[doc(hidden)]
pub struct HandlerStep<F, A, M, P, W> {
    f: F,
    kind: PhantomData<fn() -> (A, M, P, W)>,
}

impl<F, A, M, P, W> std::fmt::Debug for HandlerStep<F, A, M, P, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&short_name::<F>())
    }
}

impl<F, A, M, P, W> Middleware for HandlerStep<F, A, M, P, W>
where
    F: HandlerFn<A, M>,
    Ending<A>: Arguments<P, W>,
    A: Send + 'static,
    M: 'static,
    P: 'static,
    W: 'static,
{
    type Provides = ();

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> Response {
        let cx = next.cx();
        match Ending::<A>::take(next.request_mut(), cx).await {
            Ok(Ending(args)) => self.f.invoke(args).await,
            Err(refusal) => refusal,
        }
    }

    fn name(&self) -> String {
        short_name::<F>()
    }
}

/// An argument that may stand in any place.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "no step before this one provides `{Self}`, and it is no extractor for this place",
    label = "takes `{Self}`",
    note = "put a step that provides it before this one, with `.use_(..)`, `.guard(..)` or `.provide(..)`, and take state as `Provided<T>`; what reads the body must be the last argument",
    note = "middleware takes no `Request` beside `Next`, which holds it: write `next.method()`, `next.headers_mut()` and `next.run().await`"
)]
pub trait Part<P, W>: Sized + Send {
    /// Whether it may look for the matched path among the extensions.
    const EXTRACTS: bool;

    fn take(head: &mut Head<'_>) -> impl Future<Output = Result<Self, Response>> + Send;
}

/// The head of a request while the arguments in front of the last one are made. It is taken apart when an extractor asks for its parts, and
/// whole again once this is dropped.
#[doc(hidden)]
pub struct Head<'r> {
    req: &'r mut Request,
    parts: Option<(Parts, Body)>,
}

impl<'r> Head<'r> {
    fn of(req: &'r mut Request) -> Self {
        Self { req, parts: None }
    }

    fn parts(&mut self) -> &mut Parts {
        let Self { req, parts } = self;
        &mut parts.get_or_insert_with(|| mem::take(*req).into_parts()).0
    }

    fn extensions(&self) -> &http::Extensions {
        self.parts.as_ref().map_or(self.req.extensions(), |(parts, _)| &parts.extensions)
    }
}

impl Drop for Head<'_> {
    fn drop(&mut self) {
        if let Some((parts, body)) = self.parts.take() {
            *self.req = Request::from_parts(parts, body);
        }
    }
}

/// An argument that may stand in the last place, where the body is at hand.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "no step before this handler provides `{Self}`, and it is no extractor",
    label = "takes `{Self}`",
    note = "put a step that provides it before this one, with `.use_(..)`, `.guard(..)` or `.provide(..)`"
)]
pub trait Last<P, W>: Sized + Send {
    const EXTRACTS: bool;

    fn take(req: &mut Request) -> impl Future<Output = Result<Self, Response>> + Send;
}

/// Something that may be the last argument of a handler, provided or not. [`Next`] isn't: this tells the two kinds of handlers apart.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the last argument of a handler",
    label = "neither an extractor nor what a step can provide",
    note = "an extractor asks something of the type in it: `Json<T>` that `T` is `Deserialize`, `Valid<E>` that it has rules as well; state is taken as `Provided<T>`"
)]
pub trait Argument<M> {}

#[doc(hidden)]
#[derive(Debug)]
pub struct ViaParts;
#[doc(hidden)]
#[derive(Debug)]
pub struct ViaRequest<M>(PhantomData<M>);
#[doc(hidden)]
#[derive(Debug)]
pub struct ViaChain<I>(PhantomData<I>);

impl<T, M> Argument<ViaRequest<M>> for T where T: FromRequest<(), M> {}
impl<T> Argument<ViaChain<()>> for T where T: FromChain {}

impl<P, T> Part<P, ViaParts> for T
where
    T: FromRequestParts<()> + Send,
{
    const EXTRACTS: bool = true;

    async fn take(head: &mut Head<'_>) -> Result<Self, Response> {
        T::from_request_parts(head.parts(), &()).await.map_err(IntoResponse::into_response)
    }
}

impl<P, T, I> Part<P, ViaChain<I>> for T
where
    T: FromChain,
    P: Has<T::Value, I>,
{
    const EXTRACTS: bool = false;

    async fn take(head: &mut Head<'_>) -> Result<Self, Response> {
        provided(head.extensions())
    }
}

impl<P, T, M> Last<P, ViaRequest<M>> for T
where
    T: FromRequest<(), M> + Send,
{
    const EXTRACTS: bool = true;

    /// No `async fn`: that would keep a second room for the request.
    fn take(req: &mut Request) -> impl Future<Output = Result<Self, Response>> + Send {
        let refused = |refusal: T::Rejection| in_one_shape(refusal.into_response());
        T::from_request(mem::take(req), &()).map(move |taken| taken.map_err(refused))
    }
}

impl<P, T, I> Last<P, ViaChain<I>> for T
where
    T: FromChain,
    P: Has<T::Value, I>,
{
    const EXTRACTS: bool = false;

    async fn take(req: &mut Request) -> Result<Self, Response> {
        provided(req.extensions())
    }
}

/// The compiler has seen that a step provides the value; it can be gone only if a later step took it out of the extensions.
fn provided<T: FromChain>(extensions: &http::Extensions) -> Result<T, Response> {
    match find::<T::Value>(extensions) {
        Some(value) => Ok(T::from_value(value.clone())),
        None => Err(Error::internal(format!(
            "`{}` was provided, but a later step removed it from the extensions of the request",
            std::any::type_name::<T::Value>()
        ))
        .into_response()),
    }
}

/// `String` and `Bytes` are extractors of axum's core, which refuse with a line of text. What others refuse with is theirs.
#[cold]
fn in_one_shape(refusal: Response) -> Response {
    let is_short_text = refusal
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"))
        && refusal.body().size_hint().exact().is_some_and(|length| length <= LONGEST_LINE);
    if !is_short_text {
        return refusal;
    }
    let (parts, body) = refusal.into_parts();
    // A body whose length is known is there.
    let line = match body.collect().now_or_never() {
        Some(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    let is_line = |start: &[u8]| {
        line.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(b": "))
    };
    match LINES.iter().find(|(status, start, _)| parts.status == *status && is_line(start)) {
        Some((status, _, detail)) => Error::new(*status, *detail).into_response(),
        None => Response::from_parts(parts, Body::from(line)),
    }
}

/// What axum-core 0.5 writes, and what is written here.
const LINES: [(StatusCode, &[u8], &str); 3] = [
    (StatusCode::PAYLOAD_TOO_LARGE, b"Failed to buffer the request body", "The body is too large"),
    (StatusCode::BAD_REQUEST, b"Failed to buffer the request body", "The body could not be read"),
    (StatusCode::BAD_REQUEST, b"Request body didn't contain valid UTF-8", "The body is not UTF-8"),
];

const LONGEST_LINE: u64 = 256;

/// The arguments of a handler: the last one may read the body.
#[doc(hidden)]
#[derive(Debug)]
pub struct Ending<A>(pub(crate) A);

/// The arguments of a function that passes the request on: none may read the body.
#[doc(hidden)]
#[derive(Debug)]
pub struct Passing<A>(pub(crate) A);

/// Arguments that can be had where `P` is provided. `W` says of each where it comes from.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "these arguments can't be had here: `{Self}`",
    note = "each must be an extractor, or be provided by an earlier step"
)]
pub trait Arguments<P, W>: Sized + Send {
    fn take(req: &mut Request, cx: &Cx<'_>) -> impl Future<Output = Result<Self, Response>> + Send;
}

impl<P> Arguments<P, ()> for Ending<()> {
    async fn take(_: &mut Request, _: &Cx<'_>) -> Result<Self, Response> {
        Ok(Self(()))
    }
}

impl<P> Arguments<P, ()> for Passing<()> {
    async fn take(_: &mut Request, _: &Cx<'_>) -> Result<Self, Response> {
        Ok(Self(()))
    }
}

impl<F, Fut> HandlerFn<(), ()> for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoResponse> + Send,
{
    async fn invoke(&self, (): ()) -> Response {
        self().await.into_response()
    }
}

impl<'a, F, Fut, T> MiddlewareFn<'a, (), T> for F
where
    F: Fn(Next<'a, Erased, T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoResponse> + Send + 'a,
{
    type Out = Fut::Output;
    type Future = Fut;

    fn invoke(&self, (): (), next: Next<'a, Erased, T>) -> Fut {
        self(next)
    }
}

macro_rules! ending {
    ([$($head:ident $how:ident,)*] $last:ident $last_how:ident) => {
        impl<Func, Fut, MLast, $($head,)* $last> HandlerFn<($($head,)* $last,), MLast> for Func
        where
            Func: Fn($($head,)* $last) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoResponse> + Send,
            $($head: Send,)*
            $last: Argument<MLast> + Send,
        {
            #[allow(non_snake_case, reason = "a value is named as its type")]
            async fn invoke(&self, ($($head,)* $last,): ($($head,)* $last,)) -> Response {
                self($($head,)* $last).await.into_response()
            }
        }

        impl<P, $($head, $how,)* $last, $last_how> Arguments<P, ($($how,)* $last_how,)> for Ending<($($head,)* $last,)>
        where
            $($head: Part<P, $how>,)*
            $last: Last<P, $last_how>,
        {
            #[allow(non_snake_case, reason = "a value is named as its type")]
            #[allow(clippy::unused_unit, unused_mut, unused_variables, reason = "there may be one argument only")]
            async fn take(req: &mut Request, cx: &Cx<'_>) -> Result<Self, Response> {
                if $($head::EXTRACTS ||)* $last::EXTRACTS {
                    cx.routes.show_match(cx, req);
                }
                // In a scope of its own, so that the last argument has the room again.
                let ($($head,)*) = {
                    let mut head = Head::of(req);
                    ($($head::take(&mut head).await?,)*)
                };
                let $last = $last::take(req).await?;
                Ok(Self(($($head,)* $last,)))
            }
        }
    };
}

macro_rules! passing {
    ($($head:ident $how:ident,)*) => {
        impl<'a, Func, Fut, Values, $($head,)*> MiddlewareFn<'a, ($($head,)*), Values> for Func
        where
            Func: Fn($($head,)* Next<'a, Erased, Values>) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoResponse> + Send + 'a,
        {
            type Out = Fut::Output;
            type Future = Fut;

            #[allow(non_snake_case, reason = "a value is named as its type")]
            fn invoke(&self, ($($head,)*): ($($head,)*), next: Next<'a, Erased, Values>) -> Fut {
                self($($head,)* next)
            }
        }

        impl<P, $($head, $how,)*> Arguments<P, ($($how,)*)> for Passing<($($head,)*)>
        where
            $($head: Part<P, $how>,)*
        {
            #[allow(non_snake_case, reason = "a value is named as its type")]
            async fn take(req: &mut Request, cx: &Cx<'_>) -> Result<Self, Response> {
                if $($head::EXTRACTS ||)* false {
                    cx.routes.show_match(cx, req);
                }
                let mut head = Head::of(req);
                Ok(Self(($($head::take(&mut head).await?,)*)))
            }
        }
    };
}

ending!([] A WA);
ending!([A WA,] B WB);
ending!([A WA, B WB,] C WC);
ending!([A WA, B WB, C WC,] D WD);
ending!([A WA, B WB, C WC, D WD,] E WE);
ending!([A WA, B WB, C WC, D WD, E WE,] F WF);
ending!([A WA, B WB, C WC, D WD, E WE, F WF,] G WG);
ending!([A WA, B WB, C WC, D WD, E WE, F WF, G WG,] H WH);
ending!([A WA, B WB, C WC, D WD, E WE, F WF, G WG, H WH,] I WI);
ending!([A WA, B WB, C WC, D WD, E WE, F WF, G WG, H WH, I WI,] J WJ);
ending!([A WA, B WB, C WC, D WD, E WE, F WF, G WG, H WH, I WI, J WJ,] K WK);
ending!([A WA, B WB, C WC, D WD, E WE, F WF, G WG, H WH, I WI, J WJ, K WK,] L WL);

passing!(A WA,);
passing!(A WA, B WB,);
passing!(A WA, B WB, C WC,);
passing!(A WA, B WB, C WC, D WD,);
passing!(A WA, B WB, C WC, D WD, E WE,);
passing!(A WA, B WB, C WC, D WD, E WE, F WF,);
passing!(A WA, B WB, C WC, D WD, E WE, F WF, G WG,);
passing!(A WA, B WB, C WC, D WD, E WE, F WF, G WG, H WH,);
