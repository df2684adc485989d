//! What a server can serve.

use std::convert::Infallible;

use crate::{Request, Response};

/// A service that a server can serve: any tower service of [`Request`] and [`Response`] that can be cloned and never fails, such as a
/// [`ChainService`](crate::ChainService).
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
