//! Tower layers inside a chain.
//!
//! A layer wraps a service, which takes an owned request. So the rest of the chain becomes a service ([`TowerNext`]), and the
//! state of the request ([`OwnedCx`]) is in the extensions of the request while it is inside the layer.

use axum_core::response::IntoResponse;
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, mem};

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::future::Either;
use http_body::Body as HttpBody;
use tower::{Layer, Service, ServiceExt};

use crate::declare::Declaration;
use crate::probe::Site;
use crate::route::listing::short_name;
use crate::route::registrar::Registrar;
use crate::step::added::Added;
use crate::step::around::Cover;
use crate::step::fold::{Assembly, Fold, Step};
use crate::step::next::{Declare, IntoMiddleware};
use crate::step::tail::{BoxTail, Cx, OwnedCx, OwnedTail, Tail};
use crate::tower::service::{ResponseFuture, ServiceFuture, box_body, into_response};
use crate::{Error, Request, Response};

/// The rest of a chain as a service. A tower layer inside the chain wraps it.
#[derive(Clone)]
pub struct TowerNext(Arc<dyn OwnedTail>);

impl fmt::Debug for TowerNext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TowerNext")
    }
}

impl<B> Service<http::Request<B>> for TowerNext
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ServiceFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, req: http::Request<B>) -> ServiceFuture {
        let req = req.map(box_body);
        let future = match req.extensions().get::<OwnedCx>().cloned() {
            Some(on) => self.0.clone().call_owned(req, on),
            None => {
                let error = Error::internal(
                    "a tower layer made a new request: it must pass on the extensions of the one that it was given",
                );
                Box::pin(std::future::ready(error.into_response()))
            }
        };
        ServiceFuture(ResponseFuture(future))
    }
}

/// The bounds on the response body of a layer or service.
#[doc(hidden)]
pub trait ResponseBody: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}

impl<B> ResponseBody for B
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
}

/// The bounds on a tower layer in a chain. `B` is the body of its responses.
#[doc(hidden)]
pub trait TowerLayer<B>:
    Layer<
        TowerNext,
        Service: Service<
            Request,
            Response = http::Response<B>,
            Error: Into<BoxError>,
            Future: Send,
        > + Clone
                     + Send
                     + Sync
                     + 'static,
    > + Send
    + 'static
{
}

impl<L, B> TowerLayer<B> for L
where
    L: Layer<TowerNext> + Send + 'static,
    L::Service: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request>>::Error: Into<BoxError>,
    <L::Service as Service<Request>>::Future: Send,
{
}

#[doc(hidden)]
#[derive(Debug)]
pub struct AsLayer<B>(PhantomData<B>);

/// A tower layer that is not yet applied to the rest of the chain.
#[doc(hidden)]
#[derive(Debug)]
pub struct LayerStep<L, B>(L, PhantomData<fn() -> B>);

impl<L, B> IntoMiddleware<AsLayer<B>> for L
where
    L: TowerLayer<B>,
    B: ResponseBody,
{
    type Args = ();
    type Step<R> = LayerStep<L, B>;
    type Provides = ();

    fn into_step<R>(self) -> (LayerStep<L, B>, Option<Declare>) {
        (LayerStep(self, PhantomData), None)
    }
}

/// A tower layer, applied to the rest of the chain.
#[doc(hidden)]
pub struct LayerTail<L: Layer<TowerNext>, B> {
    service: L::Service,
    next: BoxTail,
    cover: Cover,
    site: Site,
    body: PhantomData<fn() -> B>,
}

impl<L: TowerLayer<B>, B> LayerTail<L, B> {
    fn new(step: LayerStep<L, B>, next: Arc<impl Tail>, cover: Cover, site: Site) -> Self {
        let service = step.0.layer(TowerNext(next.clone()));
        Self { service, next: BoxTail(next), cover, site, body: PhantomData }
    }
}

impl<L, B> Tail for LayerTail<L, B>
where
    L: TowerLayer<B>,
    B: ResponseBody,
{
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        if !self.cover.holds(cx, req) {
            return Either::Left(self.next.call(req, cx));
        }
        Either::Right(self.site.probe(&cx.built.routes, || {
            // If another layer of the same scope is around this one, the state is already there.
            if !req.extensions().get::<OwnedCx>().is_some_and(|on| on.is_of(cx)) {
                req.extensions_mut().insert(OwnedCx::new(cx));
            }
            cx.show_match(req);
            // `oneshot` waits until the clone is ready before it calls it.
            let future = self.service.clone().oneshot(mem::take(req));
            async move { into_response(future.await) }
        }))
    }
}

impl<L: TowerLayer<B>, B: ResponseBody> Step for Added<LayerStep<L, B>> {
    fn register(&mut self, registrar: &mut Registrar) {
        self.entry.register(short_name::<L>(), Declaration::default(), registrar);
    }
}

impl<L: TowerLayer<B>, B: ResponseBody, N: Tail + 'static> Fold<N> for Added<LayerStep<L, B>> {
    type Out = LayerTail<L, B>;

    fn fold(self, next: N, assembly: &Assembly<'_>) -> Self::Out {
        let site = Site::step(self.entry.number);
        LayerTail::new(self.step, Arc::new(next), self.entry.cover(assembly), site)
    }
}
