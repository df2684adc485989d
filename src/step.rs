//! The list of steps, and how it is folded into one endpoint when the chain is built.
//!
//! Steps are a type-level list: each one wraps what follows it, without a box. Every eighth step the list is sealed: its type is
//! erased behind one box, so that neither the compiler's work nor the size of the future grows without bound.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either};
use http::Method;

use crate::answer::{End, Parent, Unanswered};
use crate::build::CallSite;
use crate::next::{BoxTail, Cover, Cx, Late, Middleware, Next, Resume, Tail};
use crate::prefix::Prefix;
use crate::probe::Site;
use crate::route::{ClosedScope, Hooks, Registrar, Settings};
use crate::{Request, Response};

/// Something that stands in a chain.
#[doc(hidden)]
pub trait Step: Send + 'static {
    /// Counts itself, in the order of writing.
    fn register(&mut self, registrar: &mut Registrar);
}

/// A step, or a list of them, that can stand before `N`.
#[doc(hidden)]
pub trait Fold<N: Tail>: Step {
    type Out: Tail;

    fn fold(self, next: N, assembly: &Assembly<'_>) -> Self::Out;
}

/// What folding needs to know of the scope that is folded.
#[doc(hidden)]
pub struct Assembly<'a> {
    /// The last step of the scope.
    pub(crate) end: u32,
    pub(crate) tables: &'a RefCell<Vec<Option<Arc<dyn Resume>>>>,
    pub(crate) hooks: &'a RefCell<Vec<Option<BoxTail>>>,
    /// How many segments of the path stand before the scope.
    pub(crate) depth: usize,
}

/// The empty list.
#[doc(hidden)]
#[derive(Debug)]
pub struct Empty;

/// A list, and the step after it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Link<Prev, S>(Prev, S);

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

/// A middleware before the rest.
#[doc(hidden)]
pub struct Around<M, N> {
    middleware: M,
    next: N,
    cover: Cover,
    site: Site,
}

impl<M: Middleware<Provides: 'static>, N: Tail> Tail for Around<M, N> {
    #[inline(always)]
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        if self.cover.holds(cx, req) {
            let next = Next::new(req, &self.next, cx);
            Either::Left(self.site.probe(&cx.built.routes, || self.middleware.call(next)))
        } else {
            Either::Right(Late::new(move || self.next.call(req, cx)))
        }
    }
}

/// What `use_` and `always` put into a chain.
#[doc(hidden)]
pub struct Use<S> {
    pub(crate) step: S,
    verb: &'static str,
    always: bool,
    pub(crate) number: u32,
    location: CallSite,
    /// The paths that it is for, if not for all.
    at: Option<String>,
    prefix: Option<Prefix>,
}

impl<S> Use<S> {
    #[track_caller]
    pub(crate) fn new(step: S, verb: &'static str, always: bool) -> Self {
        let location = Location::caller();
        Self { step, verb, always, number: 0, location, at: None, prefix: None }
    }

    /// For the paths under a prefix alone.
    pub(crate) fn at(mut self, path: &str) -> Self {
        self.at = Some(path.to_owned());
        self
    }

    pub(crate) fn cover(&mut self, assembly: &Assembly<'_>) -> Cover {
        let prefix = self.prefix.take();
        if self.always {
            Cover::ALWAYS
        } else {
            Cover::range(self.number + 1, assembly.end, prefix)
        }
    }

    pub(crate) fn count(&mut self, name: String, registrar: &mut Registrar) {
        self.number = registrar.middleware(self.verb, name, self.always, self.location);
        if let Some(path) = &self.at {
            self.prefix = registrar.prefix(path, self.location);
        }
    }
}

impl<M: Middleware> Step for Use<M> {
    fn register(&mut self, registrar: &mut Registrar) {
        self.count(self.step.name(), registrar);
    }
}

impl<M: Middleware, N: Tail> Fold<N> for Use<M> {
    type Out = Around<M, N>;

    fn fold(mut self, next: N, assembly: &Assembly<'_>) -> Self::Out {
        let cover = self.cover(assembly);
        Around { middleware: self.step, next, cover, site: Site::step(self.number) }
    }
}

