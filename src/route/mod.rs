//! Which steps a request is for, and why a chain can't be built.
//!
//! When a chain is built: `registrar` numbers the steps, `planner` makes the lookup table and the plans from what the
//! registrar recorded, and `error` reports mistakes. When a request arrives: `routes` finds its plan. `pattern` and
//! `prefix` parse and compare paths, `plan` is the data that both halves share, `listing` is what a user can print.

pub(crate) mod error;
pub(crate) mod listing;
pub(crate) mod pattern;
pub(crate) mod plan;
pub(crate) mod planner;
pub(crate) mod prefix;
pub(crate) mod registrar;
pub(crate) mod routes;

pub use self::listing::{Route, RouteHandler};
