//! Bodies that can be shared between threads, for hosts that require it.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use axum_core::BoxError;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::Service;

use crate::Body;
use crate::tower::service::{ChainService, ServiceFuture};

/// A [`Body`] that is `Sync`.
///
/// The tower bridges of poem and salvo and the concurrent mode of `lambda_http` require it for responses, and warp for requests.
///
/// # Example
///
/// ```
/// use tower_chain::tower::SyncBody;
/// use tower_chain::Body;
///
/// fn wants_sync(_: impl Send + Sync) {}
/// wants_sync(SyncBody::new(Body::from("hello")));
/// ```
pub struct SyncBody(Mutex<Body>);

impl SyncBody {
    /// Wraps a body.
    pub fn new(body: Body) -> Self {
        Self(Mutex::new(body))
    }
}

impl fmt::Debug for SyncBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncBody")
    }
}

impl From<Body> for SyncBody {
    fn from(body: Body) -> Self {
        Self::new(body)
    }
}

impl HttpBody for SyncBody {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let body = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        Pin::new(body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// A chain whose responses have a [`SyncBody`]. Made by [`ChainService::with_sync_bodies`].
#[derive(Clone, Debug)]
pub struct SyncChain(ChainService);

impl ChainService {
    /// Makes the bodies of the responses `Sync`, for the tower bridges of poem and salvo.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    ///
    /// let api = Chain::new().get(async || "hello").build().with_sync_bodies();
    /// // poem: Route::new().nest("/", api.compat())
    /// # let _ = api;
    /// ```
    pub fn with_sync_bodies(self) -> SyncChain {
        SyncChain(self)
    }
}

impl<B> Service<http::Request<B>> for SyncChain
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<SyncBody>;
    type Error = Infallible;
    type Future = SyncFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, req: http::Request<B>) -> SyncFuture {
        SyncFuture(self.0.call(req))
    }
}

/// The future of a response of a [`SyncChain`].
#[derive(Debug)]
pub struct SyncFuture(ServiceFuture);

impl Future for SyncFuture {
    type Output = Result<http::Response<SyncBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_ok(|response| response.map(SyncBody::new))
    }
}
