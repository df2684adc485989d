//! The HTTP client for JWK sets and metadata.

use std::fmt;
use std::future::Future;

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::{Body, Response};

/// Sends the requests of a [`Jwks`](super::Jwks). Implement it to use a proxy, or a certificate authority of your own.
///
/// It sends one GET, does not follow redirects, and returns the response as it is. The caller limits time, size and redirects.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::jwt::Fetch;
/// use tower_chain::{Body, Response};
///
/// /// Serves keys from a file, for a test.
/// struct File(&'static str);
///
/// impl Fetch for File {
///     type Error = std::io::Error;
///
///     async fn fetch(&self, _: http::Request<()>) -> Result<Response, std::io::Error> {
///         Ok(Response::new(Body::from(std::fs::read(self.0)?)))
///     }
/// }
/// # let _ = File("keys.json");
/// ```
pub trait Fetch: Send + Sync + 'static {
    /// Why there is no response. The error is logged.
    type Error: Into<BoxError>;

    /// Sends a GET with these headers.
    fn fetch(
        &self,
        request: Request<()>,
    ) -> impl Future<Output = Result<Response, Self::Error>> + Send;
}

/// An object-safe [`Fetch`].
pub(crate) trait AnyFetch: Send + Sync {
    fn fetch_any(&self, request: Request<()>) -> BoxFuture<'_, Result<Response, BoxError>>;
}

impl<F: Fetch> AnyFetch for F {
    fn fetch_any(&self, request: Request<()>) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(async move { self.fetch(request).await.map_err(Into::into) })
    }
}

/// Fetches over HTTPS, or over HTTP from a loopback address. It trusts the certificate authorities of Mozilla, which are compiled in.
#[derive(Clone)]
pub struct HttpFetch(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl HttpFetch {
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let roots = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())?;
        let connector = roots.https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }
}

impl Fetch for HttpFetch {
    type Error = hyper_util::client::legacy::Error;

    async fn fetch(&self, request: Request<()>) -> Result<Response, Self::Error> {
        let response = self.0.request(request.map(|()| Empty::new())).await?;
        Ok(response.map(Body::new))
    }
}

impl fmt::Debug for HttpFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpFetch")
    }
}
