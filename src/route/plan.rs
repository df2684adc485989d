//! Where a request goes and where it ends: decided when the chain is built.
//!
//! When a chain is built, its steps are numbered in the order in which they are written. A [`Plan`] names the handlers that
//! may answer one path and method. There is one for each pattern and method, and serving a request only looks it up.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use http::HeaderValue;

/// What happens with the requests of one path and method.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) index: usize,
    /// The handlers that match, in the order in which they are written.
    pub(crate) handlers: Box<[u32]>,
    /// The way of the request: these handlers, and the ends of scopes that it reaches. The last one is the end at which it is answered, if no
    /// handler does.
    pub(crate) stops: Box<[u32]>,
    /// What is answered there, by which hook, if by any.
    pub(crate) outcome: Outcome,
    pub(crate) hook: Option<usize>,
    /// Which pattern matched, if one did.
    pub(crate) route: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Found,
    NotFound,
    BadEncoding,
    NotAllowed(HeaderValue),
    Options(HeaderValue),
}

/// The hooks in force, by their index.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hooks {
    pub(crate) no_match: Option<usize>,
    pub(crate) not_allowed: Option<usize>,
}
