//! The steps that wrap the steps after them: middleware and handlers. Also hooks.
//!
//! The third file on the path of a request: [`Around::call`] decides whether the step takes part in the request, and calls it
//! with a [`Next`]. A handler is an [`Around`] too, which covers only its own number, or an entry of a path table (`chain/table.rs`).
//! Next: `step/next.rs`.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use futures_util::future::Either;
use http::Method;

use crate::declare::{Declaration, DeclaredStep, Describe};
use crate::probe::Site;
use crate::provide::Provides;
use crate::route::error::CallSite;
use crate::route::plan::{Handlers, Hooks};
use crate::route::prefix::Prefix;
use crate::route::registrar::Registrar;
use crate::step::end::Unanswered;
use crate::step::fold::{Assembly, Fold, Step, put};
use crate::step::next::{Declare, Middleware, Next};
use crate::step::tail::{BoxTail, Cx, Late, Tail};
use crate::{Request, Response};

/// A middleware or a handler, and the rest of the chain.
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
            // `Late`: the future of the rest is built where it is polled, instead of being copied through this function.
            Either::Right(Late::new(move || self.next.call(req, cx)))
        }
    }
}

/// The requests in which a step takes part.
///
/// A middleware covers the handlers after it, up to the end of its scope. It takes part in a request if the request's plan contains
/// one of these handlers, by their numbers `low..=high`. A handler covers only itself. With a prefix, the path must be under the
/// prefix as well.
///
/// An `always` step takes part in every request that reaches it. There `low` is the end of its scope and `high` its own number,
/// which is lower.
pub(crate) struct Cover {
    low: u32,
    high: u32,
    /// The number of the first step in the scope.
    first: u32,
    /// Whether the step also runs in the later passes of a request: a guard, which may check the match and its parameters.
    in_each_pass: bool,
    prefix: Option<Prefix>,
}

impl Cover {
    /// Every request. There is no step from `first` to `low`, so no earlier pass has run the step.
    pub(crate) const ALL: Self =
        Self { low: 1, high: 0, first: 2, in_each_pass: false, prefix: None };

    /// One handler.
    pub(crate) fn handler(number: u32) -> Self {
        Self { low: number, high: number, first: 0, in_each_pass: false, prefix: None }
    }

    /// Whether the step takes part in this request.
    #[inline(always)]
    pub(crate) fn holds(&self, cx: &Cx<'_>, req: &Request) -> bool {
        let &Self { low, high, .. } = self;
        let reached = match cx.plan.handlers {
            Handlers::One(step) => low <= step && step <= high || low > high,
            ref handlers => self.reached_by(handlers, cx),
        };
        reached && self.prefix.as_ref().is_none_or(|prefix| prefix.covers(cx.original_path(), req))
    }

    fn reached_by(&self, handlers: &Handlers, cx: &Cx<'_>) -> bool {
        let &Self { low, high, first, in_each_pass, ref prefix } = self;
        match low > high {
            true => handlers.reach_always(first, high, low),
            // If the prefix covered only a path that a step before has set, this step may not have run in the earlier pass.
            false => handlers.reach(low, high, || {
                !in_each_pass
                    && prefix.as_ref().is_none_or(|prefix| prefix.covers_path(cx.original_path()))
            }),
        }
    }
}

/// The step that `use_` and `always` add to a chain.
#[doc(hidden)]
pub struct Use<S> {
    pub(crate) step: S,
    pub(crate) entry: MiddlewareEntry,
}

/// How a middleware is added to a chain. It does not depend on the type of the middleware, so its code is compiled once.
pub(crate) struct MiddlewareEntry {
    verb: &'static str,
    always: bool,
    in_each_pass: bool,
    pub(crate) number: u32,
    location: CallSite,
    /// The prefix as it was written, if the step has one.
    at: Option<String>,
    /// The declaration from outside.
    declare: Option<Declare>,
    describe: Option<Describe>,
    /// The parsed prefix. Set when the step is registered.
    prefix: Option<Prefix>,
}

impl<S> Use<S> {
    #[track_caller]
    pub(crate) fn new(step: S, verb: &'static str, always: bool) -> Self {
        Self::declared((step, None), verb, always)
    }

