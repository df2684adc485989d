//! The built-in middleware: one file each, one feature each.
