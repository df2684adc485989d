//! Steps that provide a value to the steps after them: state, and guards.

use std::future::Future;
use std::marker::PhantomData;

use crate::Response;
use crate::declare::Declaration;
use crate::function::arguments::{Passing, TakeAll};
use crate::function::checked::Checked;
use crate::function::settings;
use crate::route::listing::short_name;
use crate::step::Refusal;
use crate::step::next::{Middleware, Next};
use crate::step::reach::Endpoint;

/// The argument of [`Chain::guard`](crate::Chain::guard): an `async fn` of up to eight extractors and provided values, whose result is
/// `Result<T, E>` with `E: IntoResponse`. `A` is the tuple of its arguments, and `Value` is `T`.
///
/// It is the type of the result of a function that makes guards. The closure in it owns what it needs, and returns an `async move` block; an
/// `async move` closure can't capture values.
///
/// # Example
///
/// ```
/// use tower_chain::function::Guard;
/// use tower_chain::{Chain, Error, Provided, StatusCode};
///
/// #[derive(Clone)]
/// struct User {
///     permissions: Vec<String>,
/// }
///
/// fn can(permission: &'static str) -> impl Guard<(Provided<User>,), Value = ()> {
///     move |user: Provided<User>| async move {
///         let granted = user.permissions.iter().any(|own| own == permission);
///         granted.then_some(()).ok_or_else(|| Error::new(StatusCode::FORBIDDEN, "Not permitted"))
///     }
/// }
///
/// let chain = Chain::new()
///     .provide(User { permissions: vec!["read".to_owned()] })
///     .group(|c| c.guard(can("read")).get(async || "all posts"))
///     .group(|c| c.guard(can("create")).post(async || "created"));
/// # let _ = chain.build();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a guard",
    label = "not an `async fn` that returns `Result<T, E>`, where `T: Clone + Send + Sync` and `E: IntoResponse`",
    note = "it takes up to 8 extractors and provided values, of which none may read the body, and its future must be `Send`; a function that takes `Next` is middleware: `.use_(f)`",
    note = "pass the function, as in `.guard(check)`, not its future `check()`; a function that makes guards, as in `.guard(can(\"read\"))`, is not `async`; `E` is most often `tower_chain::Error`"
)]
pub trait Guard<A>: Send + Sync + 'static {
    /// The value that the guard provides to the steps after it.
    type Value: Clone + Send + Sync + 'static;

    /// The type of the error. A documented chain describes its responses.
    type Refusal;

    /// The type itself. A step contains it in this form: if a function does not fit, the compiler then does not know the step, and
    /// reports the function alone.
    #[doc(hidden)]
    type Own: Guard<A, Value = Self::Value>;

    #[doc(hidden)]
    fn own(self) -> Self::Own;

    #[doc(hidden)]
    fn check(&self, args: A) -> impl Future<Output = Result<Self::Value, Response>> + Send;
}

/// A guard as a step.
#[doc(hidden)]
pub struct GuardStep<F, A, R> {
    f: F,
    kind: PhantomData<fn() -> (A, R)>,
}

impl<F, A, R> GuardStep<F, A, R> {
    pub(crate) fn new(f: F) -> Self {
        Self { f, kind: PhantomData }
    }
}

impl<F, A, R> Middleware for GuardStep<F, A, R>
where
    F: Guard<A>,
    R: TakeAll<Passing<A>>,
    A: Send + 'static,
{
    type Provides = (F::Value,);

    #[inline(always)]
    fn call<N: Endpoint>(
        &self,
        mut next: Next<'_, N, (F::Value,)>,
    ) -> impl Future<Output = Response> + Send {
        let check = async move {
            let cx = next.cx();
            // A test provides the value itself, so it needs no credentials.
            #[cfg(feature = "test-util")]
            if let Some(value) = crate::provide::replaced(next.extensions()) {
                return (next, Ok(value));
            }
            let checked = match R::take(next.request_mut(), cx).await {
                Ok(Passing(args)) => self.f.check(args).await,
                Err(refusal) => Err(refusal),
            };
            (next, checked.map_err(Refusal::by_function::<F>))
        };
        Checked::new(check, |next, value| Next::<N, _>::run_with(next, (value,)))
    }

    fn name(&self) -> String {
        short_name::<F>()
    }
}

/// State as a step.
#[doc(hidden)]
pub struct Provide<T>(pub(crate) T);

impl<T: Clone + Send + Sync + 'static> Middleware for Provide<T> {
    type Provides = (T,);

    #[inline(always)]
    fn call<N: Endpoint>(&self, next: Next<'_, N, (T,)>) -> impl Future<Output = Response> + Send {
        next.run_with((self.0.clone(),))
    }

    fn declare(&self, to: &mut Declaration) {
        settings::declare(&self.0, to);
    }

    fn name(&self) -> String {
        short_name::<T>()
    }
}
