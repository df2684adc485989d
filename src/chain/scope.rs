//! A chain inside another chain: at a path, for `at` and `mount`, or at the path of the outer chain, for `group`.

use crate::chain::builder::Chain;
use crate::chain::list::{BoxSteps, InnerSteps};
use crate::route::error::CallSite;
use crate::route::registrar::{ClosedScope, Registrar, Settings};
use crate::step::end::{End, Parent};
use crate::step::fold::{Assembly, Branch, Fold};
use crate::step::tail::BoxTail;

/// The argument of `at` and `group`: a closure that takes the chain inside, and returns it with more steps.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a closure that adds steps",
    label = "not `|c| c.get(..)`",
    note = "a chain that is defined elsewhere is added with `.mount(path, chain)`, any other service with `.service(path, service)`"
)]
pub trait AddSteps<P, A, D>: FnOnce(Chain<InnerSteps, P, A, (), D>) -> Self::Chain {
    type Chain;
}

// Without it, the message of the compiler would name `FnOnce`, and not what to change.
#[diagnostic::do_not_recommend]
impl<F, P, A, D, C> AddSteps<P, A, D> for F
where
    F: FnOnce(Chain<InnerSteps, P, A, (), D>) -> C,
{
    type Chain = C;
}

/// The chain that the closure of `at` or `group` returns.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this closure returns `{Self}`, not the chain with its steps",
    label = "does not return the chain",
    note = "each method returns a new chain: write `|c| c.get(hello)`, without a semicolon, `.build()` or `.seal()` at the end"
)]
pub trait InnerChain {
    fn into_inner(self) -> (BoxSteps, Settings);
}

impl<S: Fold<End>, P, A, D> InnerChain for Chain<S, P, A, (), D> {
    fn into_inner(self) -> (BoxSteps, Settings) {
        (Box::new(self.steps), self.settings)
    }
}

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
        self.steps.fold_boxed(End::new(end, Some(parent), depth), &assembly)
    }
}
