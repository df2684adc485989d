//! The chain as its users see it, with no built-in.

mod contract;
mod cost;
mod routing;
mod semantics;
mod support;
