//! How the list of steps becomes one value when the chain is built.
//!
//! First each step is registered, from the first to the last, which numbers the steps. Then the list is folded, from the last
//! step to the first: each step takes the value of all steps after it (a [`Tail`]), and returns a tail that contains itself
//! as well. The chain `use_(a).get(h)` becomes `Around<a, Around<h, End>>`. Most steps are in `around.rs`, the list itself is
//! in `chain/list.rs`, and `chain/build.rs` starts both passes.

use std::cell::RefCell;
use std::sync::Arc;

use crate::route::registrar::Registrar;
use crate::step::end::Parent;
use crate::step::tail::{BoxTail, CurrentScope, Resume, Tail};

/// A part of a chain: a step, or a list of steps.
#[doc(hidden)]
pub trait Step: Send + 'static {
    /// Gets its number from the registrar. Called once for each step, in the order in which the steps are written.
    fn register(&mut self, registrar: &mut Registrar);
}

/// A step, or a list of steps, that can be put in front of the tail `N`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a step of this chain is not complete",
    label = "this chain can't be built",
    note = "another error names the step and the reason",
    note = "an `async` closure can't capture values: as middleware write `tower_chain::from_closure(f)`, as a handler `move || async move {{ .. }}`"
)]
pub trait Fold<N: Tail>: Step {
    /// The tail that begins with this step.
    type Out: Tail;

    /// Puts this step in front of `next`. Called once for each step, in the opposite order.
    fn fold(self, next: N, assembly: &Assembly<'_>) -> Self::Out;
}

/// The state of the fold in one scope.
#[doc(hidden)]
pub struct Assembly<'a> {
    /// The number of the first step in the scope.
    pub(crate) first: u32,
    /// The number of the end of the scope, which is the highest number in it.
    pub(crate) end: u32,
    /// The path tables of the whole chain, by their numbers. Becomes `Built::tables`.
    pub(crate) tables: &'a RefCell<Vec<Option<Arc<dyn Resume>>>>,
    /// The hooks of the whole chain, by their indexes. Becomes `Built::hooks`.
    pub(crate) hooks: &'a RefCell<Vec<Option<(BoxTail, u32)>>>,
    /// The number of segments of the path of the scope.
    pub(crate) depth: usize,
}

impl Assembly<'_> {
    pub(crate) fn scope(&self) -> CurrentScope {
        CurrentScope::new(self.depth, self.end)
    }
}

/// An entry of a path table: a chain or a service at a path.
#[doc(hidden)]
pub trait Branch: Send {
    /// Registers all steps of the entry.
    fn register(&mut self, registrar: &mut Registrar);
    /// Folds the entry. `parent` is the continuation of a request that leaves the entry at its end.
    fn assemble(self: Box<Self>, parent: Parent, assembly: &Assembly<'_>) -> BoxTail;
}

/// Sets an element of a list, which grows to this index if it is shorter.
///
/// Indexes are given out from the first step to the last, but the fold runs from the last step to the first. Higher indexes
/// are therefore usually set before lower ones, which are `None` until then.
pub(crate) fn put<T>(list: &mut Vec<Option<T>>, index: usize, value: T) {
    if list.len() <= index {
        list.resize_with(index + 1, || None);
    }
    list[index] = Some(value);
}
