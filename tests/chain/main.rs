//! The chain as its users see it, with no built-in.

mod contract;
mod cost;
mod next_connect;
mod routing;
mod semantics;
mod support;
