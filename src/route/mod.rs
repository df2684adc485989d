//! Which steps a request is for, and why a chain cannot be built.

pub(crate) mod error;
pub(crate) mod listing;
pub(crate) mod pattern;
pub(crate) mod plan;
pub(crate) mod planner;
pub(crate) mod prefix;
pub(crate) mod registrar;
pub(crate) mod routes;

pub use self::listing::{Route, RouteHandler};
