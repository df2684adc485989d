//! The built-in middleware: one file each, one feature each.

#[cfg(feature = "validate")]
pub mod validate;
