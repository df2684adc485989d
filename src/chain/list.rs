//! The list of steps of a chain, in segments of eight. (Only in this file, a segment is a part of this list, not of a path.)
//!
//! A chain is a list at the type level: `Link<Link<Empty, A>, B>` is the list of `A` and `B`. Folded (`step/fold.rs`), each step
//! contains the next one, so a call from step to step needs no box. But with each step the types become longer to compile, and the
//! future of a request becomes larger. So the list is divided into segments of eight steps. When a segment is full, its type is
//! erased: the call from the segment before it into the next one costs one box. A chain of fewer than eight steps has one segment.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::chain::table::{HandlerBranch, PathTable};
use crate::route::registrar::Registrar;
use crate::step::added::Added;
use crate::step::end::End;
use crate::step::fold::{Assembly, Branch, Fold, Step};
use crate::step::next::Middleware;
use crate::step::tail::{BoxTail, InScope, Tail};

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
/// | `T` | the path table at the end of `L`, to which paths are added. [`NoTable`] if the list does not end with one |
/// | `R` | how many steps the last segment can still take: [`Full`] is one, each [`More`] one more |
/// | `HANDLERS` | whether handlers are added to the path table: in a scope, until the first other step |
#[doc(hidden)]
pub struct Steps<F = Empty, L = Empty, T = NoTable, R = Room, const HANDLERS: bool = false> {
    first: F,
    /// The segments between the first and the last one.
    sealed: Vec<Box<dyn ErasedSteps<BoxTail>>>,
    list: L,
    table: T,
    room: PhantomData<fn() -> R>,
}

impl<const H: bool> Steps<Empty, Empty, NoTable, Room, H> {
    pub(crate) fn new() -> Self {
        Steps { first: Empty, sealed: Vec::new(), list: Empty, table: NoTable, room: PhantomData }
    }
}

/// The steps of a scope before the first one.
#[doc(hidden)]
pub type InnerSteps = Steps<Empty, Empty, NoTable, Room, true>;

/// The list does not end with a path table.
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

impl<F, L, R, const H: bool> Open for Steps<F, L, NoTable, R, H> {
    type Out = Steps<F, L, PathTable, R, H>;

    fn open(self, entry: Box<dyn Branch>) -> Self::Out {
        let Self { first, sealed, list, room, .. } = self;
        Steps::<_, _, _, _, H> { first, sealed, list, table: PathTable::default(), room }
            .open(entry)
    }
}

impl<F, L, R, const H: bool> Open for Steps<F, L, PathTable, R, H> {
    type Out = Self;

    fn open(mut self, entry: Box<dyn Branch>) -> Self {
        self.table.push(entry);
        self
    }
}

/// Adds a handler: to the path table at the beginning of a scope, or else as a step.
///
/// A request that enters a scope costs one box. If the scope begins with handlers, the handler that answers has this box, and its
/// type ends there. After middleware, the box has the futures of all steps, and a handler is a step among them.
#[doc(hidden)]
pub trait Answer<X> {
    type Out;

    fn answer(self, handler: X) -> Self::Out;
}

#[diagnostic::do_not_recommend]
impl<F, L, T, R, X> Answer<X> for Steps<F, L, T, R>
where
    Self: Push<X>,
{
    type Out = <Self as Push<X>>::Out;

    fn answer(self, handler: X) -> Self::Out {
        self.push(handler)
    }
}

#[diagnostic::do_not_recommend]
impl<F, L, T, R, M: Middleware> Answer<Added<M>> for Steps<F, L, T, R, true>
where
    Self: Open,
{
    type Out = <Self as Open>::Out;

    fn answer(self, handler: Added<M>) -> Self::Out {
        let Added { step, entry } = handler;
        self.open(Box::new(HandlerBranch { handler: Box::new(step), entry }))
    }
}

/// Appends a step to the list. A segment that becomes full is closed, and an empty one begins.
#[doc(hidden)]
pub trait Push<S> {
    type Out;

    fn push(self, step: S) -> Self::Out;
}

/// The segment does not become full.
impl<F, L, T, R, S, const H: bool> Push<S> for Steps<F, L, T, More<R>, H>
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
impl<L, T, S, const H: bool> Push<S> for Steps<Empty, L, T, Full, H>
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
impl<A, B, L, T, S, const H: bool> Push<S> for Steps<Link<A, B>, L, T, Full, H>
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
    fn fold_boxed(self: Box<Self>, next: N, assembly: &Assembly<'_>) -> BoxTail;
}

/// All steps of a chain, without their type.
#[doc(hidden)]
pub type BoxSteps = Box<dyn ErasedSteps<End>>;

impl<N: Erase, S: Fold<N>> ErasedSteps<N> for S {
    fn register(&mut self, registrar: &mut Registrar) {
        Step::register(self, registrar);
    }

    fn fold_boxed(self: Box<Self>, next: N, assembly: &Assembly<'_>) -> BoxTail {
        N::erase(self.fold(next, assembly), assembly)
    }
}

/// The last part of steps whose type is erased.
#[doc(hidden)]
pub trait Erase: Tail {
    /// Erases the type of steps that end with `Self`.
    fn erase<T: Tail>(tail: T, assembly: &Assembly<'_>) -> BoxTail;
}

/// The steps are a scope.
impl Erase for End {
    fn erase<T: Tail>(tail: T, assembly: &Assembly<'_>) -> BoxTail {
        BoxTail(Arc::new(InScope { tail, scope: assembly.scope() }))
    }
}

/// The steps are a segment.
impl Erase for BoxTail {
    fn erase<T: Tail>(tail: T, _: &Assembly<'_>) -> BoxTail {
        BoxTail(Arc::new(tail))
    }
}

impl<F: Step, L: Step, T: Step, R: 'static, const H: bool> Step for Steps<F, L, T, R, H> {
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
impl<L, T, R, const H: bool> Fold<End> for Steps<Empty, L, T, R, H>
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
impl<A, B, L, T, R, const H: bool> Fold<End> for Steps<Link<A, B>, L, T, R, H>
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
            next = segment.fold_boxed(next, assembly);
        }
        self.first.fold(next, assembly)
    }
}
