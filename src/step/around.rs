//! A middleware or a handler, wrapped around the steps after it.
//!
//! The third file on the path of a request: [`Around::call`] decides whether the step takes part in the request, and calls it
//! with a [`Next`]. A handler is an [`Around`] too, which covers only its own number, or an entry of a path table (`chain/table.rs`).
//! Next: `step/next.rs`. An [`Around`] is made when the chain is built (`step/added.rs`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::Either;
use pin_project_lite::pin_project;

use crate::probe::Site;
use crate::route::plan::Handlers;
use crate::route::prefix::Prefix;
use crate::step::next::{Middleware, Next};
use crate::step::tail::{Cx, Late, Tail};
use crate::{Request, Response};

/// A middleware or a handler, and the rest of the chain.
#[doc(hidden)]
pub struct Around<M, N> {
    pub(super) middleware: M,
    pub(super) next: N,
    pub(super) cover: Cover,
    pub(super) site: Site,
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
            Either::Right(Skipped { rest: Late::new(move || self.next.call(req, cx)) })
        }
    }
}

pin_project! {
    /// The future of the rest, where the step takes no part in the request.
    ///
    /// Its `poll` is a function of its own. As a part of the `poll` of [`Around`], it would make that save registers that a step which does take part
    /// needs only in its own `poll`.
    struct Skipped<F> {
        #[pin]
        rest: F,
    }
}

impl<F: Future> Future for Skipped<F> {
    type Output = F::Output;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().rest.poll(cx)
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
    pub(super) low: u32,
    pub(super) high: u32,
    /// The number of the first step in the scope.
    pub(super) first: u32,
    /// Whether the step also runs in the later passes of a request (`tower/root.rs` lists the words): a guard, which may check the match
    /// and its parameters.
    pub(super) in_each_pass: bool,
    pub(super) prefix: Option<Prefix>,
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
