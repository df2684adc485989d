//! Why TLS can't be used as configured.

use std::fmt;
use std::io;
use std::path::PathBuf;

use tokio_rustls::rustls::{self, pki_types::pem};

/// Why TLS can't be used as configured.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can't be read.
    #[non_exhaustive]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificate chain is not in PEM format, or is empty.
    Chain(pem::Error),
    /// The private key is not in PEM format.
    Key(pem::Error),
    /// rustls refuses the certificate or the key, or the key does not belong to the certificate.
    Refused(rustls::Error),
    /// The root certificates for clients, or the revocation lists, can't be used.
    ClientRoots(Box<dyn std::error::Error + Send + Sync>),
    /// This [`Tls`](crate::serve::Tls) was made from a configuration of rustls, which can't be changed afterwards.
    Configured,
    /// The secret for session tickets has less than 32 bytes.
    TicketSecret,
    /// There are no files to read again, or no certificate to replace.
    NoFiles,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => {
                let path = path.display();
                write!(f, "can't read {path}: {source}; check the path and its permissions")
            }
            Self::Chain(source) => write!(
                f,
                "no certificate: {source}; use PEM with `-----BEGIN CERTIFICATE-----`, the certificate of the server first"
            ),
            // The source of a PEM error may quote the text, which is a secret here.
            Self::Key(_) => f.write_str(
                "no private key; use PEM with `-----BEGIN PRIVATE KEY-----`, without a passphrase",
            ),
            Self::Refused(source) => write!(
                f,
                "the certificate can't be used: {source}; check that the key belongs to it"
            ),
            Self::ClientRoots(source) => write!(
                f,
                "the root certificates for clients can't be used: {source}; use PEM with `-----BEGIN CERTIFICATE-----`, and with `-----BEGIN X509 CRL-----` for revocation lists"
            ),
            Self::Configured => f.write_str(
                "this was made from a configuration of rustls; set the verifier of client certificates in that configuration",
            ),
            Self::TicketSecret => f.write_str(
                "the secret for session tickets is too short; use at least 32 random bytes",
            ),
            Self::NoFiles => f.write_str(
                "there is no certificate that can be replaced; use `from_pem_files`, or `from_pem` with `replace`",
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
            Self::Key(_) | Self::Configured | Self::TicketSecret | Self::NoFiles => None,
        }
    }
}
