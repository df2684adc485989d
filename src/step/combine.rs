//! Optional middleware, middleware that is skipped for some requests, and middleware without its type.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either};

use crate::declare::Declaration;
use crate::step::next::{Middleware, Next};
use crate::step::reach::{Endpoint, Reach, RestSlot};
use crate::{Request, Response};

/// `None` passes every request on.
impl<M: Middleware<Provides = ()>> Middleware for Option<M> {
    type Provides = ();

    fn call<N: Endpoint>(&self, next: Next<'_, N>) -> impl Future<Output = Response> + Send {
        match self {
            Some(middleware) => Either::Left(middleware.call(next)),
            None => Either::Right(next.run()),
        }
    }

    fn name(&self) -> String {
        match self {
            Some(middleware) => middleware.name(),
            None => "None".to_owned(),
        }
    }

    fn declare(&self, to: &mut Declaration) {
        if let Some(middleware) = self {
            middleware.declare(to);
        }
    }
}

/// Middleware that runs only for some requests. Made by [`MiddlewareExt::when`](crate::MiddlewareExt::when).
#[derive(Clone, Debug)]
pub struct When<M, F> {
    middleware: M,
    predicate: F,
}

/// Middleware that is skipped for some requests. Made by [`MiddlewareExt::unless`](crate::MiddlewareExt::unless).
#[derive(Clone, Debug)]
pub struct Unless<M, F> {
    middleware: M,
    predicate: F,
}

macro_rules! conditional {
    ($type:ident, $wanted:literal) => {
        impl<M, F> $type<M, F> {
            pub(crate) fn new(middleware: M, predicate: F) -> Self {
                Self { middleware, predicate }
            }
        }

        impl<M, F> Middleware for $type<M, F>
        where
            M: Middleware<Provides = ()>,
            F: Fn(&Request) -> bool + Send + Sync + 'static,
        {
            type Provides = ();

            fn call<N: Endpoint>(
                &self,
                next: Next<'_, N>,
            ) -> impl Future<Output = Response> + Send {
                if (self.predicate)(&next) == $wanted {
                    Either::Left(self.middleware.call(next))
                } else {
                    Either::Right(next.run())
                }
            }

            fn name(&self) -> String {
                self.middleware.name()
            }

            fn declare(&self, to: &mut Declaration) {
                self.middleware.declare(to);
                to.is_conditional();
            }
        }
    };
}

conditional!(When, true);
conditional!(Unless, false);

/// Middleware whose type is erased. Middleware that is chosen at run time then fits in one variable.
///
/// A `Vec` of them is middleware as well, and runs in its order. Each costs one box per request.
///
/// # Example
///
/// ```
/// use tower_chain::{BoxMiddleware, Chain, MiddlewareExt, Next, Response, from_fn};
///
/// async fn log(next: Next<'_>) -> Response {
///     next.run().await
/// }
///
/// let mut chosen: Vec<BoxMiddleware> = Vec::new();
/// if std::env::var_os("LOG").is_some() {
///     chosen.push(from_fn(log).boxed());
/// }
/// let chain = Chain::new().use_(chosen).get(async || "hello");
/// # let _ = chain.build();
/// ```
#[derive(Clone)]
pub struct BoxMiddleware(Arc<dyn DynMiddleware>);

impl BoxMiddleware {
    pub(crate) fn new(middleware: impl Middleware<Provides = ()>) -> Self {
        Self(Arc::new(middleware))
    }
}

impl std::fmt::Debug for BoxMiddleware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BoxMiddleware").field(&self.0.dyn_name()).finish()
    }
}

trait DynMiddleware: Send + Sync {
    /// Runs this middleware, then `others`, then the rest of the chain.
    fn call_dyn<'a>(
        &'a self,
        others: &'a [BoxMiddleware],
        next: Next<'a>,
    ) -> BoxFuture<'a, Response>;
    fn dyn_name(&self) -> String;
    fn dyn_declare(&self, to: &mut Declaration);
}

impl<M: Middleware<Provides = ()>> DynMiddleware for M {
    fn call_dyn<'a>(
        &'a self,
        others: &'a [BoxMiddleware],
        next: Next<'a>,
    ) -> BoxFuture<'a, Response> {
        let Some((second, others)) = others.split_first() else {
            return Box::pin(self.call(next));
        };
        Box::pin(async move {
            let slot = pin!(RestSlot::default());
            let run = |reach| second.0.call_dyn(others, Next::from_reach(reach));
            self.call(next.through(slot, run)).await
        })
    }

    fn dyn_name(&self) -> String {
        self.name()
    }

    fn dyn_declare(&self, to: &mut Declaration) {
        self.declare(to);
    }
}

impl Middleware for BoxMiddleware {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let slot = pin!(RestSlot::default());
        self.0.call_dyn(&[], next.through(slot, Reach::run)).await
    }

    fn name(&self) -> String {
        self.0.dyn_name()
    }

    fn declare(&self, to: &mut Declaration) {
        self.0.dyn_declare(to);
    }
}

impl Middleware for Vec<BoxMiddleware> {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let Some((first, others)) = self.split_first() else { return next.run().await };
        let slot = pin!(RestSlot::default());
        first.0.call_dyn(others, next.through(slot, Reach::run)).await
    }

    fn name(&self) -> String {
        let names: Vec<String> = self.iter().map(Middleware::name).collect();
        format!("[{}]", names.join(", "))
    }

    fn declare(&self, to: &mut Declaration) {
        for middleware in self {
            middleware.declare(to);
        }
    }
}
