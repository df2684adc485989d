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
use crate::step::added::{Added, Hook, Remark};
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
/// | `R` | how many steps the last segment can still take, besides path tables: [`Full`] is one, each [`More`] one more |
/// | `HANDLERS` | whether handlers are added to the path table: in a scope, until the first other step |
#[doc(hidden)]
pub struct Steps<F = Empty, L = Empty, R = Room, const HANDLERS: bool = false> {
    first: F,
    /// The segments between the first and the last one.
    sealed: Vec<Box<dyn ErasedSteps<BoxTail>>>,
    list: L,
    room: PhantomData<fn() -> R>,
}

impl<const H: bool> Steps<Empty, Empty, Room, H> {
    pub(crate) fn new() -> Self {
        Steps { first: Empty, sealed: Vec::new(), list: Empty, room: PhantomData }
    }
}

/// The steps of a scope before the first one.
#[doc(hidden)]
pub type InnerSteps = Steps<Empty, Empty, Room, true>;

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

/// Adds a path to the table at the end of the list, or to a new table if the list does not end with one.
#[doc(hidden)]
pub trait Open {
    type Out;

    fn open(self, path: Box<dyn Branch>) -> Self::Out;
}

/// A list that does not end with a path table, or a step that is not one.
#[doc(hidden)]
pub trait NoTable {}

impl NoTable for Empty {}
impl<L, S: NoTable> NoTable for Link<L, S> {}
impl<S> NoTable for Added<S> {}
impl<M> NoTable for Hook<M> {}
impl NoTable for Remark {}

impl<L: NoTable> Open for L {
    type Out = Link<L, PathTable>;

    fn open(self, path: Box<dyn Branch>) -> Self::Out {
        Link(self, PathTable::default()).open(path)
    }
}

impl<L> Open for Link<L, PathTable> {
    type Out = Self;

    fn open(mut self, path: Box<dyn Branch>) -> Self {
        self.1.push(path);
        self
    }
}

impl<F, L: Open, R, const H: bool> Open for Steps<F, L, R, H> {
    type Out = Steps<F, L::Out, R, H>;

    fn open(self, path: Box<dyn Branch>) -> Self::Out {
        let Self { first, sealed, list, room } = self;
        Steps { first, sealed, list: list.open(path), room }
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
impl<F, L, R, X> Answer<X> for Steps<F, L, R>
where
    Self: Push<X>,
{
    type Out = <Self as Push<X>>::Out;

    fn answer(self, handler: X) -> Self::Out {
        self.push(handler)
    }
}

#[diagnostic::do_not_recommend]
impl<F, L, R, M: Middleware> Answer<Added<M>> for Steps<F, L, R, true>
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
impl<F, L, R, S, const H: bool> Push<S> for Steps<F, L, More<R>, H> {
    type Out = Steps<F, Link<L, S>, R>;

    fn push(self, step: S) -> Self::Out {
        let Self { first, sealed, list, .. } = self;
        Steps { first, sealed, list: Link(list, step), room: PhantomData }
    }
}

/// The first segment becomes full. It keeps its type.
impl<L, S, const H: bool> Push<S> for Steps<Empty, L, Full, H> {
    type Out = Steps<Link<L, S>, Empty>;

    fn push(self, step: S) -> Self::Out {
        let first = Link(self.list, step);
        Steps { first, sealed: self.sealed, list: Empty, room: PhantomData }
    }
}

/// A later segment becomes full. Its type is erased.
impl<A, B, L, S, const H: bool> Push<S> for Steps<Link<A, B>, L, Full, H>
where
    Link<L, S>: Fold<BoxTail>,
{
    type Out = Steps<Link<A, B>, Empty>;

    fn push(mut self, step: S) -> Self::Out {
        self.sealed.push(Box::new(Link(self.list, step)));
        Steps { first: self.first, sealed: self.sealed, list: Empty, room: PhantomData }
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

impl<F: Step, L: Step, R: 'static, const H: bool> Step for Steps<F, L, R, H> {
    fn register(&mut self, registrar: &mut Registrar) {
        Step::register(&mut self.first, registrar);
        for segment in &mut self.sealed {
            segment.register(registrar);
        }
        Step::register(&mut self.list, registrar);
    }
}

/// The chain has one segment.
#[diagnostic::do_not_recommend]
impl<L: Fold<End>, R: 'static, const H: bool> Fold<End> for Steps<Empty, L, R, H> {
    type Out = L::Out;

    fn fold(self, end: End, assembly: &Assembly<'_>) -> Self::Out {
        self.list.fold(end, assembly)
    }
}

/// The chain has several segments. They are folded from the last to the first.
#[diagnostic::do_not_recommend]
impl<A, B, L, R, const H: bool> Fold<End> for Steps<Link<A, B>, L, R, H>
where
    Link<A, B>: Fold<BoxTail>,
    L: Fold<End>,
    R: 'static,
{
    type Out = <Link<A, B> as Fold<BoxTail>>::Out;

    fn fold(self, end: End, assembly: &Assembly<'_>) -> Self::Out {
        let mut next = BoxTail(Arc::new(self.list.fold(end, assembly)));
        for segment in self.sealed.into_iter().rev() {
            next = segment.fold_boxed(next, assembly);
        }
        self.first.fold(next, assembly)
    }
}
