//! What a server can serve.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use tower::ServiceExt;

use crate::{ChainService, Request, Response};

/// A service that a server can serve: any tower service of [`Request`] and [`Response`] that can be cloned and never fails, such as a
/// [`ChainService`]. The server puts each response future of another service in a box.
#[diagnostic::on_unimplemented(
    message = "this can't be served: it is no service",
    label = "not a service",
    note = "a chain is served once it is built: `chain.build()`",
    note = "any other service must implement `tower::Service<Request, Response = Response, Error = Infallible>`, be `Clone + Send + Sync + 'static`, and have a `Future` that is `Send + 'static`"
)]
pub trait Servable:
    tower::Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

// Without it, the message of the compiler would name `tower::Service`, and not what to change.
#[diagnostic::do_not_recommend]
impl<S> Servable for S
where
    S: tower::Service<Request, Response = Response, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
}

/// A service without its type. The compiler compiles generic code in the program that uses it: a
/// server with a type parameter would be compiled again in each program.
pub(super) trait ErasedService: Send + Sync {
    /// Returns a future that calls the service when it is polled.
    fn call(&self, req: Request) -> BoxFuture<'static, Response>;
}

/// Removes the type of a service. A chain has one box for each request already, and does not get a second one.
pub(super) fn erased(service: impl Servable) -> Arc<dyn ErasedService> {
    match (&service as &dyn Any).downcast_ref::<ChainService>() {
        Some(chain) => Arc::new(chain.clone()),
        None => Arc::new(Foreign(service)),
    }
}

impl ErasedService for ChainService {
    fn call(&self, req: Request) -> BoxFuture<'static, Response> {
        self.answer(req)
    }
}

/// A service that is not a chain.
struct Foreign<S>(S);

impl<S: Servable> ErasedService for Foreign<S> {
    fn call(&self, req: Request) -> BoxFuture<'static, Response> {
        Box::pin(self.0.clone().oneshot(req).map(|Ok(response)| response))
    }
}
