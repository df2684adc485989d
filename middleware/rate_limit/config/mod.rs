//! What is configured: quotas, policies, keys, the clock, and the settings of a limiter.

pub(crate) mod calendar;
pub(crate) mod clock;
pub(crate) mod error;
pub(crate) mod key;
pub(crate) mod policy;
pub(crate) mod quota;
pub(crate) mod settings;
