//! Steps that hand something to the steps after them: state, and the result of a check.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::future::Future;
use std::marker::PhantomData;

use axum_core::response::IntoResponse;

use crate::handler::{Arguments, Passing};
use crate::next::{Endpoint, Middleware, Rest};
use crate::route::short_name;
use crate::{Request, Response};

/// An `async fn` of up to eight extractors and provided values, whose result is `Result<T, E>` with `E: IntoResponse`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a guard",
    label = "not a guard",
    note = "a guard is an `async fn` of up to 8 extractors and provided values that returns `Result<T, E>`, where `T: Clone + Send + Sync` and `E: IntoResponse`; none of them may read the body, and its future must be `Send`"
)]
pub trait GuardFn<A>: Send + Sync + 'static {
    type Value: Clone + Send + Sync + 'static;

    fn check(&self, args: A) -> impl Future<Output = Result<Self::Value, Response>> + Send;
}

macro_rules! guard_fn {
    ($($arg:ident)*) => {
        impl<Func, Fut, T, E, $($arg,)*> GuardFn<($($arg,)*)> for Func
        where
            Func: Fn($($arg,)*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<T, E>> + Send,
            T: Clone + Send + Sync + 'static,
            E: IntoResponse,
            $($arg: Send,)*
        {
            type Value = T;

            #[allow(non_snake_case, reason = "a value is named as its type")]
            async fn check(&self, ($($arg,)*): ($($arg,)*)) -> Result<T, Response> {
                self($($arg,)*).await.map_err(IntoResponse::into_response)
            }
        }
    };
}

guard_fn!();
guard_fn!(A);
guard_fn!(A B);
guard_fn!(A B C);
guard_fn!(A B C D);
guard_fn!(A B C D E1);
guard_fn!(A B C D E1 F);
guard_fn!(A B C D E1 F G);
guard_fn!(A B C D E1 F G H);

/// A check as a step.
#[doc(hidden)]
pub struct Guard<F, A, P, W> {
    f: F,
    kind: PhantomData<fn() -> (A, P, W)>,
}

impl<F, A, P, W> Guard<F, A, P, W> {
    pub(crate) fn new(f: F) -> Self {
        Self { f, kind: PhantomData }
    }
}

impl<F, A, P, W> Middleware for Guard<F, A, P, W>
where
    F: GuardFn<A>,
    Passing<A>: Arguments<P, W>,
    A: Send + 'static,
    P: 'static,
    W: 'static,
{
    type Provides = (F::Value,);

    async fn call<N: Endpoint>(
        &self,
        req: &mut Request,
        next: Rest<'_, N, (F::Value,)>,
    ) -> Response {
        let Passing(args) = match Passing::<A>::take(req, next.cx()).await {
            Ok(args) => args,
            Err(refusal) => return refusal,
        };
        match self.f.check(args).await {
            Ok(value) => next.run_with(req, (value,)).await,
            Err(refusal) => refusal,
        }
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

    fn call<'a, N: Endpoint>(
        &'a self,
        req: &'a mut Request,
        next: Rest<'a, N, (T,)>,
    ) -> impl Future<Output = Response> + Send {
        next.run_with(req, (self.0.clone(),))
    }

    fn name(&self) -> String {
        short_name::<T>()
    }
}
