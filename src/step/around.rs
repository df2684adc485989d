//! The steps that wrap the steps after them: middleware and handlers. Also hooks.
//!
//! The third file on the path of a request: [`Around::call`] decides whether the step takes part in the request, and calls it
//! with a [`Next`]. A handler is an [`Around`] too, which covers only its own number. Next: `step/next.rs`.

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
/// A middleware covers the handlers after it, up to the end of its scope. It takes part in a request if the request's plan
/// contains one of these handlers, by their numbers `low..=high`. A handler covers only itself. With a prefix, the path
/// must be under the prefix as well. `low > high` covers every request, also those that no handler answers (`always`).
pub(crate) struct Cover {
    low: u32,
    high: u32,
    prefix: Option<Prefix>,
}

impl Cover {
    /// Every request that reaches the step.
    pub(crate) const ALWAYS: Self = Self { low: 1, high: 0, prefix: None };

    pub(crate) fn range(low: u32, high: u32, prefix: Option<Prefix>) -> Self {
        // A step with no handler after it covers no request. Its empty range would mean "always", so it gets a number that
        // no handler has.
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

/// The step that `use_` and `always` add to a chain.
#[doc(hidden)]
pub struct Use<S> {
    pub(crate) step: S,
    verb: &'static str,
    always: bool,
    pub(crate) number: u32,
    location: CallSite,
    /// The prefix as it was written, if the step has one.
    at: Option<String>,
    /// The parsed prefix. Set when the step is registered.
    prefix: Option<Prefix>,
}

impl<S> Use<S> {
    #[track_caller]
    pub(crate) fn new(step: S, verb: &'static str, always: bool) -> Self {
        let location = Location::caller();
        Self { step, verb, always, number: 0, location, at: None, prefix: None }
    }

    /// Restricts the step to the paths under a prefix.
    pub(crate) fn at(mut self, path: &str) -> Self {
        self.at = Some(path.to_owned());
        self
    }

    /// The handlers after this step, up to the end of its scope. The end is included: if the chain is a layer, the service behind it
    /// is a handler with the number of the last end.
    pub(crate) fn cover(&mut self, assembly: &Assembly<'_>) -> Cover {
        let prefix = self.prefix.take();
        if self.always {
            Cover::ALWAYS
        } else {
            Cover::range(self.number + 1, assembly.end, prefix)
        }
    }

    /// Registers the step under this name.
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

/// The step that a verb such as `get` adds to a chain.
#[doc(hidden)]
pub struct On<M> {
    handler: M,
    method: Option<Method>,
    /// Whether the handler may pass the request on: `IntoHandler::PASSES` of its function.
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
        let (cover, site) = (Cover::ALWAYS, Site::CHAIN);
        let hook = Around { middleware: self.handler, next: Unanswered, cover, site };
        put(&mut assembly.hooks.borrow_mut(), self.index, BoxTail(Arc::new(hook)));
        next
    }
}
