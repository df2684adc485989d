//! The arguments of functions: extractors and provided values.
//!
//! The shape of a function and its arguments are two separate bounds. If only an argument does not fit, the compiler
//! therefore names the argument.
//!
//! The methods of a chain check the arguments against the list of provided types ([`Arguments`]). The result of the check is a
//! list of [sources](TakeAll), one for each argument. A step contains this list, and takes the arguments from these sources without another
//! check. So the type of a step does not contain the list of provided types. And if the check fails, the type of the step is not known, and the
//! compiler reports the failed check alone, not the step as well.

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

use crate::provide::{FromChain, HasState, ProvidedList, ProvidesOnce, State, find};
use crate::step::tail::Cx;
use crate::{Body, Error, Request, Response};

/// An argument in any position. It can't read the body. `P` lists the provided types; `W` is the source of the argument.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "no step before this one provides `{Self}`, and it is no extractor for this place",
    label = "takes `{Self}`",
    note = "put a step that provides it before this one, with `.use_(..)`, `.guard(..)` or `.provide(..)`, and take state as `Provided<T>`, or as axum's `State<T>` after `.with_state(..)`; what reads the body must be the last argument",
    note = "middleware takes no `Request` beside `Next`, which holds it: write `next.method()`, `next.headers_mut()` and `next.run().await`"
)]
pub trait Part<P, W>: Sized + Send {
    type Source: TakePart<Self>;
}

/// The source of an argument `T` in any position.
#[doc(hidden)]
pub trait TakePart<T>: Send + 'static {
    /// Whether it is an extractor, which may read the matched path in the extensions.
    const EXTRACTS: bool;

    fn take(head: &mut Head<'_>) -> impl Future<Output = Result<T, Response>> + Send;
}

/// The head of a request while all arguments but the last one are extracted.
///
/// `FromRequestParts` needs `Parts`, but a step has the request by reference. The first extractor therefore takes the request
/// apart, and dropping the `Head` puts it together again. Provided values are read from the extensions in either form, so a
/// function without extractors never pays for this.
#[doc(hidden)]
pub struct Head<'r> {
    req: &'r mut Request,
    /// The content of `req` after it was taken apart. `req` is empty then.
    parts: Option<(Parts, Body)>,
}

impl<'r> Head<'r> {
    pub(super) fn of(req: &'r mut Request) -> Self {
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

/// An argument in the last position. It may read the body.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "no step before this handler provides `{Self}`, and it is no extractor",
    label = "takes `{Self}`",
    note = "put a step that provides it before this one, with `.use_(..)`, `.guard(..)` or `.provide(..)`",
    note = "an extractor over axum's state, such as `State<T>`, needs `.with_state(state)` before the handler"
)]
pub trait Last<P, W>: Sized + Send {
    type Source: TakeLast<Self>;
}

/// The source of an argument `T` in the last position.
#[doc(hidden)]
pub trait TakeLast<T>: Send + 'static {
    /// See [`TakePart::EXTRACTS`].
    const EXTRACTS: bool;

    fn take(req: &mut Request) -> impl Future<Output = Result<T, Response>> + Send;
}

/// A type that may be the last argument of a handler, provided or not, if the state of extractors is `S`. `Next` does not implement it. By
/// this, the compiler distinguishes the two kinds of handlers.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the last argument of a handler",
    label = "neither an extractor nor what a step can provide",
    note = "an extractor asks something of the type in it: `Json<T>` that `T` is `Deserialize`, `Valid<E>` that it has rules as well (`Valid<Json<T>>`, not `Json<Valid<T>>`); state is taken as `Provided<T>`, or as axum's `State<T>` after `.with_state(..)`"
)]
pub trait Argument<S, M> {}

/// The argument is an extractor that doesn't read the body.
#[doc(hidden)]
#[derive(Debug)]
pub struct ViaParts;
/// The argument is an extractor that may read the body.
#[doc(hidden)]
#[derive(Debug)]
pub struct ViaRequest<M>(PhantomData<M>);
/// The argument is a provided value. `I` is its index in the list of provided types.
#[doc(hidden)]
#[derive(Debug)]
pub struct ViaChain<I>(PhantomData<I>);
/// The argument is the `Option` of a value that a step provides for some requests alone. It may be missing, so no list is searched.
#[doc(hidden)]
#[derive(Debug)]
pub struct ViaSome;

impl<T, S, M> Argument<S, ViaRequest<M>> for T where T: FromRequest<S, M> {}
impl<T, S> Argument<S, ViaChain<()>> for T where T: FromChain {}
#[diagnostic::do_not_recommend]
impl<T, S> Argument<S, ViaSome> for Option<T> where T: FromChain {}

/// Takes an argument by `FromRequestParts<S>`.
#[doc(hidden)]
#[derive(Debug)]
pub struct FromHead<S>(PhantomData<fn() -> S>);
/// Takes an argument by `FromRequest<S, M>`.
#[doc(hidden)]
#[derive(Debug)]
pub struct FromWhole<S, M>(PhantomData<fn() -> (S, M)>);
/// Takes a provided value.
#[doc(hidden)]
#[derive(Debug)]
pub struct FromSteps;
/// Takes a provided value, if there is one.
#[doc(hidden)]
#[derive(Debug)]
pub struct FromSome;

impl<P, T> Part<P, ViaParts> for T
where
    P: ProvidedList,
    T: FromRequestParts<P::State> + Send,
{
    type Source = FromHead<P::State>;
}

impl<S: State, T> TakePart<T> for FromHead<S>
where
    T: FromRequestParts<S> + Send,
{
    const EXTRACTS: bool = true;

    async fn take(head: &mut Head<'_>) -> Result<T, Response> {
        let state = provided::<S>(head.extensions())?.clone();
        T::from_request_parts(head.parts(), &state).await.map_err(IntoResponse::into_response)
    }
}

