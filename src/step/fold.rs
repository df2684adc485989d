//! How the list of steps becomes one value when the chain is built.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::cell::RefCell;
use std::sync::Arc;

use crate::route::registrar::Registrar;
use crate::step::end::Parent;
use crate::step::tail::{BoxTail, Resume, Tail};

/// A part of a chain: a step, or a list of steps.
#[doc(hidden)]
pub trait Step: Send + 'static {
    /// Gets its number from the registrar. Called in the order in which the steps are written.
    fn register(&mut self, registrar: &mut Registrar);
}

/// A step, or a list of steps, that wraps the tail `N`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a step of this chain is not complete",
    label = "this chain can't be built",
    note = "another error names the step and the reason",
    note = "an `async` closure can't capture values: as middleware write `tower_chain::from_closure(f)`, as a handler `move || async move {{ .. }}`"
)]
pub trait Fold<N: Tail>: Step {
    type Out: Tail;

    fn fold(self, next: N, assembly: &Assembly<'_>) -> Self::Out;
}

/// The scope that is folded.
#[doc(hidden)]
pub struct Assembly<'a> {
    /// The last step of the scope.
    pub(crate) end: u32,
    pub(crate) tables: &'a RefCell<Vec<Option<Arc<dyn Resume>>>>,
    pub(crate) hooks: &'a RefCell<Vec<Option<BoxTail>>>,
    /// How many segments of the path are before the scope.
    pub(crate) depth: usize,
}

/// An entry of a path table: a chain or a service at a path.
#[doc(hidden)]
pub trait Branch: Send {
    fn register(&mut self, registrar: &mut Registrar);
    fn assemble(self: Box<Self>, parent: Parent, assembly: &Assembly<'_>) -> BoxTail;
}

/// Puts a value into a list that is filled from its end.
pub(crate) fn put<T>(list: &mut Vec<Option<T>>, index: usize, value: T) {
    if list.len() <= index {
        list.resize_with(index + 1, || None);
    }
    list[index] = Some(value);
}
