//! The steps that wrap what follows them: middleware, handlers, and hooks.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use futures_util::future::Either;
use http::Method;

use crate::probe::Site;
use crate::route::error::CallSite;
use crate::route::plan::Hooks;
use crate::route::prefix::Prefix;
use crate::route::registrar::Registrar;
use crate::step::end::Unanswered;
use crate::step::fold::{Assembly, Fold, Step, put};
use crate::step::next::{Middleware, Next};
use crate::step::tail::{BoxTail, Cx, Late, Tail};
use crate::{Request, Response};

/// Which requests a step is for: those that one of the handlers `low..=high` answers, or all; where there is a prefix, those under it.
pub(crate) struct Cover {
    low: u32,
    high: u32,
    prefix: Option<Prefix>,
}

impl Cover {
    /// Every request that comes by.
    pub(crate) const ALWAYS: Self = Self { low: 1, high: 0, prefix: None };

    pub(crate) fn range(low: u32, high: u32, prefix: Option<Prefix>) -> Self {
        // An empty range would read as "always": a step after which no handler stands covers none.
        let (low, high) = if low > high { (u32::MAX, u32::MAX) } else { (low, high) };
        Self { low, high, prefix }
    }

    /// Whether the step takes part in this request.
    #[inline(always)]
    pub(crate) fn holds(&self, cx: &Cx<'_>, req: &Request) -> bool {
        let &Self { low, high, ref prefix } = self;
        let reached = low > high
            || match *cx.plan.handlers {
                [step] => low <= step && step <= high,
                ref steps => steps.iter().any(|step| low <= *step && *step <= high),
            };
        reached
            && prefix.as_ref().is_none_or(|prefix| prefix.covers(cx.path.map(|path| &**path), req))
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
