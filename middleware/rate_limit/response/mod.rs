//! What a client, a handler and an observer see of a decision.

pub(crate) mod decision;
pub(crate) mod headers;
pub(crate) mod refusal;
