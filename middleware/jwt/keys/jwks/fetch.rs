//! The HTTP client for JWK sets and metadata.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::Empty;
use hyper_rustls::builderstates::WantsSchemes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::middleware::jwt::error::JwtError;
use crate::{Body, Response};

/// Sends the requests of a [`Jwks`](super::Jwks). Implement it to use another client, or to add a header.
///
/// It sends one GET, does not follow redirects, and returns the response as it is. The caller limits time, size and redirects.
///
/// # Example
///
/// The API server of Kubernetes is an issuer whose certificate is signed by an authority of the cluster, and which requires a bearer token:
///
/// ```no_run
/// use std::path::Path;
///
/// use http::HeaderValue;
/// use http::header::AUTHORIZATION;
/// use tower_chain::middleware::jwt::{Algorithm, Fetch, HttpFetch, Jwks};
/// use tower_chain::{Jwt, Response};
///
/// /// Adds the token of this service account, which the cluster replaces from time to time.
/// struct InCluster(HttpFetch);
///
/// impl Fetch for InCluster {
///     type Error = Box<dyn std::error::Error + Send + Sync>;
///
///     async fn fetch(&self, mut request: http::Request<()>) -> Result<Response, Self::Error> {
///         let token = std::fs::read_to_string(Path::new(ACCOUNT).join("token"))?;
///         let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim_ascii()))?;
///         value.set_sensitive(true);
///         request.headers_mut().insert(AUTHORIZATION, value);
///         Ok(self.0.fetch(request).await?)
///     }
/// }
///
/// const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ca = std::fs::read(Path::new(ACCOUNT).join("ca.crt"))?;
/// let keys = Jwks::issuer("https://kubernetes.default.svc.cluster.local", [Algorithm::Rs256])?
///     .fetch(InCluster(HttpFetch::trusting(ca)?));
/// let jwt = Jwt::<()>::new(keys).audience("https://api.example.org");
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
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

/// Fetches over HTTPS, or over HTTP where [`Jwks`](super::Jwks) allows it. It trusts the certificate authorities of Mozilla, which are compiled in, or
/// only [others](Self::trusting).
#[derive(Clone)]
pub struct HttpFetch(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl HttpFetch {
    pub(crate) fn new() -> Result<Self, JwtError> {
        let roots = HttpsConnectorBuilder::new().with_provider_and_webpki_roots(provider());
        Ok(Self::of(roots.map_err(|_| JwtError::Tls)?))
    }

    /// Trusts the certificate authorities in this text in PEM format, and no others.
    ///
    /// # Errors
    ///
    /// If the text is not PEM, or does not contain a certificate.
    pub fn trusting(authorities: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities.as_ref()) {
            let authority = authority.map_err(|_| JwtError::CertificateAuthority)?;
            roots.add(authority).map_err(|_| JwtError::CertificateAuthority)?;
        }
        if roots.is_empty() {
            return Err(JwtError::CertificateAuthority);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| JwtError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::of(HttpsConnectorBuilder::new().with_tls_config(config)))
    }

    fn of(tls: HttpsConnectorBuilder<WantsSchemes>) -> Self {
        let connector = tls.https_or_http().enable_http1().build();
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
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
