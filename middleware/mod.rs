//! The built-in middleware: one file each, one feature each.

#[cfg(feature = "grpc-status")]
pub mod grpc_status;
