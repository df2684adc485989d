//! Probes around the steps of a chain, which measure the time of each step. Without the feature `step-times` they do nothing.
//!
//! To follow a request, read `site.probe(routes, || future)` as `future`.

#[cfg(feature = "step-times")]
pub(crate) mod record;
#[cfg(feature = "step-times")]
mod times;

#[cfg(feature = "step-times")]
pub(crate) use self::record::Site;
#[cfg(feature = "step-times")]
pub use self::times::StepTime;

#[cfg(not(feature = "step-times"))]
pub(crate) use self::off::Site;

#[cfg(not(feature = "step-times"))]
mod off {
    use crate::route::routes::Routes;

    /// A part of a chain whose time could be measured.
    #[derive(Clone, Copy)]
    pub(crate) struct Site;

    impl Site {
        pub(crate) const CHAIN: Self = Self;

        pub(crate) fn step(_: u32) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn probe<F>(self, _: &Routes, start: impl FnOnce() -> F) -> F {
            start()
        }
    }
}