/// What a verb such as `get` puts into a chain.
#[doc(hidden)]
pub struct On<M> {
    handler: M,
    method: Option<Method>,
    passes: bool,
    location: CallSite,
    number: u32,
}

impl<M> On<M> {
    pub(crate) fn new(
        handler: M,
        method: Option<Method>,
        passes: bool,
        location: CallSite,
    ) -> Self {
        Self { handler, method, passes, location, number: 0 }
    }
}

impl<M: Middleware> Step for On<M> {
    fn register(&mut self, registrar: &mut Registrar) {
        self.number =
            registrar.handler(self.method.take(), self.handler.name(), self.passes, self.location);
    }
}

impl<M: Middleware, N: Tail> Fold<N> for On<M> {
    type Out = Around<M, N>;

    fn fold(self, next: N, _: &Assembly<'_>) -> Self::Out {
        let cover = Cover::range(self.number, self.number, None);
        Around { middleware: self.handler, next, cover, site: Site::step(self.number) }
    }
}

/// What a hook such as `on_no_match` puts into a chain. It is not in the way of a request: the end of a scope calls it.
#[doc(hidden)]
pub struct Hook<M> {
    verb: &'static str,
    handler: M,
    set: fn(&mut Hooks, usize),
    index: usize,
}

impl<M> Hook<M> {
    pub(crate) fn new(verb: &'static str, handler: M, set: fn(&mut Hooks, usize)) -> Self {
        Self { verb, handler, set, index: 0 }
    }
}

impl<M: Middleware> Step for Hook<M> {
    fn register(&mut self, registrar: &mut Registrar) {
        self.index = registrar.hook(self.verb, &self.handler.name(), self.set);
    }
}

impl<M: Middleware, N: Tail> Fold<N> for Hook<M> {
    type Out = N;

    fn fold(self, next: N, assembly: &Assembly<'_>) -> N {
        let (cover, site) = (Cover::ALWAYS, Site::CHAIN);
        let hook = Around { middleware: self.handler, next: Unanswered, cover, site };
        put(&mut assembly.hooks.borrow_mut(), self.index, BoxTail(Arc::new(hook)));
        next
    }
}

/// Puts a value into a list that is filled from its end.
fn put<T>(list: &mut Vec<Option<T>>, index: usize, value: T) {
    if list.len() <= index {
        list.resize_with(index + 1, || None);
    }
    list[index] = Some(value);
}

/// The paths that stand next to each other in a chain.
#[doc(hidden)]
#[derive(Default)]
pub struct PathTable {
    entries: Vec<Box<dyn Branch>>,
    /// The first and the last step inside each entry.
    spans: Vec<(u32, u32)>,
    number: u32,
}

/// An entry of a [`PathTable`].
#[doc(hidden)]
pub trait Branch: Send {
    fn register(&mut self, registrar: &mut Registrar);
    fn assemble(self: Box<Self>, parent: Parent, assembly: &Assembly<'_>) -> BoxTail;
}

impl Step for PathTable {
    fn register(&mut self, registrar: &mut Registrar) {
        self.number = registrar.next_table();
        for entry in &mut self.entries {
            let first = registrar.next_step();
            entry.register(registrar);
            self.spans.push((first, registrar.next_step().saturating_sub(1)));
        }
    }
}

impl<N: Tail> Fold<N> for PathTable {
    type Out = TableTail<N>;

    fn fold(self, next: N, assembly: &Assembly<'_>) -> TableTail<N> {
        let first = self.spans.first().map_or(0, |span| span.0);
        let mut entry_of = Vec::new();
        let mut entries = Vec::with_capacity(self.entries.len());
        for (index, (entry, span)) in self.entries.into_iter().zip(self.spans).enumerate() {
            entry_of.resize((span.1 + 1 - first) as usize, index);
            let parent = Parent { table: self.number, from: span.1 + 1 };
            entries.push(entry.assemble(parent, assembly));
        }
        let depth = assembly.depth;
        let table = Arc::new(Branches { first, entry_of, entries, next, depth });
        put(&mut assembly.tables.borrow_mut(), self.number as usize, table.clone());
        TableTail(table)
    }
}

struct Branches<N> {
    first: u32,
    /// The entry in which a step stands, for the steps from `first` on.
    entry_of: Vec<usize>,
    entries: Vec<BoxTail>,
    next: N,
    depth: usize,
}

impl<N: Tail> Branches<N> {
    fn call_from<'a>(
        &'a self,
        from: u32,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        let entry = |step: u32| {
            let index = (step >= from).then(|| step.checked_sub(self.first)).flatten()?;
            self.entry_of.get(index as usize)
        };
        match cx.plan.stops.iter().find_map(|stop| entry(*stop)) {
            Some(entry) => Either::Left(self.entries[*entry].0.call_boxed(req, cx)),
            None => Either::Right(self.next.call(req, cx)),
        }
    }
}

