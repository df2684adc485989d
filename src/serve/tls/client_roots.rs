//! Which client certificates a server trusts.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;

use super::error::TlsError;
use super::provider::provider;

/// Which client certificates a server trusts, for [`Tls::client_certificates`](crate::serve::Tls::client_certificates).
///
/// A client must present a certificate in the handshake, unless certificates are [`optional`](ClientRoots::optional). The certificate must be
/// valid now, must permit `clientAuth` if it restricts its use, and must be signed by one of the roots; the client sends the intermediate
/// certificates ([RFC 5280, 6](https://www.rfc-editor.org/rfc/rfc5280#section-6)). The names in it are not checked. The application can do that with
/// [`ClientCertificate`](crate::extract::ClientCertificate).
///
/// # Example
///
/// ```no_run
/// # async fn run(api: tower_chain::ChainService) -> Result<(), Box<dyn std::error::Error>> {
/// use tower_chain::serve::ClientRoots;
/// use tower_chain::serve::{Listener, Tls};
/// use tower_chain::Server;
///
/// let partners = ClientRoots::from_pem(std::fs::read("/etc/ssl/partners.pem")?)?;
/// let tls = Tls::from_pem_files("/etc/ssl/api.pem", "/etc/ssl/api.key")?.client_certificates(partners)?;
/// Server::new(Listener::bind("0.0.0.0:443").await?.tls(tls)).serve(api).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ClientRoots {
    roots: Arc<RootCertStore>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    optional: bool,
}

impl ClientRoots {
    /// Trusts certificates that are signed by these root certificates, given as a text in PEM format.
    ///
    /// # Errors
    ///
    /// [`TlsError::ClientRoots`] if the text is not PEM, or contains no certificate.
    pub fn from_pem(roots: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for root in items::<CertificateDer<'static>>(roots.as_ref())? {
            store.add(root).map_err(|error| TlsError::ClientRoots(error.into()))?;
        }
        Ok(Self { roots: Arc::new(store), revoked: Vec::new(), optional: false })
    }

    /// Also accepts clients without a certificate. A certificate that is presented must be valid all the same. Defaults to off.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Refuses the certificates in these revocation lists, given as a text in PEM format (`BEGIN X509 CRL`). Defaults to no lists.
    ///
    /// With a list, each certificate of a client's chain needs a list of its issuer that has not expired. A certificate without one is refused.
    ///
    /// # Errors
    ///
    /// [`TlsError::ClientRoots`] if the text is not PEM, or contains no list.
    pub fn revoked(mut self, lists: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        self.revoked.extend(items::<CertificateRevocationListDer<'static>>(lists.as_ref())?);
        Ok(self)
    }

    pub(super) fn verifier(self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let mut verifier = WebPkiClientVerifier::builder_with_provider(self.roots, provider())
            .with_crls(self.revoked)
            .enforce_revocation_expiration();
        if self.optional {
            verifier = verifier.allow_unauthenticated();
        }
        verifier.build().map_err(|error| TlsError::ClientRoots(error.into()))
    }
}

impl fmt::Debug for ClientRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRoots")
            .field("roots", &self.roots.len())
            .field("revoked", &self.revoked.len())
            .field("optional", &self.optional)
            .finish()
    }
}

/// The items of a PEM text: at least one.
fn items<T: PemObject>(text: &[u8]) -> Result<Vec<T>, TlsError> {
    let items: Result<Vec<T>, pem::Error> = T::pem_slice_iter(text).collect();
    match items {
        Ok(items) if items.is_empty() => Err(pem::Error::NoItemsFound),
        items => items,
    }
    .map_err(|error| TlsError::ClientRoots(error.into()))
}
