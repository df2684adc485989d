//! What a step is, and how a request runs through the steps.

pub(crate) mod around;
pub(crate) mod combine;
pub(crate) mod end;
pub(crate) mod fold;
pub(crate) mod hooks;
pub(crate) mod next;
pub(crate) mod tail;
