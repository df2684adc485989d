//! The steps as a chain adds them, before it is built: middleware, handlers, hooks and remarks.
//!
//! A step is registered, which gives it a number, and folded (`step/fold.rs`). Middleware and handlers become an [`Around`].

use std::panic::Location;
use std::sync::Arc;

use http::Method;

use crate::declare::{Declaration, DeclaredStep, Describe};
use crate::probe::Site;
use crate::provide::Provides;
use crate::route::error::CallSite;
use crate::route::plan::Hooks;
use crate::route::prefix::Prefix;
use crate::route::registrar::Registrar;
use crate::step::around::{Around, Cover};
use crate::step::end::Unanswered;
use crate::step::fold::{Assembly, Fold, Step, put};
use crate::step::next::{Declare, Middleware};
use crate::step::tail::{BoxTail, Tail};

/// A middleware or a handler.
#[doc(hidden)]
pub struct Added<S> {
    pub(crate) step: S,
    pub(crate) entry: Entry,
}

/// How a step is added to a chain. It does not depend on the type of the step, so its code is compiled once.
pub(crate) struct Entry {
    kind: Kind,
    location: CallSite,
    describe: Option<Describe>,
    /// The declaration from outside.
    declare: Option<Declare>,
    /// Set when the step is registered.
    pub(crate) number: u32,
}

enum Kind {
    Middleware {
        verb: &'static str,
        always: bool,
        in_each_pass: bool,
        /// The prefix as it was written, if the step has one.
        at: Option<String>,
        /// The parsed prefix. Set when the step is registered.
        prefix: Option<Prefix>,
    },
    Handler {
        /// `None`: every method.
        method: Option<Method>,
        /// Whether it may pass the request on: `IntoHandler::PASSES` of its function.
        passes: bool,
    },
}

impl Entry {
    #[track_caller]
    fn new(kind: Kind, describe: Option<Describe>) -> Self {
        Self { kind, location: Location::caller(), describe, declare: None, number: 0 }
    }

    #[track_caller]
    pub(crate) fn handler(
        method: Option<Method>,
        passes: bool,
        describe: Option<Describe>,
    ) -> Self {
        Self::new(Kind::Handler { method, passes }, describe)
    }

    /// The declaration to which the step adds its own: that of a handler has the tags of its scope.
    pub(crate) fn declaration(&self, registrar: &mut Registrar) -> Declaration {
        match self.kind {
            Kind::Middleware { .. } => Declaration::default(),
            Kind::Handler { .. } => registrar.declaration(),
        }
    }

    /// Registers the step under this name.
    pub(crate) fn register(
        &mut self,
        name: String,
        mut declaration: Declaration,
        registrar: &mut Registrar,
    ) {
        if let Some(declare) = self.declare.take() {
            declare(&mut declaration);
        }
        let verb = match self.kind {
            Kind::Middleware { verb, .. } => verb,
            Kind::Handler { .. } => "handler",
        };
        let step = registrar.step(verb, name, self.location);
        let step = DeclaredStep { declaration, describe: self.describe, ..step };
        self.number = match &mut self.kind {
            Kind::Middleware { at: Some(path), prefix, .. } => {
                registrar.middleware_at(path, step, prefix)
            }
            Kind::Middleware { always, .. } => registrar.middleware(step, *always),
            Kind::Handler { method, passes } => registrar.handler(method.take(), *passes, step),
        };
    }

    /// The requests in which the step takes part. For a middleware, those for the handlers after it, up to the end of its scope. The end
    /// is included: if the chain is a layer, the service behind it is a handler with the number of the last end.
    pub(crate) fn cover(self, &Assembly { first, end, .. }: &Assembly<'_>) -> Cover {
        let number = self.number;
        match self.kind {
            Kind::Handler { .. } => Cover::handler(number),
            Kind::Middleware { always, in_each_pass, prefix, .. } => {
                let (low, high) = if always { (end, number) } else { (number + 1, end) };
                Cover { low, high, first, in_each_pass, prefix }
            }
        }
    }
}

impl<S> Added<S> {
    /// A middleware, with its declaration from outside if it has one.
    #[track_caller]
    pub(crate) fn middleware(
        (step, declare): (S, Option<Declare>),
        verb: &'static str,
        always: bool,
    ) -> Self {
        let (at, prefix) = (None, None);
        let kind = Kind::Middleware { verb, always, in_each_pass: false, at, prefix };
        Self { step, entry: Entry { declare, ..Entry::new(kind, None) } }
    }

    /// A guard, which runs in each pass of a request, with the description by its types.
    #[track_caller]
    pub(crate) fn guard(step: S, describe: Option<Describe>) -> Self {
        let mut this = Self::middleware((step, None), "guard", false);
        this.entry.describe = describe;
        if let Kind::Middleware { in_each_pass, .. } = &mut this.entry.kind {
            *in_each_pass = true;
        }
        this
    }

    /// Restricts a middleware to the paths under a prefix.
    pub(crate) fn at(mut self, path: &str) -> Self {
        if let Kind::Middleware { at, .. } = &mut self.entry.kind {
            *at = Some(path.to_owned());
        }
        self
    }
}

impl<M: Middleware> Step for Added<M> {
    fn register(&mut self, registrar: &mut Registrar) {
        let mut declaration = self.entry.declaration(registrar);
        self.step.declare(&mut declaration);
        self.entry.register(self.step.name(), declaration, registrar);
        M::Provides::each_type(&mut |of| registrar.provides(of));
    }
}

impl<M: Middleware, N: Tail> Fold<N> for Added<M> {
    type Out = Around<M, N>;

    fn fold(self, next: N, assembly: &Assembly<'_>) -> Self::Out {
        let site = Site::step(self.entry.number);
        Around { middleware: self.step, next, cover: self.entry.cover(assembly), site }
    }
}

/// The step that `on_no_match` and `on_method_not_allowed` add to a chain. Requests don't run through it: it is stored in
/// `Built::hooks`, and the end of a scope calls it (`step/end.rs`).
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
        let (cover, site) = (Cover::ALL, Site::CHAIN);
        let hook = Around { middleware: self.handler, next: Unanswered, cover, site };
        let hook = (BoxTail(Arc::new(hook)), assembly.end);
        put(&mut assembly.hooks.borrow_mut(), self.index, hook);
        next
    }
}

/// The step that `allow` and `tagged` add to a chain. It is about the steps after it, and no request runs through it.
#[doc(hidden)]
pub enum Remark {
    /// Allows a finding.
    Allow { rule: &'static str, reason: &'static str },
    /// Adds a tag.
    Tag(&'static str),
}

impl Step for Remark {
    fn register(&mut self, registrar: &mut Registrar) {
        match *self {
            Self::Allow { rule, reason } => registrar.allow(rule, reason),
            Self::Tag(tag) => registrar.tag(tag),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<N: Tail> Fold<N> for Remark {
    type Out = N;

    fn fold(self, next: N, _: &Assembly<'_>) -> N {
        next
    }
}