impl<P, T, I> Part<P, ViaChain<I>> for T
where
    T: FromChain,
    P: ProvidesOnce<T::Value, I>,
{
    type Source = FromSteps;
}

impl<T: FromChain> TakePart<T> for FromSteps {
    const EXTRACTS: bool = false;

    async fn take(head: &mut Head<'_>) -> Result<T, Response> {
        provided(head.extensions()).map(|value: &T::Value| T::from_value(value.clone()))
    }
}

#[diagnostic::do_not_recommend]
impl<P, T: FromChain> Part<P, ViaSome> for Option<T> {
    type Source = FromSome;
}

impl<T: FromChain> TakePart<Option<T>> for FromSome {
    const EXTRACTS: bool = false;

    async fn take(head: &mut Head<'_>) -> Result<Option<T>, Response> {
        Ok(T::find(head.extensions()))
    }
}

impl<P, T, M> Last<P, ViaRequest<M>> for T
where
    P: ProvidedList,
    T: FromRequest<P::State, M> + Send,
    M: 'static,
{
    type Source = FromWhole<P::State, M>;
}

impl<S: State, M: 'static, T> TakeLast<T> for FromWhole<S, M>
where
    T: FromRequest<S, M> + Send,
{
    const EXTRACTS: bool = true;

    async fn take(req: &mut Request) -> Result<T, Response> {
        let state = provided::<S>(req.extensions())?.clone();
        // The request is a temporary value of this expression, so the future of this function does not contain it a second time.
        let taken = T::from_request(mem::take(req), &state).await;
        taken.map_err(|refusal| in_one_shape(refusal.into_response()))
    }
}

impl<P, T, I> Last<P, ViaChain<I>> for T
where
    T: FromChain,
    P: ProvidesOnce<T::Value, I>,
{
    type Source = FromSteps;
}

impl<T: FromChain> TakeLast<T> for FromSteps {
    const EXTRACTS: bool = false;

    async fn take(req: &mut Request) -> Result<T, Response> {
        provided(req.extensions()).map(|value: &T::Value| T::from_value(value.clone()))
    }
}

#[diagnostic::do_not_recommend]
impl<P, T: FromChain> Last<P, ViaSome> for Option<T> {
    type Source = FromSome;
}

impl<T: FromChain> TakeLast<Option<T>> for FromSome {
    const EXTRACTS: bool = false;

    async fn take(req: &mut Request) -> Result<Option<T>, Response> {
        Ok(T::find(req.extensions()))
    }
}

/// Finds a provided value. The compiler has checked that a step provides it, so it is missing only if a later step removed it from
/// the extensions.
fn provided<T: State>(extensions: &http::Extensions) -> Result<&T, Response> {
    find(extensions).ok_or_else(removed::<T>)
}

#[cold]
fn removed<T>() -> Response {
    Error::internal(format!(
        "`{}` was provided, but a later step removed it from the extensions of the request",
        std::any::type_name::<T>()
    ))
    .into_response()
}

/// Converts the refusals of `String` and `Bytes` into an [`Error`]. They are extractors of axum-core, which refuse with a line of
/// text. The refusals of other extractors are not changed.
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
    // A body of known length is in memory, so it is ready at once.
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

/// The status and first words of the refusals of axum-core 0.5, and the detail that replaces them.
const LINES: [(StatusCode, &[u8], &str); 3] = [
    (StatusCode::PAYLOAD_TOO_LARGE, b"Failed to buffer the request body", "The body is too large"),
    (StatusCode::BAD_REQUEST, b"Failed to buffer the request body", "The body could not be read"),
    (StatusCode::BAD_REQUEST, b"Request body didn't contain valid UTF-8", "The body is not UTF-8"),
];

const LONGEST_LINE: u64 = 256;

/// The arguments of a handler: the last one may read the body. `S` is the state of extractors.
#[doc(hidden)]
#[derive(Debug)]
pub struct Ending<A, S>(A, PhantomData<fn() -> S>);

impl<A, S> Ending<A, S> {
    pub(super) fn new(arguments: A) -> Self {
        Self(arguments, PhantomData)
    }

    pub(crate) fn into_inner(self) -> A {
        self.0
    }
}

/// The arguments of a function that passes the request on: none may read the body.
#[doc(hidden)]
#[derive(Debug)]
pub struct Passing<A>(pub(crate) A);

/// A list of arguments that are available where `P` is provided. `W` is the list of their markers.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "these arguments can't be had here: `{Self}`",
    note = "each must be an extractor, or be provided by an earlier step"
)]
pub trait Arguments<P, W>: Sized + Send {
    /// The sources of the arguments.
    type Sources: TakeAll<Self>;
}

/// The sources of the arguments `A`.
#[doc(hidden)]
pub trait TakeAll<A>: Send + 'static {
    /// Whether an argument is an extractor, which reads the head of the request.
    const EXTRACTS: bool;

    fn take(req: &mut Request, cx: &Cx<'_>) -> impl Future<Output = Result<A, Response>> + Send;
}

impl<P: HasState<S>, S> Arguments<P, ()> for Ending<(), S> {
    type Sources = ();
}

impl<S> TakeAll<Ending<(), S>> for () {
    const EXTRACTS: bool = false;

    async fn take(_: &mut Request, _: &Cx<'_>) -> Result<Ending<(), S>, Response> {
        Ok(Ending::new(()))
    }
}

/// Layers and types take no arguments.
impl<P> Arguments<P, ()> for () {
    type Sources = ();
}

impl TakeAll<()> for () {
    const EXTRACTS: bool = false;

    async fn take(_: &mut Request, _: &Cx<'_>) -> Result<(), Response> {
        Ok(())
    }
}