impl<N: Tail> Resume for Branches<N> {
    fn resume<'a>(
        &'a self,
        from: u32,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let cx = Cx { depth: self.depth, ..*cx };
            self.call_from(from, req, &cx).await
        })
    }
}

#[doc(hidden)]
pub struct TableTail<N>(Arc<Branches<N>>);

impl<N: Tail> Tail for TableTail<N> {
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        Site::CHAIN.probe(&cx.built.routes, || self.0.call_from(0, req, cx))
    }
}

/// The steps of a chain: the first segment and the last one by their types, those between them sealed.
///
/// `F` is the first segment, once it is full; `L` the one that grows; `T` the table of paths that is open at its end;
/// `R` the room that is left in it.
#[doc(hidden)]
pub struct Steps<F = Empty, L = Empty, T = NoTable, R = Room> {
    first: F,
    sealed: Vec<Box<dyn ErasedSegment>>,
    list: L,
    table: T,
    room: PhantomData<fn() -> R>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Steps { first: Empty, sealed: Vec::new(), list: Empty, table: NoTable, room: PhantomData }
    }
}

/// No path stands at the end of the list.
#[doc(hidden)]
#[derive(Debug)]
pub struct NoTable;

/// Room for one more step than `R`.
#[doc(hidden)]
#[derive(Debug)]
pub struct More<R>(PhantomData<R>);

#[doc(hidden)]
#[derive(Debug)]
pub struct Full;

/// Eight steps a segment.
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
    type Out = Link<L, PathTable>;

    fn close(self, list: L) -> Self::Out {
        Link(list, self)
    }
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
        self.table.entries.push(path);
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

/// A segment whose type is erased.
trait ErasedSegment: Send {
    fn register(&mut self, registrar: &mut Registrar);
    fn fold_boxed(self: Box<Self>, next: BoxTail, assembly: &Assembly<'_>) -> BoxTail;
}

impl<S: Fold<BoxTail>> ErasedSegment for S {
    fn register(&mut self, registrar: &mut Registrar) {
        Step::register(self, registrar);
    }

