//! Where the steps of a chain are told apart, for [`overhead`](crate::overhead). Without that feature there is nothing here.

#[cfg(feature = "overhead")]
pub(crate) use crate::overhead::Site;

#[cfg(not(feature = "overhead"))]
pub(crate) use off::Site;

#[cfg(not(feature = "overhead"))]
mod off {
    use crate::next::Cx;

    /// A part of a chain whose time could be taken.
    #[derive(Clone, Copy)]
    pub(crate) struct Site;

    impl Site {
        pub(crate) const CHAIN: Self = Self;

        pub(crate) fn step(_: u32) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn probe<F>(self, _: &Cx<'_>, start: impl FnOnce() -> F) -> F {
            start()
        }
    }
}
