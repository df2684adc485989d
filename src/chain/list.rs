//! The list of steps of a chain, in segments of eight. (Only in this file, a segment is a part of this list, not of a path.)
//!
//! A chain is a list at the type level: `Link<Link<Empty, A>, B>` is the list of `A` and `B`. Folded (`step/fold.rs`), each step
//! contains the next one, so a call from step to step needs no box. But with each step the types become longer to compile, and the
//! future of a request becomes larger. So the list is divided into segments of eight steps. When a segment is full, its type is
//! erased: the call from the segment before it into the next one costs one box. A chain of fewer than eight steps has one segment.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::chain::table::PathTable;
use crate::route::registrar::Registrar;
use crate::step::end::End;
use crate::step::fold::{Assembly, Branch, Fold, Step};
use crate::step::tail::{BoxTail, Cx, Tail};
use crate::{Request, Response};

/// The empty list.
#[doc(hidden)]
#[derive(Debug)]
pub struct Empty;

/// The list `Prev` with the step `S` after it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Link<Prev, S>(pub(super) Prev, pub(super) S);

impl Step for Empty {
    fn register(&mut self, _: &mut Registrar) {}
}

impl<N: Tail> Fold<N> for Empty {
    type Out = N;

    fn fold(self, next: N, _: &Assembly<'_>) -> N {
        next
    }
}

impl<Prev: Step, S: Step> Step for Link<Prev, S> {
    fn register(&mut self, registrar: &mut Registrar) {
        self.0.register(registrar);
        self.1.register(registrar);
    }
}

impl<N, Prev, S> Fold<N> for Link<Prev, S>
where
    N: Tail,
    S: Fold<N>,
    Prev: Fold<S::Out>,
{
    type Out = Prev::Out;

    fn fold(self, next: N, assembly: &Assembly<'_>) -> Self::Out {
        let next = self.1.fold(next, assembly);
        self.0.fold(next, assembly)
    }
}

/// The steps of a chain. The first segment and the last one have their types; the types of those between them are erased.
///
/// | parameter | meaning |
/// | --- | --- |
/// | `F` | the first segment. `Empty` until it is full |
/// | `L` | the last segment, to which steps are appended |
/// | `T` | the path table at the end of `L`, to which paths are added. [`NoTable`] if the last step is not a path |
/// | `R` | how many steps the last segment can still take: [`Full`] is one, each [`More`] one more |
#[doc(hidden)]
pub struct Steps<F = Empty, L = Empty, T = NoTable, R = Room> {
    first: F,
    /// The segments between the first and the last one.
    sealed: Vec<Box<dyn ErasedSteps<BoxTail>>>,
    list: L,
    table: T,
    room: PhantomData<fn() -> R>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Steps { first: Empty, sealed: Vec::new(), list: Empty, table: NoTable, room: PhantomData }
    }
}

/// The list does not end with a path.
#[doc(hidden)]
#[derive(Debug)]
pub struct NoTable;

/// The segment can take one more step than `R`.
#[doc(hidden)]
#[derive(Debug)]
pub struct More<R>(PhantomData<R>);

/// The next step is the last one of the segment.
#[doc(hidden)]
#[derive(Debug)]
pub struct Full;

/// The capacity of an empty segment: eight steps.
#[doc(hidden)]
pub type Room = More<More<More<More<More<More<More<Full>>>>>>>;

/// Appends the path table to the list, if there is one.
#[doc(hidden)]
pub trait Close<L> {
    type Out;

    fn close(self, list: L) -> Self::Out;
}

impl<L> Close<L> for NoTable {
    type Out = L;

    fn close(self, list: L) -> L {
        list
    }
}

impl<L> Close<L> for PathTable {
    type Out = Link<L, Self>;

    fn close(self, list: L) -> Self::Out {
        Link(list, self)
    }
}

impl Step for NoTable {
    fn register(&mut self, _: &mut Registrar) {}
}

/// Adds a path to the table at the end of the list, or to a new table if the list does not end with one.
#[doc(hidden)]
pub trait Open {
    type Out;

    fn open(self, path: Box<dyn Branch>) -> Self::Out;
}

impl<F, L, R> Open for Steps<F, L, NoTable, R> {
    type Out = Steps<F, L, PathTable, R>;

    fn open(self, path: Box<dyn Branch>) -> Self::Out {
        let Self { first, sealed, list, room, .. } = self;
        Steps { first, sealed, list, table: PathTable::default(), room }.open(path)
    }
}

impl<F, L, R> Open for Steps<F, L, PathTable, R> {
    type Out = Self;

    fn open(mut self, path: Box<dyn Branch>) -> Self {
        self.table.push(path);
        self
    }
}

/// Appends a step to the list. A segment that becomes full is closed, and an empty one begins.
#[doc(hidden)]
pub trait Push<S> {
    type Out;

    fn push(self, step: S) -> Self::Out;
}

