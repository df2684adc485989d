//! What is written about an operation.

/// What is written about an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) id: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) description: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) hidden: bool,
    #[cfg(feature = "openapi")]
    pub(super) takes: Vec<Taken>,
}

/// The description of what a step takes.
#[cfg(feature = "openapi")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken(pub(super) fn(&mut super::operation::Operation));

#[cfg(feature = "openapi")]
impl PartialEq for Taken {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

#[cfg(feature = "openapi")]
impl Eq for Taken {}

impl Notes {
    pub(super) fn merge(&mut self, other: Self) {
        self.id = other.id.or(self.id.take());
        self.summary = other.summary.or(self.summary.take());
        self.description = other.description.or(self.description.take());
        let is_new = |tag: &String| !self.tags.contains(tag);
        let new: Vec<String> = other.tags.into_iter().filter(is_new).collect();
        self.tags.extend(new);
        self.hidden |= other.hidden;
    }
}
