//! Builds a chain, as a service or as a layer.
//!
//! The work is in `Chain::root`. It runs two passes over the list of steps (`step/fold.rs`): `register` numbers them, and
//! `fold` makes one value of them. Between the passes, `route/planner.rs` makes the lookup table.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use axum_core::BoxError;
use bytes::Bytes;
use http_body::Body as HttpBody;
use tower::Service;

use crate::Response;
use crate::chain::builder::Chain;
use crate::provide::NothingExpected;
use crate::provide::versions::SharedTypes;
use crate::route::error::BuildError;
use crate::route::planner::plan_routes;
use crate::route::registrar::{ClosedScope, Registrar};
use crate::step::end::End;
use crate::step::fold::{Assembly, Fold};
use crate::step::tail::{BoxTail, Built};
use crate::tower::as_layer::ChainLayer;
use crate::tower::root::Root;
use crate::tower::service::{ChainService, box_body};

impl<S, P, A, E, D> Chain<S, P, A, E, D> {
    /// Builds the service, which never changes afterwards.
    ///
    /// # Panics
    ///
    /// Panics if a path pattern is invalid, if two paths are in conflict, if no request reaches a handler, if middleware covers no
    /// handler, or if a handler of a catch-all passes requests on that are not sent to it. The message names the source location and
    /// what to change.
    /// [`try_build`](Chain::try_build) returns an error instead.
    #[track_caller]
    pub fn build(self) -> ChainService
    where
        S: Fold<End>,
        E: NothingExpected,
    {
        ChainService::new(self.root_or_panic(false))
    }

    /// Builds the service, which never changes afterwards.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    ///
    /// let twice = Chain::new().at("/{a}", |c| c.get(async || "a")).at("/{b}", |c| c.get(async || "b"));
    /// assert!(twice.try_build().is_err());
    /// ```
    #[track_caller]
    pub fn try_build(self) -> Result<ChainService, BuildError>
    where
        S: Fold<End>,
        E: NothingExpected,
    {
        self.root(false).map(ChainService::new)
    }

    /// Builds a service that saves one box per request compared to [`build`](Chain::build). Its type can't be named.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`build`](Chain::build).
    ///
    /// # Example
    ///
    /// ```
    /// use tower::ServiceExt;
    /// use tower_chain::{Body, Chain};
    ///
    /// # futures_util::FutureExt::now_or_never(async {
    /// let service = Chain::new().get(async || "hello").into_service();
    /// let response = service.oneshot(http::Request::get("/").body(Body::empty())?).await?;
    /// assert_eq!(response.status(), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn into_service<B>(
        self,
    ) -> impl Service<
        http::Request<B>,
        Response = Response,
        Error = Infallible,
        Future: Future<Output = Result<Response, Infallible>> + Send + 'static,
    >
    + Clone
    + Send
    + Sync
    + 'static
    + use<S, P, A, E, D, B>
    where
        S: Fold<End>,
        E: NothingExpected,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let root = self.root_or_panic(false);
        tower::service_fn(move |req: http::Request<B>| {
            let root = root.clone();
            let mut req = req.map(box_body);
            async move { Ok(root.respond(&mut req, None).await) }
        })
    }

    /// Builds a [`tower::Layer`], such as one for an existing axum `Router`. Requests that no handler of the chain answers go to the
    /// service behind the layer.
    ///
    /// The middleware of the chain runs for every request, because the service may answer any of them. The values that it provides
    /// are in the extensions of the request.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`build`](Chain::build).
    ///
    /// # Example
    ///
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use tower_chain::{Chain, Error};
    ///
    /// async fn checked(headers: http::HeaderMap) -> Result<(), Error> {
    ///     # let _ = headers;
    ///     Ok(())
    /// }
    ///
    /// let app: Router = Router::new()
    ///     .route("/", get(async || "axum"))
    ///     .layer(Chain::new().guard(checked).into_layer());
    /// # let _ = app;
    /// ```
    #[track_caller]
    pub fn into_layer(self) -> ChainLayer
    where
        S: Fold<End>,
        E: NothingExpected,
    {
        ChainLayer::new(self.root_or_panic(true))
    }

    #[track_caller]
    fn root_or_panic(self, in_front: bool) -> Arc<Root<S::Out>>
    where
        S: Fold<End>,
    {
        match self.root(in_front) {
            Ok(root) => root,
            Err(error) => panic!("{error}"),
        }
    }

    /// Registers and folds all steps. `in_front`: a service is behind the chain.
    #[track_caller]
    fn root(mut self, in_front: bool) -> Result<Arc<Root<S::Out>>, BuildError>
    where
        S: Fold<End>,
    {
        let mut registrar = Registrar::new(self.settings);
        self.steps.register(&mut registrar);
        let closed =
            if in_front { registrar.end_in_service(Location::caller()) } else { registrar.leave() };
        let (types, scopes) = registrar.shared_types();
        let routes = plan_routes(registrar, closed.end)?;
        let (tables, hooks) = (RefCell::default(), RefCell::default());
        let ClosedScope { first, end, depth } = closed;
        let assembly = Assembly { first, end, depth, tables: &tables, hooks: &hooks };
        let first = Arc::new(self.steps.fold(End::new(end, None, depth), &assembly));
        // `flatten` drops nothing. Each index was given out by `register` of a step, and set by `fold` of the same step.
        let tables = tables.into_inner().into_iter().flatten().collect();
        let hooks = hooks.into_inner().into_iter().flatten().collect();
        let shared = SharedTypes::new(routes.id, types, scopes);
        let first_tail = BoxTail(first.clone());
        let built = Arc::new(Built { routes, tables, hooks, shared, end, first: first_tail });
        Ok(Arc::new(Root { first, built }))
    }
}