    /// A step with its declaration from outside.
    #[track_caller]
    pub(crate) fn declared(
        (step, declare): (S, Option<Declare>),
        verb: &'static str,
        always: bool,
    ) -> Self {
        let entry = MiddlewareEntry {
            verb,
            always,
            in_each_pass: false,
            number: 0,
            location: Location::caller(),
            at: None,
            declare,
            describe: None,
            prefix: None,
        };
        Self { step, entry }
    }

    /// Adds the description of a guard by its types.
    pub(crate) fn described(mut self, describe: Option<Describe>) -> Self {
        self.entry.describe = describe;
        self
    }

    /// Runs the step in each pass of a request.
    pub(crate) fn in_each_pass(mut self) -> Self {
        self.entry.in_each_pass = true;
        self
    }

    /// Restricts the step to the paths under a prefix.
    pub(crate) fn at(mut self, path: &str) -> Self {
        self.entry.at = Some(path.to_owned());
        self
    }
}

impl MiddlewareEntry {
    /// The handlers after this step, up to the end of its scope. The end is included: if the chain is a layer, the service behind it
    /// is a handler with the number of the last end.
    pub(crate) fn cover(self, assembly: &Assembly<'_>) -> Cover {
        let &Assembly { first, end, .. } = assembly;
        let (low, high) = if self.always { (end, self.number) } else { (self.number + 1, end) };
        Cover { low, high, first, in_each_pass: self.in_each_pass, prefix: self.prefix }
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
        let step = registrar.step(self.verb, name, self.location);
        let step = DeclaredStep { declaration, describe: self.describe, ..step };
        (self.number, self.prefix) = match &self.at {
            Some(path) => registrar.middleware_at(path, step),
            None => (registrar.middleware(step, self.always), None),
        };
    }
}

impl<M: Middleware> Step for Use<M> {
    fn register(&mut self, registrar: &mut Registrar) {
        let mut declaration = Declaration::default();
        self.step.declare(&mut declaration);
        self.entry.register(self.step.name(), declaration, registrar);
        M::Provides::each_type(&mut |of| registrar.provides(of));
    }
}

impl<M: Middleware, N: Tail> Fold<N> for Use<M> {
    type Out = Around<M, N>;

    fn fold(self, next: N, assembly: &Assembly<'_>) -> Self::Out {
        let site = Site::step(self.entry.number);
        Around { middleware: self.step, next, cover: self.entry.cover(assembly), site }
    }
}

/// The step that a verb such as `get` adds to a chain.
#[doc(hidden)]
pub struct On<M> {
    pub(crate) handler: M,
    pub(crate) entry: HandlerEntry,
}

/// How a handler is added to a chain. It does not depend on the type of the handler, so its code is compiled once.
pub(crate) struct HandlerEntry {
    pub(crate) method: Option<Method>,
    /// Whether the handler may pass the request on: `IntoHandler::PASSES` of its function.
    pub(crate) passes: bool,
    pub(crate) describe: Option<Describe>,
    pub(crate) location: CallSite,
    /// Set when the step is registered.
    pub(crate) number: u32,
}

impl HandlerEntry {
    pub(crate) fn new(
        method: Option<Method>,
        passes: bool,
        describe: Option<Describe>,
        location: CallSite,
    ) -> Self {
        Self { method, passes, describe, location, number: 0 }
    }

    /// Registers the handler under this name.
    pub(crate) fn register(
        &mut self,
        name: String,
        declaration: Declaration,
        registrar: &mut Registrar,
    ) {
        let step = registrar.step("handler", name, self.location);
        let step = DeclaredStep { declaration, describe: self.describe, ..step };
        self.number = registrar.handler(self.method.take(), self.passes, step);
    }
}

impl<M: Middleware> Step for On<M> {
    fn register(&mut self, registrar: &mut Registrar) {
        let mut declaration = registrar.declaration();
        self.handler.declare(&mut declaration);
        self.entry.register(self.handler.name(), declaration, registrar);
    }
}

impl<M: Middleware, N: Tail> Fold<N> for On<M> {
    type Out = Around<M, N>;

    fn fold(self, next: N, _: &Assembly<'_>) -> Self::Out {
        let number = self.entry.number;
        let (cover, site) = (Cover::handler(number), Site::step(number));
        Around { middleware: self.handler, next, cover, site }
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
