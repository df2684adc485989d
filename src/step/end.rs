//! The end of a scope, and the answers of a chain itself: 404, 405, the automatic answer to OPTIONS, and 400.
//!
//! The last file on the path of a request. A request reaches the [`End`] of a scope if all matching handlers of the scope
//! passed it on, or if no handler matched.

use axum_core::response::IntoResponse;
use std::future::Future;
use std::mem;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::ALLOW;
use http::{HeaderValue, StatusCode};

use crate::probe::Site;
use crate::route::plan::Outcome;
use crate::step::Refusal;
use crate::step::tail::{CurrentScope, Cx, Tail};
use crate::{Error, Request, Response};

/// The end of a scope. It receives the requests that no handler of the scope answered.
#[doc(hidden)]
pub struct End {
    /// The number of this end.
    step: u32,
    /// `None` for the outermost scope.
    parent: Option<Parent>,
    /// The number of segments of the path of the scope.
    depth: usize,
}

/// The path table that contains a scope or a handler, by its number, and the first step after it. A request that leaves the scope at
/// its end, or that the handler passes on, continues in this table, from this step on.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Parent {
    pub(crate) table: u32,
    pub(crate) from: u32,
}

impl End {
    pub(crate) fn new(step: u32, parent: Option<Parent>, depth: usize) -> Self {
        Self { step, parent, depth }
    }

    /// Continues after the scope, or answers:
    ///
    /// 1. If the plan has a later stop, the request continues in the path table around this scope. This call is made inside
    ///    the scope, so the middleware of the scope also wraps the steps after it: it sees their response.
    /// 2. Otherwise, if all handlers of the pattern passed the request on, and a broader pattern matches, the request runs through
    ///    the chain once more, with the handlers of that pattern.
    /// 3. Otherwise, if a hook is in force, the hook answers.
    /// 4. Otherwise the default answers.
    async fn answer(&self, req: &mut Request, cx: &Cx<'_>) -> Response {
        let plan = cx.plan;
        if let Some(parent) = &self.parent
            && plan.stops.last().is_some_and(|&last| last > self.step)
        {
            return parent.resume(req, cx).await;
        }
        let original = cx.original.filter(|_| !plan.handlers.numbers().is_empty());
        let next = original.and_then(|original| cx.built.routes.next_pass(plan, original, req));
        if let Some(original) = next.map(Arc::new)
            && let Some(plan) = &original.later
        {
            let outermost = cx.within(CurrentScope::new(0, cx.built.end), req);
            let cx = Cx { plan, original: Some(&original), ..outermost };
            return cx.built.first.call(req, &cx).await;
        }
        match plan.hook {
            Some(hook) => {
                let (hook, end) = &cx.built.hooks[hook];
                let cx = cx.within(CurrentScope::new(self.depth, *end), req);
                with_allow(hook.call(req, &cx).await, &cx)
            }
            None => Unanswered.call(req, cx).await,
        }
    }
}

impl Parent {
    /// Continues with the steps after the scope or the handler.
    pub(crate) fn resume<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> BoxFuture<'a, Response> {
        cx.built.tables[self.table as usize].resume(self.from, req, cx)
    }
}

impl Tail for Parent {
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        self.resume(req, cx)
    }
}

impl Tail for End {
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        // The service behind a layer is registered as the last handler, with the number of the end of the outermost scope.
        let inner = cx.inner.filter(|_| cx.plan.handlers.numbers().contains(&self.step));
        let site = inner.map_or(Site::CHAIN, |_| Site::step(self.step));
        site.probe(&cx.built.routes, || -> BoxFuture<'_, Response> {
            match inner {
                Some(inner) => inner.call(mem::take(req)),
                None => Box::pin(self.answer(req, cx)),
            }
        })
    }
}

/// The default answer, where no hook is in force.
#[doc(hidden)]
pub struct Unanswered;

impl Tail for Unanswered {
    async fn call(&self, _: &mut Request, cx: &Cx<'_>) -> Response {
        let (status, reason, detail) = match &cx.plan.outcome {
            Outcome::Options(allow) => return options(allow),
            Outcome::NotAllowed(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This path doesn't support the method of the request",
            ),
            Outcome::BadEncoding => (
                StatusCode::BAD_REQUEST,
                "path_encoding",
                "The path has an invalid percent-encoding",
            ),
            Outcome::Found | Outcome::NotFound => {
                (StatusCode::NOT_FOUND, "not_found", "Nothing answers at this path")
            }
        };
        with_allow(Refusal::new("Chain", reason).mark(Error::new(status, detail)), cx)
    }
}

/// Adds `Allow` to a 405: the methods that the path supports (RFC 9110, 15.5.6).
fn with_allow(mut response: Response, cx: &Cx<'_>) -> Response {
    if let Outcome::NotAllowed(allow) = &cx.plan.outcome {
        response.headers_mut().entry(ALLOW).or_insert_with(|| allow.clone());
    }
    response
}

fn options(allow: &HeaderValue) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(ALLOW, allow.clone());
    response
}
