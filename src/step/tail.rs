//! The rest of a chain as one value, with or without its type, and the state of a request in it.
//!
//! The traits and records that the files on the path of a request share: `step/next.rs` calls a [`Tail`], and every
//! step receives the [`Cx`] together with the request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;

use crate::probe::Site;
use crate::provide::versions::SharedTypes;
use crate::route::plan::{Original, Plan};
use crate::route::routes::Routes;
use crate::step::kept::Kept;
use crate::{Request, Response};

/// The steps after a step, folded into one value when the chain is built.
#[doc(hidden)]
pub trait Tail: Send + Sync + 'static {
    /// Answers the request. `req` may be left empty: a step that needs an owned request takes it out.
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a;

    /// Answers the request as the first step of a scope. Costs one box.
    ///
    /// A path table needs none: its entries set the scope, and have a box of their own (`chain/table.rs`).
    fn enter<'a>(
        &'a self,
        scope: CurrentScope,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> BoxFuture<'a, Response> {
        box_in_place(move || async move {
            let cx = cx.within(scope, req);
            self.call(req, &cx).await
        })
    }
}

/// The data that all requests of a built chain share.
pub(crate) struct Built {
    pub(crate) routes: Routes,
    /// The path tables of the chain. The index is the number of the table.
    ///
    /// The list has no gaps: `PathTable::register` takes the next number, `PathTable::fold` sets the element of this number, and
    /// both run once for each table when the chain is built.
    pub(crate) tables: Vec<Arc<dyn Resume>>,
    /// The hooks, by their indexes, each with the end of the scope that it is written in. No gaps, for the same reason.
    pub(crate) hooks: Vec<(BoxTail, u32)>,
    /// The types that several scopes provide.
    pub(crate) shared: SharedTypes,
    /// The number of the end of the outermost scope.
    pub(crate) end: u32,
    /// The first step, which contains the others. The end of a scope calls it for a later pass.
    pub(crate) first: BoxTail,
}

/// The second entry point of a path table: the end of a scope in the table calls it when a request leaves the scope without an answer.
/// The request continues with the steps from `from` on.
pub(crate) trait Resume: Send + Sync {
    fn resume<'a>(
        &'a self,
        from: u32,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> BoxFuture<'a, Response>;
}

/// The service behind a chain that is used as a layer. One value serves one request.
pub(crate) trait InnerService: Send + Sync {
    fn call(&self, req: Request) -> BoxFuture<'static, Response>;
    /// The pattern that the router around the chain matched, if it is known.
    fn outer_path(&self) -> Option<&str>;
    /// Puts the match of the router around the chain into the extensions of the request.
    fn show_outer_match(&self, req: &mut Request);
}

/// The scope that a request is in.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentScope {
    /// The number of segments of its path.
    pub(crate) depth: u32,
    /// The number of its end.
    pub(crate) end: u32,
}

impl CurrentScope {
    pub(crate) fn new(depth: usize, end: u32) -> Self {
        // A pattern has fewer segments than the text of a program has bytes.
        Self { depth: depth.try_into().unwrap_or(u32::MAX), end }
    }
}

/// The state of one request in a chain.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Cx<'a> {
    pub(crate) built: &'a Arc<Built>,
    pub(crate) plan: &'a Plan,
    /// The service behind the chain, if the chain is used as a layer.
    pub(crate) inner: Option<&'a Arc<dyn InnerService>>,
    /// The scope that the request is in. [`Tail::enter`] sets it when a request enters a scope, `Branches::resume` (`chain/table.rs`)
    /// when it leaves one at its end. A handler in a path table and the end of a scope know their own.
    pub(crate) scope: CurrentScope,
    /// The path and the method that were matched. `None` if no step needs them.
    pub(crate) original: Option<&'a Arc<Original>>,
    /// The extensions of a request while a step may replace it (`step/kept.rs`).
    pub(crate) kept: &'a Kept,
}

impl<'a> Cx<'a> {
    /// The state in another scope. Of a type that several scopes provide, the request gets the value for that scope.
    #[inline(always)]
    pub(crate) fn within(&self, scope: CurrentScope, req: &mut Request) -> Self {
        self.built.shared.select(scope.end, req.extensions_mut());
        Self { scope, ..*self }
    }

    pub(crate) fn matched_path(&self) -> Option<&'a str> {
        match self.plan.route {
            Some(route) => Some(self.built.routes.pattern(route)),
            None => self.inner.and_then(|inner| inner.outer_path()),
        }
    }

    /// The path that was matched, if a step may need it.
    pub(crate) fn original_path(&self) -> Option<&'a str> {
        self.original.map(|original| &*original.path)
    }

    /// Puts the matched pattern into the extensions of the request. Called before code that may read it there.
    pub(crate) fn show_match(&self, req: &mut Request) {
        match (self.plan.route, self.inner) {
            (None, Some(inner)) => inner.show_outer_match(req),
            _ => self.built.routes.show_match(self.plan, self.scope.depth as usize, req),
        }
    }
}

/// The state of a request inside a tower layer. It is in the extensions of the request, so it must be an owned value.
#[derive(Clone)]
pub(crate) struct OwnedCx {
    built: Arc<Built>,
    plan: usize,
    inner: Option<Arc<dyn InnerService>>,
    scope: CurrentScope,
    original: Option<Arc<Original>>,
}

