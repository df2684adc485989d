//! Middleware that is there or not, chosen at run time, or skipped for some requests.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either};

use crate::next::{Cx, Endpoint, ErasedEndpoint, Middleware, Rest};
use crate::{Request, Response};

/// `None` passes every request on.
impl<M: Middleware<Provides = ()>> Middleware for Option<M> {
    type Provides = ();

    fn call<'a, N: Endpoint>(
        &'a self,
        req: &'a mut Request,
        next: Rest<'a, N>,
    ) -> impl Future<Output = Response> + Send {
        match self {
            Some(middleware) => Either::Left(middleware.call(req, next)),
            None => Either::Right(next.run(req)),
        }
    }

    fn name(&self) -> String {
        match self {
            Some(middleware) => middleware.name(),
            None => "None".to_owned(),
        }
    }
}

/// Middleware that runs only for some requests. Made by [`Middleware::when`].
#[derive(Clone, Debug)]
pub struct When<M, F> {
    middleware: M,
    predicate: F,
}

/// Middleware that runs for all requests but some. Made by [`Middleware::unless`].
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

            fn call<'a, N: Endpoint>(
                &'a self,
                req: &'a mut Request,
                next: Rest<'a, N>,
            ) -> impl Future<Output = Response> + Send {
                if (self.predicate)(req) == $wanted {
                    Either::Left(self.middleware.call(req, next))
                } else {
                    Either::Right(next.run(req))
                }
            }

            fn name(&self) -> String {
                self.middleware.name()
            }
        }
    };
}

conditional!(When, true);
conditional!(Unless, false);

/// Middleware whose type is erased, so that what configuration chooses fits one variable.
///
/// A `Vec` of them is middleware as well, run in its order. Costs a box a request for each, and one for the rest of the chain.
///
/// # Example
///
/// ```
/// use tower_chain::{BoxMiddleware, Chain, Middleware, Next, Request, Response, from_fn};
///
/// async fn log(req: Request, next: Next<'_>) -> Response {
///     next.run(req).await
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
    fn call_dyn<'a>(
        &'a self,
        req: &'a mut Request,
        next: Rest<'a, Remaining<'a>>,
    ) -> BoxFuture<'a, Response>;
    fn dyn_name(&self) -> String;
}

impl<M: Middleware<Provides = ()>> DynMiddleware for M {
    fn call_dyn<'a>(
        &'a self,
        req: &'a mut Request,
        next: Rest<'a, Remaining<'a>>,
    ) -> BoxFuture<'a, Response> {
        Box::pin(self.call(req, next))
    }

    fn dyn_name(&self) -> String {
        self.name()
    }
}

/// What remains of a list, before the rest of the chain.
struct Remaining<'a> {
    middleware: &'a [BoxMiddleware],
    next: &'a dyn ErasedEndpoint,
}

impl Endpoint for Remaining<'_> {
    async fn call(&self, req: &mut Request, cx: &Cx<'_>) -> Response {
        match self.middleware.split_first() {
            Some((first, middleware)) => {
                let remaining = Remaining { middleware, next: self.next };
                first.0.call_dyn(req, Rest::new(&remaining, cx)).await
            }
            None => self.next.call_boxed(req, cx).await,
        }
    }
}

async fn run_all<N: Endpoint>(
    middleware: &[BoxMiddleware],
    req: &mut Request,
    next: Rest<'_, N>,
) -> Response {
    let cx = next.cx();
    Remaining { middleware, next: next.next() }.call(req, cx).await
}

impl Middleware for BoxMiddleware {
    type Provides = ();

    async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N>) -> Response {
        run_all(std::slice::from_ref(self), req, next).await
    }

    fn name(&self) -> String {
        self.0.dyn_name()
    }
}

impl Middleware for Vec<BoxMiddleware> {
    type Provides = ();

    async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N>) -> Response {
        run_all(self, req, next).await
    }

    fn name(&self) -> String {
        let names: Vec<String> = self.iter().map(Middleware::name).collect();
        format!("[{}]", names.join(", "))
    }
}
