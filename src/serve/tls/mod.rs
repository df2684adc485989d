//! TLS by rustls, with certificates that can be replaced while the server runs.

mod certificate;
mod client_roots;
mod error;
mod provider;
mod tickets;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::Ticketer;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use self::certificate::{Certificate, CertificateFiles, Certificates, certified_key};
pub use self::client_roots::ClientRoots;
pub use self::error::TlsError;
use self::provider::provider;
use self::tickets::Tickets;

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
    certificates: Option<Arc<Certificates>>,
}

impl Tls {
    /// Reads the certificate chain and the private key from two files in PEM format.
    ///
    /// While the server runs, it checks every minute whether their contents have changed, and uses them if so; [`reload`](Tls::reload) does
    /// that at once. If they can't be used, or one of them was removed, the server keeps the old certificate and logs the reason at level
    /// `ERROR`.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a file can't be read, or if the key does not belong to the certificate.
    pub fn from_pem_files(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = CertificateFiles::new(chain.into(), key.into(), None);
        Self::new(Certificate::from_files(files)?)
    }

    /// Takes the certificate chain and the private key as texts in PEM format.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if one of them is not PEM, or if the key does not belong to the certificate.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        Self::new(Certificate::new(certified_key(chain.as_ref(), key.as_ref())?))
    }

    /// Adds another certificate, for its own names. Its files are read again as those of [`from_pem_files`](Tls::from_pem_files).
    ///
    /// A client gets the first certificate that is valid for the name that it requests (SNI), and the first of all if there is none or if it
    /// requests no name. Called on a clone while the server runs, it applies to new connections; the files of a listener are watched if at
    /// least one certificate was from files when the server started.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a file can't be used, [`TlsError::Configured`] after [`from_config`](Tls::from_config).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn run() -> Result<(), tower_chain::serve::TlsError> {
    /// use tower_chain::serve::Tls;
    ///
    /// let tls = Tls::from_pem_files("/etc/ssl/a.example.pem", "/etc/ssl/a.example.key")?
    ///     .and_pem_files("/etc/ssl/b.example.pem", "/etc/ssl/b.example.key")?
    ///     .ocsp_file("/etc/ssl/b.example.ocsp")?;
    /// # let _ = tls;
    /// # Ok(()) }
    /// ```
    pub fn and_pem_files(
        self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let certificates = self.certificates.as_ref().ok_or(TlsError::Configured)?;
        let files = CertificateFiles::new(chain.into(), key.into(), None);
        certificates.add(Certificate::from_files(files)?);
        Ok(self)
    }

    /// Sends the OCSP response in this file, in DER format, with the certificate that was added last (stapling, RFC 6066, 8).
    ///
    /// Another program must renew the file before the response expires; it is read again as the certificate is.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the file can't be read, [`TlsError::NoFiles`] if that certificate is not from files.
    pub fn ocsp_file(self, path: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let certificates = self.certificates.as_ref().ok_or(TlsError::Configured)?;
        let last = certificates.all().pop();
        let files = last.as_ref().and_then(|last| last.files.as_ref()).ok_or(TlsError::NoFiles)?;
        let files =
            CertificateFiles::new(files.chain.clone(), files.key.clone(), Some(path.into()));
        certificates.replace_last(Certificate::from_files(files)?);
        Ok(self)
    }

    /// Encrypts session tickets with keys from this secret, of at least 32 random bytes: clients resume their sessions after a restart of the
    /// server, and on all servers that have the same secret. Defaults to random keys, which end with the process.
    ///
    /// A ticket is valid for 12 to 24 hours. Whoever has the secret and a recorded connection of TLS 1.2 can read it, so change the secret as
    /// you change the private key. With client certificates, sessions are not resumed, and this does nothing.
    ///
    /// # Errors
    ///
    /// [`TlsError::TicketSecret`] if the secret is shorter, [`TlsError::Configured`] after [`from_config`](Tls::from_config).
    pub fn session_tickets(self, secret: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        if self.certificates.is_none() {
            return Err(TlsError::Configured);
        }
        let tickets = Tickets::new(secret.as_ref()).ok_or(TlsError::TicketSecret)?;
        let mut config = (*self.config()).clone();
        if config.ticketer.enabled() {
            config.ticketer = Arc::new(tickets);
            self.configure(config);
        }
        Ok(self)
    }

    /// Takes a configuration of rustls as it is: for several names, another provider of cryptography, and so on.
    ///
    /// Its `alpn_protocols` should be `h2` and `http/1.1`; without them clients use HTTP/1.1. If the configuration verifies the certificates
    /// of clients, requests have [`ClientCertificate`](crate::extract::ClientCertificate).
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { config: Arc::new(RwLock::new(config)), certificates: None }
    }

    fn new(certificate: Certificate) -> Result<Self, TlsError> {
        let certificates = Arc::new(Certificates::new(certificate, CHECK_EVERY));
        let no_clients = WebPkiClientVerifier::no_client_auth();
        let mut config = configuration(certificates.clone(), no_clients)?;
        // Without it, sessions are kept in memory, for a few hundred clients.
        config.ticketer = Ticketer::new().map_err(TlsError::Refused)?;
        let config = Arc::new(RwLock::new(Arc::new(config)));
        Ok(Self { config, certificates: Some(certificates) })
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
        let certificates = self.certificates.clone().ok_or(TlsError::Configured)?;
        let mut config = configuration(certificates, roots.verifier()?)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        self.configure(config);
        Ok(self)
    }

    /// Reads the files again, and uses their certificates for new connections.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the files of a certificate can't be used; its old one is kept, and those of the others are read. [`TlsError::NoFiles`]
    /// if no certificate is from files.
    pub fn reload(&self) -> Result<(), TlsError> {
        let mut result = Err(TlsError::NoFiles);
        for certificate in self.all() {
            let Some(files) = &certificate.files else { continue };
            let loaded = files.load().map(|key| certificate.set(key));
            result = match result {
                Ok(()) | Err(TlsError::NoFiles) => loaded,
                first => first,
            };
        }
        result
    }

    /// Uses another certificate for new connections, instead of the first one.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the certificate can't be used; the old one is kept. [`TlsError::NoFiles`] after [`from_config`](Tls::from_config).
    pub fn replace(&self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<(), TlsError> {
        let all = self.all();
        let first = all.first().ok_or(TlsError::NoFiles)?;
        first.set(certified_key(chain.as_ref(), key.as_ref())?);
        Ok(())
    }

    /// Sets how often the server checks whether the files have changed. Defaults to one minute. Without files it does nothing.
    ///
    /// It applies to all clones, after the check that is due next.
    #[must_use]
    pub fn check_every(self, check_every: Duration) -> Self {
        if let Some(certificates) = &self.certificates {
            certificates.set_interval(check_every);
        }
        self
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn configure(&self, config: ServerConfig) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Reads the files again whenever they have changed. Never returns.
    pub(super) async fn watch(&self) {
        let Some(certificates) = &self.certificates else { return std::future::pending().await };
        if self.all().iter().all(|certificate| certificate.files.is_none()) {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(certificates.interval()).await;
            let tls = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || tls.check()).await {
                tracing::error!(%error, "the TLS certificates were not checked");
            }
        }
    }

    fn check(&self) {
        for certificate in self.all() {
            match certificate.reload_if_changed() {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(files = ?certificate.files, "a TLS certificate was replaced");
                }
                Err(error) => tracing::error!(
                    %error,
                    files = ?certificate.files,
                    "the old TLS certificate is kept"
                ),
            }
        }
    }

    fn all(&self) -> Vec<Arc<Certificate>> {
        self.certificates.as_ref().map(|certificates| certificates.all()).unwrap_or_default()
    }
}

/// Shows the names of the files, and nothing of the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Tls");
        for files in self.all().iter().filter_map(|certificate| certificate.files.as_ref()) {
            debug.field("files", files);
        }
        debug.finish_non_exhaustive()
    }
}

fn configuration(
    certificates: Arc<Certificates>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Refused)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

const CHECK_EVERY: Duration = Duration::from_secs(60);
