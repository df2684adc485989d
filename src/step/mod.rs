//! What a step is, and how a request runs through the steps.

pub(crate) mod around;
pub(crate) mod combine;
pub(crate) mod end;
pub(crate) mod fold;
pub(crate) mod hooks;
pub(crate) mod next;
pub(crate) mod tail;

#[cfg(feature = "step-times")]
#[cfg_attr(docsrs, doc(cfg(feature = "step-times")))]
pub use crate::probe::StepTime;

pub use self::combine::{Unless, When};
pub use self::next::{Erased, IntoMiddleware};
