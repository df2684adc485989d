//! What a chain answers when no handler does.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::future::Future;
use std::mem;

use axum_core::response::IntoResponse;
use futures_util::future::BoxFuture;
use http::header::ALLOW;
use http::{HeaderValue, StatusCode};

use crate::next::{BoxEndpoint, Cx, Endpoint};
use crate::probe::Site;
use crate::route::{Left, Outcome};
use crate::step::{Assembly, Parent};
use crate::{Error, Request, Response};

/// The end of a scope: what comes here was answered by none of its handlers.
#[doc(hidden)]
pub struct End {
    step: u32,
    parent: Option<Parent>,
    no_match: Option<BoxEndpoint>,
    not_allowed: Option<BoxEndpoint>,
    /// Whether the hooks stand in this scope itself.
    own: (bool, bool),
}

impl End {
    pub(crate) fn new(left: Left, parent: Option<Parent>, assembly: &Assembly<'_>) -> Self {
        let hook = |index: Option<usize>| assembly.hooks.get(index?).cloned();
        Self {
            step: left.end,
            parent,
            no_match: hook(left.hooks.no_match),
            not_allowed: hook(left.hooks.not_allowed),
            own: (left.own.no_match.is_some(), left.own.not_allowed.is_some()),
        }
    }

    async fn answer(&self, req: &mut Request, cx: &Cx<'_>) -> Response {
        let plan = cx.plan;
        let later = |steps: &[u32]| steps.last().is_some_and(|&last| last > self.step);
        let (hook, goes_on) = match &plan.outcome {
            Outcome::Found => {
                let hook = self.no_match.as_ref();
                (hook, later(&plan.steps) || hook.is_none())
            }
            Outcome::NotFound => {
                let hook = self.no_match.as_ref();
                (hook, later(&plan.ends) && !self.own.0 || hook.is_none())
            }
            // A path that matched ends with its last scope: what comes later covers it no more than a handler in it.
            Outcome::NotAllowed(_) => (self.not_allowed.as_ref(), later(&plan.ends) && !self.own.1),
            Outcome::Options(_) => (None, later(&plan.steps) || later(&plan.ends)),
            Outcome::BadEncoding => (None, true),
        };
        match (self.parent, hook) {
            (Some(parent), _) if goes_on => {
                let table = &cx.routes.tables[parent.table as usize];
                table.resume(parent.from, req, cx).await
            }
            (_, Some(hook)) => with_allow(hook.call(req, cx).await, cx),
            (_, None) => Unanswered.call(req, cx).await,
        }
    }
}

impl Endpoint for End {
    fn call<'a>(
        &'a self,
        req: &'a mut Request,
        cx: &'a Cx<'a>,
    ) -> impl Future<Output = Response> + Send + 'a {
        let inner = cx.inner.filter(|_| cx.plan.steps.contains(&self.step));
        let site = inner.map_or(Site::CHAIN, |_| Site::step(self.step));
        site.probe(cx, || -> BoxFuture<'_, Response> {
            match inner {
                Some(inner) => inner.call(mem::take(req)),
                None => Box::pin(self.answer(req, cx)),
            }
        })
    }
}

/// The answer where no hook is in force.
#[doc(hidden)]
pub struct Unanswered;

impl Endpoint for Unanswered {
    async fn call(&self, _: &mut Request, cx: &Cx<'_>) -> Response {
        let (status, detail) = match &cx.plan.outcome {
            Outcome::Options(allow) => return options(allow),
            Outcome::NotAllowed(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "This path doesn't support the method of the request",
            ),
            Outcome::BadEncoding => {
                (StatusCode::BAD_REQUEST, "The path has an invalid percent-encoding")
            }
            Outcome::Found | Outcome::NotFound => {
                (StatusCode::NOT_FOUND, "Nothing answers at this path")
            }
        };
        with_allow(Error::new(status, detail).into_response(), cx)
    }
}

/// RFC 9110, 15.5.6: a 405 names the methods that the path supports.
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
