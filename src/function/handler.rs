//! Functions as handlers.

use std::future::Future;
use std::marker::PhantomData;

use crate::Response;
use crate::declare::documents::{Handles, Passes};
use crate::function::arguments::{Ending, Passing, TakeAll};
use crate::function::checked::Checked;
use crate::function::middleware::{AsFn, AsHandler, FromFn, MiddlewareFn};
use crate::route::listing::short_name;
use crate::step::Refusal;
use crate::step::next::{Middleware, Next};
use crate::step::reach::Endpoint;

/// An `async fn` of up to twelve extractors and provided values, whose result is [`IntoResponse`]. `S` is the state of extractors.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an `async fn` of extractors and provided values",
    label = "its arguments or its result don't fit",
    note = "its result is `IntoResponse`, and its future is `Send`; `on_error` takes an `async fn` of `tower_chain::Error` and other arguments, and a closure names their types: `async |error: Error| ..`"
)]
pub trait HandlerFn<A, S, M>: Send + Sync + 'static {
    /// The type itself. A step contains it in this form: if a function does not fit, the compiler then does not know the step, and
    /// reports the function alone.
    type Own: HandlerFn<A, S, M>;

    /// The type of the result.
    type Out;

    fn own(self) -> Self::Own;

    fn invoke(&self, args: A) -> impl Future<Output = Response> + Send;
}

/// The argument of [`Chain::get`](crate::Chain::get) and of the other methods that add a handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not an `async fn` of extractors and provided values whose result is `IntoResponse` and whose future is `Send`",
    note = "write `tower_chain::handler_fn::<(A, B), _, _>(f)`, with the types of its arguments, and the compiler says which part does not fit",
    note = "seen most: `async` is missing; the function is called, as in `f()`; `T` in `Json<T>` is not `Deserialize`, or not `Serialize` in the result; `Json<Valid<T>>` is written instead of `Valid<Json<T>>`; state is taken as `T`, not as `Provided<T>`; the error is `anyhow::Error` or `Box<dyn Error>`, not `tower_chain::Error`; a status is a number, not a `StatusCode`; an argument is a reference; `NextWith` is taken, but a handler provides nothing; a lock or an `Rc` is held over an `.await`",
    note = "it has up to 12 arguments, of which the last may read the body; a handler that may pass the request on is an `async fn(.., Next<'_>)`, where `Next` holds the request; a path is added with `.at(path, |c| c.get(f))`"
)]
pub trait IntoHandler<Kind> {
    #[doc(hidden)]
    type Args;
    /// The handler as a step. `R` are the sources of its arguments.
    #[doc(hidden)]
    type Step<R>;
    /// The types that a description of the handler is made of.
    #[doc(hidden)]
    type Contract<R>;
    /// Whether the handler may pass the request on: true for a function that takes `Next`.
    #[doc(hidden)]
    const PASSES: bool;
    #[doc(hidden)]
    fn into_step<R>(self) -> Self::Step<R>;
}

impl<F, A> IntoHandler<AsFn<A, ()>> for F
where
    F: for<'a> MiddlewareFn<'a, A, ()>,
{
    type Args = Passing<A>;
    type Step<R> = FromFn<F, A, (), R>;
    type Contract<R> = Passes<F, A, R>;
    const PASSES: bool = true;

    fn into_step<R>(self) -> FromFn<F, A, (), R> {
        FromFn::new(self)
    }
}

impl<F, A, S, M> IntoHandler<AsHandler<A, S, M>> for F
where
    F: HandlerFn<A, S, M>,
{
    type Args = Ending<A, S>;
    type Step<R> = HandlerStep<F, A, S, M, R>;
    type Contract<R> = Handles<F, A, S, M, R>;
    const PASSES: bool = false;

    fn into_step<R>(self) -> HandlerStep<F, A, S, M, R> {
        HandlerStep { f: self, kind: PhantomData }
    }
}

/// Returns `f`, if it is a handler with the arguments `A`, listed as a tuple. If it isn't, the compiler reports the reason.
///
/// [`Chain::get`](crate::Chain::get) and similar methods take functions of many shapes. For a function of none of these shapes, the
/// compiler can't report which part is wrong. Here the shape is given, so it can. Whether the arguments are provided is checked where
/// the handler is added.
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
    F: HandlerFn<A, (), M>,
{
    f
}

/// A handler as a step. It always answers, and drops the `Next`.
#[doc(hidden)]
pub struct HandlerStep<F, A, S, M, R> {
    f: F,
    kind: PhantomData<fn() -> (A, S, M, R)>,
}

impl<F, A, S, M, R> std::fmt::Debug for HandlerStep<F, A, S, M, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&short_name::<F>())
    }
}

impl<F, A, S, M, R> Middleware for HandlerStep<F, A, S, M, R>
where
    F: HandlerFn<A, S, M>,
    R: TakeAll<Ending<A, S>>,
    A: Send + 'static,
    S: 'static,
    M: 'static,
{
    type Provides = ();

    fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> impl Future<Output = Response> + Send {
        let arguments = async move {
            let cx = next.cx();
            let taken = R::take(next.request_mut(), cx).await;
            ((), taken.map_err(Refusal::by_function::<F>))
        };
        Checked::new(arguments, move |(), args| self.f.invoke(args.into_inner()))
    }

    fn name(&self) -> String {
        short_name::<F>()
    }
}
