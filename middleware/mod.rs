//! The built-in middleware: one file each, one feature each.

#[cfg(feature = "authenticate")]
pub mod authenticate;
#[cfg(feature = "require")]
pub mod require;
