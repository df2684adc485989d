//! Methods that every middleware has.

use crate::Request;
use crate::chain::builder::Chain;
use crate::chain::list::{Push, Steps};
use crate::route::registrar::Settings;
use crate::step::added::Added;
use crate::step::combine::{BoxMiddleware, Unless, When};
use crate::step::next::Middleware;
use crate::tower::as_layer::ChainLayer;

/// Methods of every [`Middleware`].
pub trait MiddlewareExt: Middleware + Sized {
    /// Makes this middleware a [`tower::Layer`], for use without a chain.
    ///
    /// The values that it provides are in the extensions of the request: an axum handler behind the layer takes `Extension<T>`.
    ///
    /// # Example
    ///
    /// ```
    /// use axum::Router;
    /// use tower_chain::{MiddlewareExt, Next, Response, from_fn};
    ///
    /// async fn log(next: Next<'_>) -> Response {
    ///     println!("{}", next.uri().path());
    ///     next.run().await
    /// }
    ///
    /// let app: Router = Router::new().layer(from_fn(log).into_layer());
    /// # let _ = app;
    /// ```
    fn into_layer(self) -> ChainLayer {
        let steps = <Steps>::new().push(Added::middleware((self, None), "use", false));
        Chain::<_>::of(steps, Settings::default()).into_layer()
    }

    /// Runs this middleware only for the requests for which `predicate` returns `true`. Other requests bypass it.
    ///
    /// Only for middleware that provides nothing, because later steps rely on a provided value.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, MiddlewareExt, Next, Response, from_fn};
    ///
    /// async fn log(next: Next<'_>) -> Response {
    ///     println!("{}", next.uri().path());
    ///     next.run().await
    /// }
    ///
    /// let debugged = from_fn(log).when(|req| req.headers().contains_key("x-debug"));
    /// let chain = Chain::new().use_(debugged).get(async || "hello");
    /// # let _ = chain.build();
    /// ```
    fn when<F>(self, predicate: F) -> When<Self, F>
    where
        Self: Middleware<Provides = ()>,
        F: Fn(&Request) -> bool + Send + Sync + 'static,
    {
        When::new(self, predicate)
    }

    /// Runs this middleware only for the requests for which `predicate` returns `false`. Other requests bypass it.
    fn unless<F>(self, predicate: F) -> Unless<Self, F>
    where
        Self: Middleware<Provides = ()>,
        F: Fn(&Request) -> bool + Send + Sync + 'static,
    {
        Unless::new(self, predicate)
    }

    /// Erases the type. Middleware that is chosen at run time then fits in one variable or one list.
    fn boxed(self) -> BoxMiddleware
    where
        Self: Middleware<Provides = ()>,
    {
        BoxMiddleware::new(self)
    }
}

impl<M: Middleware> MiddlewareExt for M {}
