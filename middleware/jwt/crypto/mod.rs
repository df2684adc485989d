//! Signature checks. aws-lc-rs is used where the feature `jwt` is on, pure Rust otherwise; the process-wide default of `jsonwebtoken`
//! is never touched, because it panics once both of its backends are compiled in.

#[cfg(feature = "jwt")]
pub(crate) mod aws_lc;
#[cfg(all(feature = "jwt-rust-crypto", any(test, not(feature = "jwt"))))]
pub(crate) mod rust_crypto;

#[cfg(feature = "jwt")]
pub(crate) use aws_lc::{Verifier, rsa_components, sha256};
#[cfg(not(feature = "jwt"))]
pub(crate) use rust_crypto::{Verifier, rsa_components, sha256};
