//! A chain at a path of another chain, for `at` and `mount`.

use crate::chain::list::BoxSteps;
use crate::route::error::CallSite;
use crate::route::registrar::{ClosedScope, Registrar, Settings};
use crate::step::end::{End, Parent};
use crate::step::fold::{Assembly, Branch};
use crate::step::tail::BoxTail;

/// A chain at a path, before the outermost chain is built.
pub(crate) struct Scope {
    path: String,
    location: CallSite,
    steps: BoxSteps,
    settings: Settings,
    /// Set when the scope is registered.
    closed: ClosedScope,
}

impl Scope {
    pub(crate) fn new(path: &str, location: CallSite, steps: BoxSteps, settings: Settings) -> Self {
        Self { path: path.to_owned(), location, steps, settings, closed: ClosedScope::default() }
    }
}

impl Branch for Scope {
    fn register(&mut self, registrar: &mut Registrar) {
        registrar.enter(&self.path, self.settings, self.location);
        self.steps.register(registrar);
        self.closed = registrar.leave();
    }

    fn assemble(self: Box<Self>, parent: Parent, assembly: &Assembly<'_>) -> BoxTail {
        let ClosedScope { first, end, depth } = self.closed;
        let assembly = Assembly { first, end, depth, ..*assembly };
        self.steps.fold_scope(End::new(end, Some(parent)), &assembly)
    }
}
