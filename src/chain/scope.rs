//! A chain inside another chain: at a path, for `at` and `mount`, or at the path of the outer chain, for `group`.

use crate::chain::list::BoxSteps;
use crate::route::error::CallSite;
use crate::route::registrar::{ClosedScope, Registrar, Settings};
use crate::step::end::{End, Parent};
use crate::step::fold::{Assembly, Branch};
use crate::step::tail::BoxTail;

/// A chain inside another one, before the outermost chain is built.
pub(crate) struct Scope {
    /// `None` for a group, which has the path of the chain around it.
    path: Option<String>,
    location: CallSite,
    steps: BoxSteps,
    settings: Settings,
    /// Set when the scope is registered.
    closed: ClosedScope,
}

impl Scope {
    pub(crate) fn new(
        path: Option<&str>,
        location: CallSite,
        steps: BoxSteps,
        settings: Settings,
    ) -> Self {
        let path = path.map(str::to_owned);
        Self { path, location, steps, settings, closed: ClosedScope::default() }
    }
}

impl Branch for Scope {
    fn register(&mut self, registrar: &mut Registrar) {
        match &self.path {
            Some(path) => registrar.enter(path, self.settings, self.location),
            None => registrar.enter_group(self.settings),
        }
        self.steps.register(registrar);
        self.closed = registrar.leave();
    }

    fn assemble(self: Box<Self>, parent: Parent, assembly: &Assembly<'_>) -> BoxTail {
        let ClosedScope { first, end, depth } = self.closed;
        let assembly = Assembly { first, end, depth, ..*assembly };
        self.steps.fold_scope(End::new(end, Some(parent)), &assembly)
    }
}
