//! Functions as handlers, middleware and guards.

// Each kind of function becomes a `Middleware` (`src/step/next.rs`), which takes its `arguments` out of the request and calls it. Its future
// is in `checked`.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

pub(crate) mod arguments;
mod checked;
pub(crate) mod guard;
pub(crate) mod handler;
pub(crate) mod middleware;
pub(crate) mod on_error;
mod settings;
mod tuples;

pub use self::guard::Guard;
pub use self::handler::IntoHandler;
pub use self::middleware::{FromClosure, FromFn};
