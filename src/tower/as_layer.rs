//! A chain as a tower layer, in front of another service.

use axum_core::response::IntoResponse;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::{fmt, mem};

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::Body as HttpBody;
use tower::{Layer, Service};

use crate::route::routes::Matched;
use crate::step::tail::{InnerService, OwnedCx, Tail};
#[cfg(feature = "axum")]
use crate::tower::axum;
use crate::tower::root::{DynRoot, Root};
use crate::tower::service::{box_body, into_response};
use crate::{Error, Request, Response};

/// A chain in front of a service. Made by [`Chain::into_layer`](crate::Chain::into_layer).
///
/// If it is applied to several services, they share the state of its middleware.
#[derive(Clone)]
pub struct ChainLayer(Arc<dyn DynRoot>);

impl ChainLayer {
    pub(crate) fn new<E: Tail + 'static>(root: Arc<Root<E>>) -> Self {
        Self(root)
    }
}

impl fmt::Debug for ChainLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainLayer")
    }
}

impl<S> Layer<S> for ChainLayer {
    type Service = Chained<S>;

    fn layer(&self, inner: S) -> Chained<S> {
        Chained { root: self.0.clone(), inner }
    }
}

/// A service behind a [`ChainLayer`].
#[derive(Clone)]
pub struct Chained<S> {
    root: Arc<dyn DynRoot>,
    inner: S,
}

impl<S: fmt::Debug> fmt::Debug for Chained<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chained").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<http::Request<B>> for Chained<S>
where
    S: Service<Request, Response = http::Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ChainedFuture<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, req: http::Request<B>) -> ChainedFuture<S::Error> {
        // `poll_ready` was called on `self.inner`, so this value must be called, and the clone is left behind.
        let not_ready = self.inner.clone();
        let ready = mem::replace(&mut self.inner, not_ready);
        let mut req = req.map(box_body);
        // This chain may be a layer inside another chain, whose state is in the extensions. It is removed here, and restored for
        // the service behind this chain.
        let extensions = req.extensions_mut();
        let outer = (extensions.remove::<OwnedCx>(), extensions.remove::<Matched>());
        let inner = Arc::new(Once {
            service: Mutex::new(Some(ready)),
            outer,
            #[cfg(feature = "axum")]
            axum: axum::matched_path(extensions),
        });
        let future = self.root.clone().respond_boxed_in_front(req, inner);
        ChainedFuture { future, error: PhantomData }
    }
}

/// The future of a [`Chained`] service. It never returns an error: an error of the service behind the chain becomes a response,
/// which the middleware of the chain sees.
pub struct ChainedFuture<E> {
    future: BoxFuture<'static, Response>,
    error: PhantomData<fn() -> E>,
}

impl<E> fmt::Debug for ChainedFuture<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainedFuture")
    }
}

impl<E> Future for ChainedFuture<E> {
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx).map(Ok)
    }
}

/// A ready service that can be called once.
struct Once<S> {
    service: Mutex<Option<S>>,
    /// The state of a chain around this one, from the extensions of the request.
    outer: (Option<OwnedCx>, Option<Matched>),
    /// The pattern that axum's router matched.
    #[cfg(feature = "axum")]
    axum: Option<::axum::extract::MatchedPath>,
}

impl<S, R> InnerService for Once<S>
where
    S: Service<Request, Response = http::Response<R>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    fn outer_path(&self) -> Option<&str> {
        #[cfg(feature = "axum")]
        if let Some(path) = &self.axum {
            return Some(path.as_str());
        }
        self.outer.1.as_ref().map(Matched::pattern)
    }

    fn show_outer_match(&self, req: &mut Request) {
        if req.extensions().get::<Matched>().is_some() {
            return;
        }
        #[cfg(feature = "axum")]
        if let Some(path) = &self.axum {
            axum::show_match(path.as_str(), req);
            return;
        }
        if let Some(matched) = &self.outer.1 {
            req.extensions_mut().insert(matched.clone());
        }
    }

    fn call(&self, mut req: Request) -> BoxFuture<'static, Response> {
        let (cx, matched) = &self.outer;
        let extensions = req.extensions_mut();
        extensions.remove::<OwnedCx>();
        if let Some(cx) = cx {
            extensions.insert(cx.clone());
        }
        if let Some(matched) = matched {
            extensions.insert(matched.clone());
        }
        let ready = self.service.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut service) = ready else {
            let error =
                Error::internal("a tower layer called the rest of the chain twice for one request");
            return Box::pin(std::future::ready(error.into_response()));
        };
        let future = service.call(req);
        Box::pin(async move { into_response(future.await) })
    }
}