    fn fold_boxed(self: Box<Self>, next: BoxTail, assembly: &Assembly<'_>) -> BoxTail {
        BoxTail(Arc::new(self.fold(next, assembly)))
    }
}

/// All steps of a chain.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a step of this chain is not complete",
    label = "this chain can't be built",
    note = "another error names the step and the reason",
    note = "an `async` closure can't capture values: as middleware write `tower_chain::from_closure(f)`, as a handler `move || async move {{ .. }}`"
)]
pub trait AllSteps: Send + 'static {
    type Out: Tail;

    fn register(&mut self, registrar: &mut Registrar);
    fn assemble(self, end: End, assembly: &Assembly<'_>) -> Self::Out;

    fn assemble_boxed(self, end: End, assembly: &Assembly<'_>) -> BoxTail
    where
        Self: Sized,
    {
        let depth = assembly.depth;
        BoxTail(Arc::new(InScope { endpoint: self.assemble(end, assembly), depth }))
    }
}

/// The steps behind a path.
struct InScope<E> {
    endpoint: E,
    depth: usize,
}

impl<E: Tail> Tail for InScope<E> {
    async fn call(&self, req: &mut Request, cx: &Cx<'_>) -> Response {
        let cx = Cx { depth: self.depth, ..*cx };
        self.endpoint.call(req, &cx).await
    }
}

/// Steps whose type is erased.
#[doc(hidden)]
pub trait SealedSteps: Send {
    fn register(&mut self, registrar: &mut Registrar);
    fn assemble(self: Box<Self>, end: End, assembly: &Assembly<'_>) -> BoxTail;
}

impl<S: AllSteps> SealedSteps for S {
    fn register(&mut self, registrar: &mut Registrar) {
        AllSteps::register(self, registrar);
    }

    fn assemble(self: Box<Self>, end: End, assembly: &Assembly<'_>) -> BoxTail {
        self.assemble_boxed(end, assembly)
    }
}

/// See [`SealedSteps`].
#[doc(hidden)]
pub struct BoxSteps(pub(crate) Box<dyn SealedSteps>);

impl AllSteps for BoxSteps {
    type Out = BoxTail;

    fn register(&mut self, registrar: &mut Registrar) {
        self.0.register(registrar);
    }

    fn assemble(self, end: End, assembly: &Assembly<'_>) -> BoxTail {
        self.0.assemble(end, assembly)
    }

    fn assemble_boxed(self, end: End, assembly: &Assembly<'_>) -> BoxTail {
        self.0.assemble(end, assembly)
    }
}

/// Steps that all fit into the first segment.
#[diagnostic::do_not_recommend]
impl<L, T, R> AllSteps for Steps<Empty, L, T, R>
where
    L: Step,
    R: 'static,
    T: Close<L> + TableStep,
    T::Out: Fold<End>,
{
    type Out = <T::Out as Fold<End>>::Out;

    fn register(&mut self, registrar: &mut Registrar) {
        self.list.register(registrar);
        self.table.register(registrar);
    }

    fn assemble(self, end: End, assembly: &Assembly<'_>) -> Self::Out {
        self.table.close(self.list).fold(end, assembly)
    }
}

#[diagnostic::do_not_recommend]
impl<A, B, L, T, R> AllSteps for Steps<Link<A, B>, L, T, R>
where
    Link<A, B>: Fold<BoxTail>,
    L: Step,
    R: 'static,
    T: Close<L> + TableStep,
    T::Out: Fold<End>,
{
    type Out = <Link<A, B> as Fold<BoxTail>>::Out;

    fn register(&mut self, registrar: &mut Registrar) {
        Step::register(&mut self.first, registrar);
        for segment in &mut self.sealed {
            segment.register(registrar);
        }
        self.list.register(registrar);
        self.table.register(registrar);
    }

    fn assemble(self, end: End, assembly: &Assembly<'_>) -> Self::Out {
        let last = self.table.close(self.list).fold(end, assembly);
        let mut next = BoxTail(Arc::new(last));
        for segment in self.sealed.into_iter().rev() {
            next = segment.fold_boxed(next, assembly);
        }
        self.first.fold(next, assembly)
    }
}

/// The open table, or none.
#[doc(hidden)]
pub trait TableStep: Send + 'static {
    fn register(&mut self, registrar: &mut Registrar);
}

impl TableStep for NoTable {
    fn register(&mut self, _: &mut Registrar) {}
}

impl TableStep for PathTable {
    fn register(&mut self, registrar: &mut Registrar) {
        Step::register(self, registrar);
    }
}

/// A chain behind a path.
pub(crate) struct Scope<S> {
    path: String,
    location: CallSite,
    steps: S,
    settings: Settings,
    closed: ClosedScope,
}

impl<S> Scope<S> {
    pub(crate) fn new(path: &str, location: CallSite, steps: S, settings: Settings) -> Self {
        Self { path: path.to_owned(), location, steps, settings, closed: ClosedScope::default() }
    }
}

impl<S: AllSteps> Branch for Scope<S> {
    fn register(&mut self, registrar: &mut Registrar) {
        registrar.enter(&self.path, self.settings, self.location);
        self.steps.register(registrar);
        self.closed = registrar.leave();
    }

    fn assemble(self: Box<Self>, parent: Parent, assembly: &Assembly<'_>) -> BoxTail {
        let assembly = Assembly { end: self.closed.end, depth: self.closed.depth, ..*assembly };
        self.steps.assemble_boxed(End::new(self.closed.end, Some(parent)), &assembly)
    }
}
