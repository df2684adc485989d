//! The certificate of the server, which can be replaced while the server runs.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::error::TlsError;
use super::provider::provider;

/// The certificate in use.
pub(super) struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
    pub(super) files: Option<CertificateFiles>,
}

impl Certificate {
    pub(super) fn new(current: Arc<CertifiedKey>, files: Option<CertificateFiles>) -> Self {
        Self { current: RwLock::new(current), files }
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, key: CertifiedKey) {
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

/// The files of a certificate.
pub(super) struct CertificateFiles {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
    /// The modification times of the files when they were read last. `None` if they were unknown.
    read: RwLock<Option<[SystemTime; 2]>>,
    pub(super) check_every: Duration,
}

impl CertificateFiles {
    pub(super) fn new(chain: PathBuf, key: PathBuf, check_every: Duration) -> Self {
        Self { chain, key, read: RwLock::new(None), check_every }
    }

    /// The same files, with another interval.
    pub(super) fn with_interval(&self, check_every: Duration) -> Self {
        Self {
            read: RwLock::new(*self.read.read().unwrap_or_else(PoisonError::into_inner)),
            ..Self::new(self.chain.clone(), self.key.clone(), check_every)
        }
    }

    pub(super) fn load(&self) -> Result<CertifiedKey, TlsError> {
        // Taken before the files are read: a change in between is seen by the next check.
        let modified = self.modified();
        let read = |path: &Path| {
            fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
        };
        let key = certified_key(&read(&self.chain)?, &read(&self.key)?)?;
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = modified;
        Ok(key)
    }

    /// Whether the files exist and were modified since they were read.
    pub(super) fn have_changed(&self) -> bool {
        let modified = self.modified();
        modified.is_some() && modified != *self.read.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn modified(&self) -> Option<[SystemTime; 2]> {
        let modified = |path| fs::metadata(path).and_then(|file| file.modified()).ok();
        Some([modified(&self.chain)?, modified(&self.key)?])
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
