//! The public API of a chain, without built-in steps.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod axum;
mod contract;
mod cost;
mod declarations;
mod fallthrough;
mod group;
mod next;
mod next_connect;
mod on_error;
mod regressions;
mod routing;
mod scopes;
mod semantics;
mod support;
mod unmatched;
mod values;
