//! The built-in middleware: one file each, one feature each.

#[cfg(feature = "body-limit")]
pub mod body_limit;
#[cfg(feature = "etag")]
pub mod etag;
#[cfg(feature = "garde")]
pub mod garde;
#[cfg(feature = "problem-details")]
pub mod problem_details;
#[cfg(feature = "security-headers")]
pub mod security_headers;
#[cfg(feature = "validate")]
pub mod validate;
