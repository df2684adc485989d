//! The built-in middleware: one file each, one feature each.

#[cfg(feature = "authenticate")]
pub mod authenticate;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
pub mod jwt;
#[cfg(feature = "rate-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "rate-limit")))]
pub mod rate_limit;
#[cfg(feature = "require")]
pub mod require;
#[cfg(feature = "validate")]
pub mod validate;
