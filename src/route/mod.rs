//! Which steps a request is for, and why a chain can't be built.

// When a chain is built: `registrar` numbers the steps, `planner` makes the lookup table and the plans from the records of
// the registrar, and `error` has the errors. When a request arrives: `routes` finds its plan. `pattern` and `prefix` parse and
// compare paths, `plan` is the type that both halves share, `listing` is the form of the table for users.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

pub(crate) mod decode;
pub(crate) mod error;
pub(crate) mod listing;
pub(crate) mod pattern;
pub(crate) mod plan;
pub(crate) mod planner;
pub(crate) mod prefix;
pub(crate) mod registrar;
pub(crate) mod routes;

pub use self::listing::{Route, RouteHandler};
