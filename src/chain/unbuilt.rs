//! The message of the compiler for a chain that is used as a service before it is built.
//!
//! `Chain` implements the two service traits, and `Layer`, under a bound that no chain meets. The traits are of other crates, so only the bound can have a
//! message of its own. Hosts such as hyper and axum require one of the traits.

use std::convert::Infallible;
use std::future::Ready;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use crate::Response;
use crate::chain::builder::Chain;

/// A chain before it is built, as the subject of the message.
#[doc(hidden)]
#[derive(Debug)]
pub struct Unbuilt<S>(PhantomData<S>);

#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a chain is a service only after it is built",
    label = "this chain is not built",
    note = "build it: `chain.build()`; in another chain, mount it instead: `.mount(path, chain)`"
)]
pub trait IsBuilt {
    /// There is no implementation for [`Unbuilt`], so it is never called.
    fn never() -> !;
}

#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a chain is a layer only by `into_layer`",
    label = "this chain is no layer yet",
    note = "make a layer of it: `chain.into_layer()`"
)]
pub trait IsLayer {
    /// There is no implementation for [`Unbuilt`], so it is never called.
    fn never() -> !;
}

#[doc(hidden)]
impl<S, P, A, E, D, I> tower::Layer<I> for Chain<S, P, A, E, D>
where
    Unbuilt<S>: IsLayer,
{
    type Service = I;

    fn layer(&self, _: I) -> I {
        <Unbuilt<S> as IsLayer>::never()
    }
}

/// Hosts also require `Clone`, and the compiler would report that first.
#[doc(hidden)]
impl<S, P, A, E, D> Clone for Chain<S, P, A, E, D>
where
    Unbuilt<S>: IsBuilt,
{
    fn clone(&self) -> Self {
        <Unbuilt<S> as IsBuilt>::never()
    }
}

#[doc(hidden)]
impl<S, P, A, E, D, B> tower::Service<http::Request<B>> for Chain<S, P, A, E, D>
where
    Unbuilt<S>: IsBuilt,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <Unbuilt<S> as IsBuilt>::never()
    }

    fn call(&mut self, _: http::Request<B>) -> Self::Future {
        <Unbuilt<S> as IsBuilt>::never()
    }
}

#[doc(hidden)]
impl<S, P, A, E, D, B> hyper::service::Service<http::Request<B>> for Chain<S, P, A, E, D>
where
    Unbuilt<S>: IsBuilt,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn call(&self, _: http::Request<B>) -> Self::Future {
        <Unbuilt<S> as IsBuilt>::never()
    }
}
