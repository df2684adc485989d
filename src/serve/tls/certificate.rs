//! The certificates of the server, which can be replaced while the server runs.

use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::error::TlsError;
use super::provider::provider;

/// The certificates in use.
pub(super) struct Certificates {
    /// The first one is for clients that name no host, or an unknown one. There is always one.
    all: RwLock<Vec<Arc<Certificate>>>,
    check_every: RwLock<Duration>,
}

impl Certificates {
    pub(super) fn new(first: Certificate, check_every: Duration) -> Self {
        Self { all: RwLock::new(vec![Arc::new(first)]), check_every: RwLock::new(check_every) }
    }

    pub(super) fn add(&self, certificate: Certificate) {
        self.all.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(certificate));
    }

    /// Replaces the last one that was added.
    pub(super) fn replace_last(&self, certificate: Certificate) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.pop();
        all.push(Arc::new(certificate));
    }

    pub(super) fn all(&self) -> Vec<Arc<Certificate>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_interval(&self, check_every: Duration) {
        *self.check_every.write().unwrap_or_else(PoisonError::into_inner) = check_every;
    }

    pub(super) fn interval(&self) -> Duration {
        *self.check_every.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        if all.len() > 1
            && let Some(name) =
                client.server_name().and_then(|name| ServerName::try_from(name).ok())
        {
            let mut keys = all.iter().map(|certificate| certificate.current());
            if let Some(key) = keys.find(|key| is_for(key, &name)) {
                return Some(key);
            }
        }
        all.first().map(|certificate| certificate.current())
    }
}

/// A certificate, and the files that it is from.
pub(super) struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
    pub(super) files: Option<CertificateFiles>,
}

impl Certificate {
    pub(super) fn new(current: CertifiedKey) -> Self {
        Self { current: RwLock::new(Arc::new(current)), files: None }
    }

    pub(super) fn from_files(files: CertificateFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(files.load()?));
        Ok(Self { current, files: Some(files) })
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, key: CertifiedKey) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }

    /// Reads the files again if they have changed. Returns whether they had.
    pub(super) fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let Some(files) = &self.files else { return Ok(false) };
        let contents = files.read()?;
        if !files.have_changed(&contents) {
            return Ok(false);
        }
        self.set(files.parse(&contents)?);
        Ok(true)
    }
}

/// The files of a certificate.
#[derive(Debug)]
pub(super) struct CertificateFiles {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
    /// A response about the status of the certificate, in DER format.
    pub(super) ocsp: Option<PathBuf>,
    /// A hash of the contents that are in use. Times don't show each change: tools may keep them, or write twice within one tick.
    hash: AtomicU64,
}

impl CertificateFiles {
    pub(super) fn new(chain: PathBuf, key: PathBuf, ocsp: Option<PathBuf>) -> Self {
        Self { chain, key, ocsp, hash: AtomicU64::new(0) }
    }

    pub(super) fn load(&self) -> Result<CertifiedKey, TlsError> {
        self.parse(&self.read()?)
    }

    fn read(&self) -> Result<Contents, TlsError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
        };
        let ocsp = self.ocsp.as_deref().map(read).transpose()?;
        Ok(Contents { chain: read(&self.chain)?, key: read(&self.key)?, ocsp })
    }

    fn have_changed(&self, contents: &Contents) -> bool {
        self.hash.load(Ordering::Relaxed) != contents.hash()
    }

    fn parse(&self, contents: &Contents) -> Result<CertifiedKey, TlsError> {
        let mut key = certified_key(&contents.chain, &contents.key)?;
        key.ocsp.clone_from(&contents.ocsp);
        self.hash.store(contents.hash(), Ordering::Relaxed);
        Ok(key)
    }
}

struct Contents {
    chain: Vec<u8>,
    key: Vec<u8>,
    ocsp: Option<Vec<u8>>,
}

impl Contents {
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.chain, &self.key, &self.ocsp).hash(&mut hasher);
        hasher.finish()
    }
}

/// Parses a certificate chain and its private key, both in PEM format.
pub(super) fn certified_key(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(TlsError::Chain)?;
    if chain.is_empty() {
        return Err(TlsError::Chain(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Refused)
}

/// Whether a certificate is for a name, also by a wildcard (RFC 6125, 6.4.3).
fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    certificate.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