/// The segment does not become full.
impl<F, L, T, R, S> Push<S> for Steps<F, L, T, More<R>>
where
    T: Close<L>,
{
    type Out = Steps<F, Link<T::Out, S>, NoTable, R>;

    fn push(self, step: S) -> Self::Out {
        let list = Link(self.table.close(self.list), step);
        Steps { first: self.first, sealed: self.sealed, list, table: NoTable, room: PhantomData }
    }
}

/// The first segment becomes full. It keeps its type.
impl<L, T, S> Push<S> for Steps<Empty, L, T, Full>
where
    T: Close<L>,
{
    type Out = Steps<Link<T::Out, S>, Empty, NoTable, Room>;

    fn push(self, step: S) -> Self::Out {
        let first = Link(self.table.close(self.list), step);
        Steps { first, sealed: self.sealed, list: Empty, table: NoTable, room: PhantomData }
    }
}

/// A later segment becomes full. Its type is erased.
impl<A, B, L, T, S> Push<S> for Steps<Link<A, B>, L, T, Full>
where
    T: Close<L>,
    Link<T::Out, S>: Fold<BoxTail>,
{
    type Out = Steps<Link<A, B>, Empty, NoTable, Room>;

    fn push(mut self, step: S) -> Self::Out {
        self.sealed.push(Box::new(Link(self.table.close(self.list), step)));
        Steps {
            first: self.first,
            sealed: self.sealed,
            list: Empty,
            table: NoTable,
            room: PhantomData,
        }
    }
}

/// Steps whose type is erased: a full segment before `BoxTail`, or all steps of a chain before its `End`.
#[doc(hidden)]
pub trait ErasedSteps<N>: Send {
    fn register(&mut self, registrar: &mut Registrar);
    /// Folds a segment. `next` is the segment after it.
    fn fold_segment(self: Box<Self>, next: N, assembly: &Assembly<'_>) -> BoxTail;
    /// Folds all steps of a scope.
    fn fold_scope(self: Box<Self>, next: N, assembly: &Assembly<'_>) -> BoxTail;
}

/// All steps of a chain, without their type.
#[doc(hidden)]
pub type BoxSteps = Box<dyn ErasedSteps<End>>;

impl<N: Tail, S: Fold<N>> ErasedSteps<N> for S {
    fn register(&mut self, registrar: &mut Registrar) {
        Step::register(self, registrar);
    }

    fn fold_segment(self: Box<Self>, next: N, assembly: &Assembly<'_>) -> BoxTail {
        BoxTail(Arc::new(self.fold(next, assembly)))
    }

    fn fold_scope(self: Box<Self>, next: N, assembly: &Assembly<'_>) -> BoxTail {
        BoxTail(Arc::new(InScope { tail: self.fold(next, assembly), depth: assembly.depth }))
    }
}

/// The steps of a scope. Sets the depth in the state of the request while the request is in the scope.
struct InScope<N> {
    tail: N,
    depth: usize,
}

impl<N: Tail> Tail for InScope<N> {
    async fn call(&self, req: &mut Request, cx: &Cx<'_>) -> Response {
        let cx = Cx { depth: self.depth, ..*cx };
        self.tail.call(req, &cx).await
    }
}

impl<F: Step, L: Step, T: Step, R: 'static> Step for Steps<F, L, T, R> {
    fn register(&mut self, registrar: &mut Registrar) {
        Step::register(&mut self.first, registrar);
        for segment in &mut self.sealed {
            segment.register(registrar);
        }
        Step::register(&mut self.list, registrar);
        Step::register(&mut self.table, registrar);
    }
}

/// The chain has one segment.
#[diagnostic::do_not_recommend]
impl<L, T, R> Fold<End> for Steps<Empty, L, T, R>
where
    L: Step,
    R: 'static,
    T: Step + Close<L>,
    T::Out: Fold<End>,
{
    type Out = <T::Out as Fold<End>>::Out;

    fn fold(self, end: End, assembly: &Assembly<'_>) -> Self::Out {
        self.table.close(self.list).fold(end, assembly)
    }
}

/// The chain has several segments. They are folded from the last to the first.
#[diagnostic::do_not_recommend]
impl<A, B, L, T, R> Fold<End> for Steps<Link<A, B>, L, T, R>
where
    Link<A, B>: Fold<BoxTail>,
    L: Step,
    R: 'static,
    T: Step + Close<L>,
    T::Out: Fold<End>,
{
    type Out = <Link<A, B> as Fold<BoxTail>>::Out;

    fn fold(self, end: End, assembly: &Assembly<'_>) -> Self::Out {
        let last = self.table.close(self.list).fold(end, assembly);
        let mut next = BoxTail(Arc::new(last));
        for segment in self.sealed.into_iter().rev() {
            next = segment.fold_segment(next, assembly);
        }
        self.first.fold(next, assembly)
    }
}