impl OwnedCx {
    pub(crate) fn new(cx: &Cx<'_>) -> Self {
        Self {
            built: cx.built.clone(),
            plan: cx.plan.index,
            inner: cx.inner.cloned(),
            scope: cx.scope,
            original: cx.original.cloned(),
        }
    }

    /// Whether this is the same state as `cx`.
    pub(crate) fn is_of(&self, cx: &Cx<'_>) -> bool {
        Arc::ptr_eq(&self.built, cx.built)
            && self.plan == cx.plan.index
            && self.scope == cx.scope
            // A request that was given to the same chain again has another original, and so has a later pass.
            && self.original.as_ref().map(Arc::as_ptr) == cx.original.map(Arc::as_ptr)
    }

    pub(crate) fn borrow<'a>(&'a self, kept: &'a Kept) -> Cx<'a> {
        let later = self.original.as_ref().and_then(|original| original.later.as_ref());
        Cx {
            built: &self.built,
            plan: later.unwrap_or_else(|| self.built.routes.plan(self.plan)),
            inner: self.inner.as_ref(),
            scope: self.scope,
            original: self.original.as_ref(),
            kept,
        }
    }
}

/// A tail without its type. Each call costs one box. It is used between the segments of a chain (`chain/list.rs`), and for each
/// entry of a path table.
pub(crate) trait ErasedTail: Send + Sync {
    fn call_boxed<'a>(&'a self, req: &'a mut Request, cx: &'a Cx<'a>) -> BoxFuture<'a, Response>;
}

impl<E: Tail> ErasedTail for E {
    fn call_boxed<'a>(&'a self, req: &'a mut Request, cx: &'a Cx<'a>) -> BoxFuture<'a, Response> {
        box_in_place(move || self.call(req, cx))
    }
}

/// A tail without its type inside a tower layer, which needs a future that borrows nothing.
pub(crate) trait OwnedTail: Send + Sync {
    fn call_owned(self: Arc<Self>, req: Request, on: OwnedCx) -> BoxFuture<'static, Response>;
}

impl<E: Tail> OwnedTail for E {
    fn call_owned(self: Arc<Self>, mut req: Request, on: OwnedCx) -> BoxFuture<'static, Response> {
        Box::pin(async move { self.call(&mut req, &on.borrow(&Kept::default())).await })
    }
}

/// The steps of a scope.
pub(crate) struct InScope<N> {
    pub(crate) tail: N,
    pub(crate) scope: CurrentScope,
}

impl<N: Tail> ErasedTail for InScope<N> {
    fn call_boxed<'a>(&'a self, req: &'a mut Request, cx: &'a Cx<'a>) -> BoxFuture<'a, Response> {
        self.tail.enter(self.scope, req, cx)
    }
}

/// A shared [`ErasedTail`].
#[doc(hidden)]
#[derive(Clone)]
pub struct BoxTail(pub(crate) Arc<dyn ErasedTail>);

impl Tail for BoxTail {
    #[inline(always)]
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        Site::CHAIN.probe(&cx.built.routes, || self.0.call_boxed(req, cx))
    }
}

pin_project! {
    /// A future that is built when it is first polled.
    ///
    /// The future of the rest of a chain is large, as it contains the futures of all steps up to the next box. Built at once, it
    /// would be copied each time a function returns it. The closure that builds it is a few pointers.
    #[project = LateProjection]
    pub(crate) enum Late<M, F> {
        Waiting { start: Option<M> },
        Started { #[pin] future: F },
    }
}

impl<M: FnOnce() -> F, F> Late<M, F> {
    #[inline(always)]
    pub(crate) fn new(start: M) -> Self {
        Self::Waiting { start: Some(start) }
    }
}

impl<M, F> Late<M, F> {
    /// Sets what the future will be made of. For a value that was made empty, where it is.
    pub(crate) fn begin(self: Pin<&mut Self>, with: M) {
        if let LateProjection::Waiting { start } = self.project() {
            *start = Some(with);
        }
    }

    /// Polls the future. `begin` makes it when it is polled first.
    #[inline(always)]
    pub(crate) fn poll_with(
        mut self: Pin<&mut Self>,
        begin: impl FnOnce(M) -> F,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output>
    where
        F: Future,
    {
        if let LateProjection::Waiting { start } = self.as_mut().project()
            && let Some(start) = start.take()
        {
            self.set(Self::Started { future: begin(start) });
        }
        match self.project() {
            LateProjection::Started { future } => future.poll(cx),
            LateProjection::Waiting { .. } => Poll::Pending,
        }
    }
}

impl<M, F> Default for Late<M, F> {
    fn default() -> Self {
        Self::Waiting { start: None }
    }
}

impl<M: FnOnce() -> F, F: Future> Future for Late<M, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.poll_with(|start| start(), cx)
    }
}

/// Boxes the future that `start` makes.
///
/// `Box::pin(start())` would build the future on the stack and copy it into the box, with the space for all steps in it. Here
/// the box is made empty and gets the closure, and the first poll builds the future in the box.
pub(crate) fn box_in_place<'a, M, F>(start: M) -> BoxFuture<'a, F::Output>
where
    M: FnOnce() -> F + Send + 'a,
    F: Future + Send + 'a,
{
    let mut late = Box::into_pin(Box::<Late<M, F>>::default());
    late.as_mut().begin(start);
    late
}
