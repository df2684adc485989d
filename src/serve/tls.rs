//! TLS by rustls, with certificates that are replaced while the server runs.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

use super::ClientRoots;

/// TLS for a [`Listener`](crate::Listener): TLS 1.2 and 1.3, with HTTP/2 and HTTP/1.1 by ALPN.
///
/// A clone shares the certificate: keep one to [`replace`](Tls::replace) or [`reload`](Tls::reload) it while the server runs. Connections
/// that are open keep what they have.
///
/// # Example
///
/// ```no_run
/// # async fn run(api: tower_chain::ChainService) -> Result<(), Box<dyn std::error::Error>> {
/// use tower_chain::{Listener, Server, Tls};
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

/// The certificate in use.
struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
    files: Option<Files>,
}

/// Where a certificate comes from.
struct Files {
    chain: PathBuf,
    key: PathBuf,
    read: RwLock<Option<[SystemTime; 2]>>,
    check_every: Duration,
}

impl Tls {
    /// Takes the certificate chain and the private key from two files in PEM format.
    ///
    /// While the server runs it looks every minute whether they have changed, and reads them again; [`reload`](Tls::reload) does so at
    /// once. If they can't be read, it keeps what it has and logs the reason at level `ERROR`.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a file can't be read, or if the key doesn't fit the certificate.
    pub fn from_pem_files(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = Files {
            chain: chain.into(),
            key: key.into(),
            read: RwLock::new(None),
            check_every: Duration::from_secs(60),
        };
        *files.read.write().unwrap_or_else(PoisonError::into_inner) = files.changed();
        let current = files.read()?;
        Self::new(current, Some(files))
    }

    /// Takes the certificate chain and the private key as texts in PEM format.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if they are none, or if the key doesn't fit the certificate.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        Self::new(certified(chain.as_ref(), key.as_ref())?, None)
    }

    /// Takes a configuration of rustls as it is: for several names, another provider of cryptography, and so on.
    ///
    /// Its `alpn_protocols` should be `h2` and `http/1.1`; without them clients speak HTTP/1.1. The
    /// certificate of a client that it verified is provided as [`ClientCertificate`](crate::extract::ClientCertificate).
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { config: Arc::new(RwLock::new(config)), certificate: None }
    }

    fn new(current: CertifiedKey, files: Option<Files>) -> Result<Self, TlsError> {
        let certificate = Arc::new(Certificate { current: RwLock::new(Arc::new(current)), files });
        let config = configuration(certificate.clone(), WebPkiClientVerifier::no_client_auth())?;
        Ok(Self { config: Arc::new(RwLock::new(Arc::new(config))), certificate: Some(certificate) })
    }

    /// Asks clients for a certificate, and provides the one that was verified as [`ClientCertificate`](crate::extract::ClientCertificate).
    /// Defaults to asking for none.
    ///
    /// Called on a clone it does so for a server that runs, with the connections from now on: to take in other roots, or newer lists of
    /// what is revoked. With it, sessions are not resumed, so that the certificate is verified on every connection.
    ///
    /// # Errors
    ///
    /// [`TlsError::ClientRoots`] if the lists can't be used, [`TlsError::Configured`] if this was made of a configuration.
    pub fn client_certificates(self, roots: ClientRoots) -> Result<Self, TlsError> {
        let certificate = self.certificate.clone().ok_or(TlsError::Configured)?;
        let mut config = configuration(certificate, roots.verifier()?)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(self)
    }

    /// Reads the files again, and uses what they hold for the connections from now on.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if they can't be used; then the old certificate stays. Also if this [`Tls`] was not made of files.
    pub fn reload(&self) -> Result<(), TlsError> {
        let (certificate, files) = self.files().ok_or(TlsError::NoFiles)?;
        let changed = files.changed();
        let read = files.read()?;
        certificate.set(read);
        *files.read.write().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(())
    }

    /// Uses another certificate for the connections from now on.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if it can't be used; then the old certificate stays. Also if this [`Tls`] was made of a configuration.
    pub fn replace(&self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<(), TlsError> {
        let certificate = self.certificate.as_ref().ok_or(TlsError::NoFiles)?;
        certificate.set(certified(chain.as_ref(), key.as_ref())?);
        Ok(())
    }

    /// Sets how often the server looks whether the files have changed. Defaults to one minute.
    ///
    /// Has to be called before this value is cloned; after that, and without files, it does nothing.
    #[must_use]
    pub fn check_every(mut self, check_every: Duration) -> Self {
        // The configuration holds the certificate as well, so it is built anew.
        if let Some(certificate) = self.certificate.take() {
            let current = certificate.current();
            let files = certificate.files.as_ref().map(|files| Files {
                chain: files.chain.clone(),
                key: files.key.clone(),
                read: RwLock::new(*files.read.read().unwrap_or_else(PoisonError::into_inner)),
                check_every,
            });
            let certificate = Arc::new(Certificate { current: RwLock::new(current), files });
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

    /// Reads the files again whenever they have changed, without end.
    pub(super) async fn watch(&self) {
        let Some((_, files)) = self.files() else { return std::future::pending().await };
        loop {
            tokio::time::sleep(files.check_every).await;
            let tls = self.clone();
            let check = tokio::task::spawn_blocking(move || tls.reload_if_changed());
            match check.await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!("the TLS certificate was replaced"),
                Ok(Err(error)) => tracing::error!(%error, "the old TLS certificate stays"),
                Err(error) => tracing::error!(%error, "the TLS certificate was not checked"),
            }
        }
    }

    fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let Some((_, files)) = self.files() else { return Ok(false) };
        let changed = files.changed();
        if changed.is_none()
            || changed == *files.read.read().unwrap_or_else(PoisonError::into_inner)
        {
            return Ok(false);
        }
        self.reload().map(|()| true)
    }

    fn files(&self) -> Option<(&Certificate, &Files)> {
        let certificate = self.certificate.as_deref()?;
        Some((certificate, certificate.files.as_ref()?))
    }
}

