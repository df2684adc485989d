//! The implementation of cryptography that rustls uses.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};

/// aws-lc-rs, named explicitly: the default of the process belongs to the application, and rustls panics if two providers are compiled in and
/// none is installed.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
