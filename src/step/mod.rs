//! What a step is, and how a request runs through the steps.

// `src/tower/root.rs` begins with "How a request runs", which names the files in the order of a request. In this folder
// these are `around` (a middleware or a handler), `next` (the call of the rest) and `end` (the end of a scope). `added` has the steps
// as a chain adds them; `fold` and `tail` define the traits by which they become one value when the chain is built. `reach` is the
// inside of `Next`. `combine` and `errors` are middleware.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

pub(crate) mod added;
pub(crate) mod around;
pub(crate) mod combine;
pub(crate) mod declared;
pub(crate) mod end;
pub(crate) mod errors;
pub(crate) mod fold;
pub(crate) mod kept;
pub(crate) mod next;
pub(crate) mod reach;
mod refusal;
pub(crate) mod route;
pub(crate) mod tail;

#[cfg(feature = "step-times")]
#[cfg_attr(docsrs, doc(cfg(feature = "step-times")))]
pub use crate::probe::StepTime;

pub use self::combine::{Unless, When};
pub use self::declared::{Declared, declared};
pub use self::next::IntoMiddleware;
pub use self::reach::Erased;
pub use self::refusal::Refusal;
pub use self::route::CurrentRoute;