/// The files' names; of the key, nothing.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Tls");
        if let Some((_, files)) = self.files() {
            debug.field("chain", &files.chain).field("key", &files.key);
        }
        debug.finish_non_exhaustive()
    }
}

impl Certificate {
    fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, key: CertifiedKey) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl Files {
    fn read(&self) -> Result<CertifiedKey, TlsError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
        };
        certified(&read(&self.chain)?, &read(&self.key)?)
    }

    /// When the files were last changed, if they are there.
    fn changed(&self) -> Option<[SystemTime; 2]> {
        let changed = |path| fs::metadata(path).and_then(|file| file.modified()).ok();
        Some([changed(&self.chain)?, changed(&self.key)?])
    }
}

/// Why TLS can't be used as configured.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can't be read.
    #[non_exhaustive]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate chain is not in PEM format, or empty.
    Chain(pem::Error),
    /// The private key is not in PEM format.
    Key(pem::Error),
    /// rustls doesn't take the certificate or the key, or they don't belong together.
    Refused(rustls::Error),
    /// The roots of the clients' certificates, or the lists of what is revoked, can't be used.
    ClientRoots(Box<dyn std::error::Error + Send + Sync>),
    /// What shall be changed was made of a configuration.
    Configured,
    /// What shall be loaded again was not made of files, or what shall be replaced was made of a configuration.
    NoFiles,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => {
                write!(f, "can't read {}: {source}; check the path and its permissions", path.display())
            }
            Self::Chain(source) => write!(
                f,
                "no certificate: {source}; give a PEM text with `-----BEGIN CERTIFICATE-----`, the server's own first"
            ),
            // The source of a PEM error may quote the text, which is a secret here.
            Self::Key(_) => f.write_str(
                "no private key; give a PEM text with `-----BEGIN PRIVATE KEY-----`, without a passphrase",
            ),
            Self::Refused(source) => {
                write!(f, "the certificate can't be used: {source}; check that the key belongs to it")
            }
            Self::ClientRoots(source) => write!(
                f,
                "the roots of the clients' certificates can't be used: {source}; give PEM texts with `-----BEGIN CERTIFICATE-----`, and with `-----BEGIN X509 CRL-----` for what is revoked"
            ),
            Self::Configured => f.write_str(
                "this is a configuration of rustls: say there which certificates of clients it takes",
            ),
            Self::NoFiles => f.write_str(
                "this configuration holds no certificate that can be replaced; make it with `from_pem_files` or `from_pem`",
            ),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Chain(source) => Some(source),
            Self::Refused(source) => Some(source),
            Self::ClientRoots(source) => Some(&**source),
            Self::Key(_) | Self::Configured | Self::NoFiles => None,
        }
    }
}

fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(TlsError::Chain)?;
    if chain.is_empty() {
        return Err(TlsError::Chain(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Refused)
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

/// Named, because the process-wide default is not ours to choose, and fails if two providers are built in.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
