//! The arguments of functions: extractors and provided values.
//!
//! The shape of a function and its arguments are two separate bounds. If only an argument does not fit, the compiler
//! therefore names the argument.

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

use crate::provide::{FromChain, Has, ProvidedList, find};
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
    /// Whether it is an extractor, which may read the matched path in the extensions.
    const EXTRACTS: bool;

    fn take(head: &mut Head<'_>) -> impl Future<Output = Result<Self, Response>> + Send;
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
    /// See [`Part::EXTRACTS`].
    const EXTRACTS: bool;

    fn take(req: &mut Request) -> impl Future<Output = Result<Self, Response>> + Send;
}

/// A type that may be the last argument of a handler, provided or not, if the state of extractors is `S`. `Next` does not implement it. By
/// this, the compiler distinguishes the two kinds of handlers.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the last argument of a handler",
    label = "neither an extractor nor what a step can provide",
    note = "an extractor asks something of the type in it: `Json<T>` that `T` is `Deserialize`, `Valid<E>` that it has rules as well; state is taken as `Provided<T>`, or as axum's `State<T>` after `.with_state(..)`"
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

impl<T, S, M> Argument<S, ViaRequest<M>> for T where T: FromRequest<S, M> {}
impl<T, S> Argument<S, ViaChain<()>> for T where T: FromChain {}

impl<P, T> Part<P, ViaParts> for T
where
    P: ProvidedList,
    T: FromRequestParts<P::State> + Send,
{
    const EXTRACTS: bool = true;

    async fn take(head: &mut Head<'_>) -> Result<Self, Response> {
        let state = P::state(head.extensions()).ok_or_else(removed::<P::State>)?;
        T::from_request_parts(head.parts(), &state).await.map_err(IntoResponse::into_response)
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
    P: ProvidedList,
    T: FromRequest<P::State, M> + Send,
{
    const EXTRACTS: bool = true;

    async fn take(req: &mut Request) -> Result<Self, Response> {
        let state = P::state(req.extensions()).ok_or_else(removed::<P::State>)?;
        // The request is a temporary value of this expression, so the future of this function does not contain it a second time.
        let taken = T::from_request(mem::take(req), &state).await;
        taken.map_err(|refusal| in_one_shape(refusal.into_response()))
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

/// Reads a provided value. The compiler has checked that a step provides it, so it is missing only if a later step removed it from
/// the extensions.
fn provided<T: FromChain>(extensions: &http::Extensions) -> Result<T, Response> {
    match find::<T::Value>(extensions) {
        Some(value) => Ok(T::from_value(value.clone())),
        None => Err(removed::<T::Value>()),
    }
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

/// A list of arguments that are available where `P` is provided. `W` is the list of their sources.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "these arguments can't be had here: `{Self}`",
    note = "each must be an extractor, or be provided by an earlier step"
)]
pub trait Arguments<P, W>: Sized + Send {
    /// Whether one of them is an extractor, which reads the head of the request.
    const EXTRACTS: bool;

    fn take(req: &mut Request, cx: &Cx<'_>) -> impl Future<Output = Result<Self, Response>> + Send;
}

impl<P: ProvidedList<State = S>, S> Arguments<P, ()> for Ending<(), S> {
    const EXTRACTS: bool = false;

    async fn take(_: &mut Request, _: &Cx<'_>) -> Result<Self, Response> {
        Ok(Self::new(()))
    }
}

/// Layers and types take no arguments.
impl<P> Arguments<P, ()> for () {
    const EXTRACTS: bool = false;

    async fn take(_: &mut Request, _: &Cx<'_>) -> Result<Self, Response> {
        Ok(())
    }
}
