//! The implementations for functions of several arguments: up to twelve for handlers, up to eight for middleware and guards.
//!
//! In the names of the type parameters, `WA` is the marker of the argument `A` (the `W` of `Part` and `Last`), or its source.

use std::future::Future;
use std::task::Poll;

use axum_core::response::IntoResponse;

use crate::function::arguments::{
    Argument, Arguments, Ending, Head, Last, Part, Passing, TakeAll, TakeLast, TakePart,
};
use crate::function::checked::Answer;
use crate::function::guard::Guard;
use crate::function::handler::HandlerFn;
use crate::function::middleware::MiddlewareFn;
use crate::provide::HasState;
use crate::step::next::Next;
use crate::step::reach::Erased;
use crate::step::tail::Cx;
use crate::{Request, Response};

/// Functions none of whose arguments reads the body: middleware and guards.
macro_rules! passing {
    ($($arg:ident $how:ident,)*) => {
        impl<'a, Func, Fut, Values, $($arg,)*> MiddlewareFn<'a, ($($arg,)*), Values> for Func
        where
            Func: Fn($($arg,)* Next<'a, Erased, Values>) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoResponse> + Send + 'a,
        {
            type Out = Fut::Output;
            type Future = Fut;

            #[allow(non_snake_case, reason = "a value is named as its type")]
            fn invoke(&self, ($($arg,)*): ($($arg,)*), next: Next<'a, Erased, Values>) -> Fut {
                self($($arg,)* next)
            }
        }

        impl<Func, Fut, T, E, $($arg,)*> Guard<($($arg,)*)> for Func
        where
            Func: Fn($($arg,)*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<T, E>> + Send,
            T: Clone + Send + Sync + 'static,
            E: IntoResponse,
            $($arg: Send,)*
        {
            type Value = T;
            type Refusal = E;
            type Own = Func;

            fn own(self) -> Func {
                self
            }

            #[allow(non_snake_case, reason = "a value is named as its type")]
            async fn check(&self, ($($arg,)*): ($($arg,)*)) -> Result<T, Response> {
                self($($arg,)*).await.map_err(IntoResponse::into_response)
            }
        }

        impl<P, $($arg, $how,)*> Arguments<P, ($($how,)*)> for Passing<($($arg,)*)>
        where
            $($arg: Part<P, $how>,)*
        {
            type Sources = ($($arg::Source,)*);
        }

        passing!(@take $($arg $how,)*);
    };
    // Without arguments, nothing is taken from the request. The future has no state, so the compiler removes it.
    (@take) => {
        impl TakeAll<Passing<()>> for () {
            const EXTRACTS: bool = false;

            fn take(
                _: &mut Request,
                _: &Cx<'_>,
            ) -> impl Future<Output = Result<Passing<()>, Response>> + Send {
                std::future::poll_fn(|_| Poll::Ready(Ok(Passing(()))))
            }
        }
    };
    (@take $($arg:ident $how:ident,)+) => {
        impl<$($arg: Send, $how: TakePart<$arg>,)+> TakeAll<Passing<($($arg,)+)>> for ($($how,)+) {
            const EXTRACTS: bool = $($how::EXTRACTS ||)+ false;

            async fn take(
                req: &mut Request,
                cx: &Cx<'_>,
            ) -> Result<Passing<($($arg,)+)>, Response> {
                if $($how::EXTRACTS ||)+ false {
                    cx.show_match(req);
                }
                let mut head = Head::of(req);
                Ok(Passing(($($how::take(&mut head).await?,)+)))
            }
        }
    };
}

/// Functions whose last argument may read the body: handlers.
macro_rules! ending {
    ($($arg:ident $how:ident,)* [$last:ident $last_how:ident]) => {
        impl<Func, Fut, S, MLast, $($arg,)* $last> HandlerFn<($($arg,)* $last,), S, MLast> for Func
        where
            Func: Fn($($arg,)* $last) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoResponse> + Send,
            $($arg: Send,)*
            $last: Argument<S, MLast> + Send,
        {
            type Own = Func;
            type Out = Fut::Output;

            fn own(self) -> Func {
                self
            }

            #[allow(non_snake_case, reason = "a value is named as its type")]
            fn invoke(
                &self,
                ($($arg,)* $last,): ($($arg,)* $last,),
            ) -> impl Future<Output = Response> + Send {
                Answer { function: self($($arg,)* $last) }
            }
        }

        impl<P, S, $($arg, $how,)* $last, $last_how> Arguments<P, ($($how,)* $last_how,)>
            for Ending<($($arg,)* $last,), S>
        where
            P: HasState<S>,
            $($arg: Part<P, $how>,)*
            $last: Last<P, $last_how>,
        {
            type Sources = ($($arg::Source,)* $last::Source,);
        }

        impl<S, $($arg, $how,)* $last, $last_how> TakeAll<Ending<($($arg,)* $last,), S>>
            for ($($how,)* $last_how,)
        where
            $($arg: Send, $how: TakePart<$arg>,)*
            $last: Send,
            $last_how: TakeLast<$last>,
        {
            const EXTRACTS: bool = $($how::EXTRACTS ||)* $last_how::EXTRACTS;

            #[allow(non_snake_case, reason = "a value is named as its type")]
            #[allow(clippy::unused_unit, unused_mut, unused_variables, reason = "there may be one argument only")]
            async fn take(
                req: &mut Request,
                cx: &Cx<'_>,
            ) -> Result<Ending<($($arg,)* $last,), S>, Response> {
                if $($how::EXTRACTS ||)* $last_how::EXTRACTS {
                    cx.show_match(req);
                }
                // Dropping the head at the end of the block puts the request together again, for the last argument.
                let ($($arg,)*) = {
                    let mut head = Head::of(req);
                    ($($how::take(&mut head).await?,)*)
                };
                let $last = $last_how::take(req).await?;
                Ok(Ending::new(($($arg,)* $last,)))
            }
        }
    };
}

/// Calls `passing` and `ending` for each number of arguments.
macro_rules! functions {
    ([$($done:tt)*] $(;)?) => {};
    ([$($done:tt)*] $arg:ident $how:ident, $($rest:tt)*) => {
        ending!($($done)* [$arg $how]);
        passing!($($done)*);
        functions!([$($done)* $arg $how,] $($rest)*);
    };
    // After the `;`: more arguments than middleware and guards may have.
    ([$($done:tt)*] ; $arg:ident $how:ident, $($rest:tt)*) => {
        ending!($($done)* [$arg $how]);
        functions!([$($done)* $arg $how,] ; $($rest)*);
    };
}

functions!([] A WA, B WB, C WC, D WD, E1 WE, F WF, G WG, H WH, I WI, ; J WJ, K WK, L WL,);

impl<F, Fut, S> HandlerFn<(), S, ()> for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoResponse> + Send,
{
    type Own = F;
    type Out = Fut::Output;

    fn own(self) -> F {
        self
    }

    fn invoke(&self, (): ()) -> impl Future<Output = Response> + Send {
        Answer { function: self() }
    }
}
