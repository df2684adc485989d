//! The plan of a request: which steps may answer it, and where it ends if none does.
//!
//! When a chain is built, its steps are numbered in the order in which they are written. The end of each scope gets a number
//! as well, after the steps of the scope. A [`Plan`] lists some of these numbers. There is one plan for each pattern and
//! method; serving a request only looks it up (`routes.rs`). The steps read it (`step/around.rs`, `chain/table.rs` and
//! `step/end.rs`).

use http::HeaderValue;

/// The decisions for all requests of one pattern and method.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The index of this plan in `Routes::plans`.
    pub(crate) index: usize,
    /// The numbers of the handlers that match, in ascending order. Middleware runs if it covers one of them.
    pub(crate) handlers: Box<[u32]>,
    /// The numbers of these handlers and of the scope ends that the request can reach, in ascending order. A path table uses
    /// them to choose the entry that the request enters. The last number is the scope end that answers if no handler does.
    pub(crate) stops: Box<[u32]>,
    /// Which answer that scope end gives.
    pub(crate) outcome: Outcome,
    /// The index of the hook that makes this answer. `None`: the default answer.
    pub(crate) hook: Option<usize>,
    /// The index of the pattern that matched. `None` if no pattern did.
    pub(crate) route: Option<usize>,
}

/// The answer of the last scope end, which a request reaches only if no handler answers it.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Handlers match, but all of them passed the request on: 404.
    Found,
    /// No path matches: 404.
    NotFound,
    /// The path can't be decoded: 400.
    BadEncoding,
    /// The path matches, but not the method: 405 with this `Allow`. `allow` (`route/planner.rs`) makes the value, `End`
    /// (`step/end.rs`) sends it.
    NotAllowed(HeaderValue),
    /// The automatic answer to OPTIONS: 204 with this `Allow`.
    Options(HeaderValue),
}

/// The hooks that are in force at some point of a chain, as indexes of `Built::hooks`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hooks {
    pub(crate) no_match: Option<usize>,
    pub(crate) not_allowed: Option<usize>,
}
