//! Pages that teach the crate by a task.

#[doc = include_str!("testing.md")]
pub mod testing {}
