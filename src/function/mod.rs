//! Functions as handlers, middleware and guards.

pub(crate) mod arguments;
pub(crate) mod guard;
pub(crate) mod handler;
pub(crate) mod middleware;
mod tuples;

pub use self::handler::IntoHandler;
pub use self::middleware::{FromClosure, FromFn};
