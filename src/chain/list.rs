//! The list of steps, and how it is sealed.
//!
//! Steps are a type-level list: each one wraps what follows it, without a box. After every eighth step the list is sealed: its type is
//! erased behind one box, which bounds the compiler's work and the size of the future.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

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

/// A list, and the step after it.
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

/// The steps of a chain: the first segment and the last one by their types, those between them sealed.
///
/// `F` is the first segment, once it is full; `L` the one that grows; `T` the table of paths at its end, to which
/// more paths are added; `R` the number of steps that still fit into it.
#[doc(hidden)]
pub struct Steps<F = Empty, L = Empty, T = NoTable, R = Room> {
    first: F,
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

/// The list does not end with paths.
#[doc(hidden)]
#[derive(Debug)]
pub struct NoTable;

/// One more step than `R` fits into the segment.
#[doc(hidden)]
#[derive(Debug)]
pub struct More<R>(PhantomData<R>);

#[doc(hidden)]
#[derive(Debug)]
pub struct Full;

/// Eight steps fit into a segment.
#[doc(hidden)]
pub type Room = More<More<More<More<More<More<More<Full>>>>>>>;

/// Puts the open table, if there is one, at the end of the list.
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

/// Puts a path into the table at the end of the list, and opens one if there is none.
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

/// Puts a step at the end of the list, and seals the list when it is full.
#[doc(hidden)]
pub trait Push<S> {
    type Out;

    fn push(self, step: S) -> Self::Out;
}

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
    fn fold_segment(self: Box<Self>, next: N, assembly: &Assembly<'_>) -> BoxTail;
    /// Like `fold_segment`, for steps at a path of their own.
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

/// The steps of a scope, which see how deep the path of the scope is.
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

/// Steps that all fit into the first segment.
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
