//! TLS by rustls, with certificates that can be replaced while the server runs.

mod certificate;
mod client_roots;
mod error;
mod provider;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use self::certificate::{Certificate, CertificateFiles, certified_key};
pub use self::client_roots::ClientRoots;
pub use self::error::TlsError;
use self::provider::provider;

/// TLS for a [`Listener`](crate::serve::Listener): TLS 1.2 and 1.3, with HTTP/2 and HTTP/1.1 by ALPN.
///
/// Clones share the certificate. Keep a clone to [`replace`](Tls::replace) or [`reload`](Tls::reload) the certificate while the server runs.
/// Open connections keep the certificate that they began with.
///
/// # Example
///
/// ```no_run
/// # async fn run(api: tower_chain::ChainService) -> Result<(), Box<dyn std::error::Error>> {
/// use tower_chain::serve::{Listener, Tls};
/// use tower_chain::Server;
///
/// let tls = Tls::from_pem_files("/etc/ssl/api.pem", "/etc/ssl/api.key")?;
/// Server::new(Listener::bind("0.0.0.0:443").await?.tls(tls)).serve(api).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tls {
    config: Arc<RwLock<Arc<ServerConfig>>>,
    certificate: Option<Arc<Certificate>>,
}

impl Tls {
    /// Reads the certificate chain and the private key from two files in PEM format.
    ///
    /// While the server runs, it checks every minute whether the files have changed, and reads them again if so; [`reload`](Tls::reload) does
    /// that at once. If they can't be used, the server keeps the old certificate and logs the reason at level `ERROR`.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a file can't be read, or if the key does not belong to the certificate.
    pub fn from_pem_files(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = CertificateFiles::new(chain.into(), key.into(), CHECK_EVERY);
        let certificate = Certificate::new(Arc::new(files.load()?), Some(files));
        Self::new(certificate)
    }

    /// Takes the certificate chain and the private key as texts in PEM format.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if one of them is not PEM, or if the key does not belong to the certificate.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        let current = certified_key(chain.as_ref(), key.as_ref())?;
        Self::new(Certificate::new(Arc::new(current), None))
    }

    /// Takes a configuration of rustls as it is: for several names, another provider of cryptography, and so on.
    ///
    /// Its `alpn_protocols` should be `h2` and `http/1.1`; without them clients use HTTP/1.1. If the configuration verifies the certificates
    /// of clients, requests have [`ClientCertificate`](crate::extract::ClientCertificate).
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { config: Arc::new(RwLock::new(config)), certificate: None }
    }

    fn new(certificate: Certificate) -> Result<Self, TlsError> {
        let certificate = Arc::new(certificate);
        let config = configuration(certificate.clone(), WebPkiClientVerifier::no_client_auth())?;
        Ok(Self { config: Arc::new(RwLock::new(Arc::new(config))), certificate: Some(certificate) })
    }

    /// Requests a certificate from clients, and provides the verified one as [`ClientCertificate`](crate::extract::ClientCertificate).
    /// Defaults to requesting none.
    ///
    /// Called on a clone while the server runs, it applies to new connections: use it to replace the roots or the revocation lists. With client
    /// certificates, sessions are not resumed, as a resumed session would not verify the certificate again.
    ///
    /// # Errors
    ///
    /// [`TlsError::ClientRoots`] if the roots or the lists can't be used, [`TlsError::Configured`] after [`from_config`](Tls::from_config).
    pub fn client_certificates(self, roots: ClientRoots) -> Result<Self, TlsError> {
        let certificate = self.certificate.clone().ok_or(TlsError::Configured)?;
        let mut config = configuration(certificate, roots.verifier()?)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(self)
    }

    /// Reads the files again, and uses their certificate for new connections.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the files can't be used; the old certificate is kept. [`TlsError::NoFiles`] unless made by
    /// [`from_pem_files`](Tls::from_pem_files).
    pub fn reload(&self) -> Result<(), TlsError> {
        let (certificate, files) = self.files().ok_or(TlsError::NoFiles)?;
        certificate.set(files.load()?);
        Ok(())
    }

    /// Uses another certificate for new connections.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the certificate can't be used; the old one is kept. [`TlsError::NoFiles`] after [`from_config`](Tls::from_config).
    pub fn replace(&self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<(), TlsError> {
        let certificate = self.certificate.as_ref().ok_or(TlsError::NoFiles)?;
        certificate.set(certified_key(chain.as_ref(), key.as_ref())?);
        Ok(())
    }

    /// Sets how often the server checks whether the files have changed. Defaults to one minute.
    ///
    /// Call it before this value is cloned: clones that exist keep their interval. Without files it does nothing.
    #[must_use]
    pub fn check_every(mut self, check_every: Duration) -> Self {
        // The configuration of rustls has the certificate as its resolver, so both are replaced.
        if let Some(certificate) = self.certificate.take() {
            let files = certificate.files.as_ref().map(|files| files.with_interval(check_every));
            let certificate = Arc::new(Certificate::new(certificate.current(), files));
            let mut config = (*self.config()).clone();
            config.cert_resolver = certificate.clone();
            self = Self {
                config: Arc::new(RwLock::new(Arc::new(config))),
                certificate: Some(certificate),
            };
        }
        self
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again whenever they have changed. Never returns.
    pub(super) async fn watch(&self) {
        let Some((_, files)) = self.files() else { return std::future::pending().await };
        loop {
            tokio::time::sleep(files.check_every).await;
            let tls = self.clone();
            let check = tokio::task::spawn_blocking(move || tls.reload_if_changed());
            match check.await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!("the TLS certificate was replaced"),
                Ok(Err(error)) => tracing::error!(%error, "the old TLS certificate is kept"),
                Err(error) => tracing::error!(%error, "the TLS certificate was not checked"),
            }
        }
    }

    fn reload_if_changed(&self) -> Result<bool, TlsError> {
        match self.files() {
            Some((_, files)) if files.have_changed() => self.reload().map(|()| true),
            _ => Ok(false),
        }
    }

    fn files(&self) -> Option<(&Certificate, &CertificateFiles)> {
        let certificate = self.certificate.as_deref()?;
        Some((certificate, certificate.files.as_ref()?))
    }
}

/// Shows the names of the files, and nothing of the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Tls");
        if let Some((_, files)) = self.files() {
            debug.field("chain", &files.chain).field("key", &files.key);
        }
        debug.finish_non_exhaustive()
    }
}

fn configuration(
    certificate: Arc<Certificate>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Refused)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

const CHECK_EVERY: Duration = Duration::from_secs(60);
