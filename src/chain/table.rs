//! The path table: consecutive paths in a chain, as one step. At the beginning of a scope, its handlers are in the table too.
//!
//! The fifth file on the path of a request: [`Branches::call_from`] calls the entry that the request's plan names. If no handler
//! in the entry answers, the end of the entry (`step/end.rs`, the next file) calls [`Resume::resume`] of the same table.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either};

use crate::declare::Declaration;
use crate::probe::Site;
use crate::route::registrar::Registrar;
use crate::step::added::Entry;
use crate::step::end::Parent;
use crate::step::fold::{Assembly, Branch, Fold, Step, put};
use crate::step::next::{Middleware, Next};
use crate::step::tail::{BoxTail, CurrentScope, Cx, ErasedTail, Resume, Tail, box_in_place};
use crate::{Request, Response};

/// Consecutive paths in a chain, before the chain is built. At the beginning of a scope also handlers of the path of the scope.
#[doc(hidden)]
#[derive(Default)]
pub struct PathTable {
    entries: Vec<Box<dyn Branch>>,
    /// The numbers of the first and the last step of each entry. Set when the table is registered.
    spans: Vec<(u32, u32)>,
    /// The index of the table in `Built::tables`.
    number: u32,
}

impl PathTable {
    pub(super) fn push(&mut self, branch: Box<dyn Branch>) {
        self.entries.push(branch);
    }
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
            // The numbers of consecutive entries have no gap, so this adds `index` for each number of this entry.
            entry_of.resize((span.1 + 1 - first) as usize, index);
            let parent = Parent { table: self.number, from: span.1 + 1 };
            entries.push(entry.assemble(parent, assembly));
        }
        let scope = assembly.scope();
        let table = Arc::new(Branches { first, entry_of, entries, next, scope });
        put(&mut assembly.tables.borrow_mut(), self.number as usize, table.clone());
        TableTail(table)
    }
}

/// The path table of a built chain.
struct Branches<N> {
    /// The number of the first step in the table.
    first: u32,
    /// The entry of each step in the table. The index is the number of the step minus `first`.
    entry_of: Vec<usize>,
    entries: Vec<BoxTail>,
    /// The steps after the table.
    next: N,
    /// The scope that contains the table.
    scope: CurrentScope,
}

impl<N: Tail> Branches<N> {
    /// The entry that has the first stop of the plan whose number is at least `from`.
    fn entry(&self, from: u32, cx: &Cx<'_>) -> Option<&BoxTail> {
        let entry = |step: u32| {
            let index = (step >= from).then(|| step.checked_sub(self.first)).flatten()?;
            self.entry_of.get(index as usize)
        };
        let entry = cx.plan.stops.iter().find_map(|stop| entry(*stop))?;
        Some(&self.entries[*entry])
    }

    /// Calls this entry, or the steps after the table if no entry has such a stop.
    fn call_from<'a>(
        &'a self,
        from: u32,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        match self.entry(from, cx) {
            Some(entry) => Either::Left(entry.0.call_boxed(req, cx)),
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
            // The request left an inner scope.
            let cx = cx.within(self.scope, req);
            self.call_from(from, req, &cx).await
        })
    }
}

/// A path table and the steps after it, as a tail. `Built::tables` has the same table, for [`Resume`].
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

    fn enter<'a>(
        &'a self,
        scope: CurrentScope,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> BoxFuture<'a, Response> {
        match self.0.entry(0, cx) {
            Some(entry) => entry.0.call_boxed(req, cx),
            None => box_in_place(move || async move {
                let cx = cx.within(scope, req);
                self.0.next.call(req, &cx).await
            }),
        }
    }
}

/// A handler in a path table, before the chain is built. The type of the handler ends here: it is compiled without the steps around it,
/// and they are compiled once for all handlers.
pub(super) struct HandlerBranch {
    pub(super) handler: Box<dyn ErasedHandler>,
    pub(super) entry: Entry,
}

impl Branch for HandlerBranch {
    fn register(&mut self, registrar: &mut Registrar) {
        let mut declaration = self.entry.declaration(registrar);
        let name = self.handler.declare_to(&mut declaration);
        self.entry.register(name, declaration, registrar);
    }

    fn assemble(self: Box<Self>, parent: Parent, assembly: &Assembly<'_>) -> BoxTail {
        let Self { handler, entry: Entry { number, .. } } = *self;
        BoxTail(Arc::new(HandlerTail { handler, number, scope: assembly.scope(), parent }))
    }
}

/// A handler in the path table of a built chain.
pub(super) struct HandlerTail {
    handler: Box<dyn ErasedHandler>,
    number: u32,
    /// The scope that contains the table.
    scope: CurrentScope,
    /// The steps after the handler, to which it may pass the request on.
    parent: Parent,
}

impl ErasedTail for HandlerTail {
    fn call_boxed<'a>(&'a self, req: &'a mut Request, cx: &'a Cx<'a>) -> BoxFuture<'a, Response> {
        // A later pass may stop at a handler that an earlier pass has called.
        if !cx.plan.handlers.numbers().contains(&self.number) {
            return self.parent.resume(req, cx);
        }
        let cx = cx.within(self.scope, req);
        self.handler.handle(req, cx, self)
    }
}

/// A handler without its type.
pub(super) trait ErasedHandler: Send + Sync {
    fn handle<'a>(
        &'a self,
        req: &'a mut Request,
        cx: Cx<'a>,
        tail: &'a HandlerTail,
    ) -> BoxFuture<'a, Response>;

    /// Adds to the declaration of the handler, and returns its name.
    fn declare_to(&self, declaration: &mut Declaration) -> String;
}

impl<M: Middleware> ErasedHandler for M {
    fn handle<'a>(
        &'a self,
        req: &'a mut Request,
        cx: Cx<'a>,
        tail: &'a HandlerTail,
    ) -> BoxFuture<'a, Response> {
        box_in_place(move || async move {
            let next = Next::new(req, &tail.parent, &cx);
            Site::step(tail.number).probe(&cx.built.routes, || self.call(next)).await
        })
    }

    fn declare_to(&self, declaration: &mut Declaration) -> String {
        self.declare(declaration);
        self.name()
    }
}
