//! The entry point of every request of a built chain.
//!
//! # How a request runs
//!
//! In each file, only the item that is named here is on the path of a request. The rest of the file builds or supports it. This file,
//! `step/around.rs`, `step/next.rs` and `step/end.rs` are enough to follow a request through a chain without paths.
//!
//! 1. [`Root::respond`] (this file) receives the request.
//! 2. [`Routes::match_request`] (`route/routes.rs`) matches path and method before any step runs. It returns a [`Plan`]
//!    (`route/plan.rs`): the numbers of the handlers that match, and of the scope ends that the request can reach.
//! 3. `Around::call` (`step/around.rs`): `respond` calls the first step, which contains all later steps. A middleware runs if
//!    it covers a handler of the plan, a handler runs if it is in the plan. Otherwise the step calls the next one.
//! 4. `Next::run` (`step/next.rs`): a step that runs gets a `Next`. It answers, or calls the next step with `run`.
//! 5. `Branches::call_from` (`chain/table.rs`): consecutive paths (`at`, `mount`, `service`) are one step, and at the beginning of a
//!    path, its handlers are in this step as well. It enters the path or calls the handler that contains the next stop of the plan,
//!    or calls the step after the table if none does.
//! 6. `End::answer` (`step/end.rs`): a request that no handler of a scope answered reaches the end of the scope. It continues
//!    after the scope if the plan has a later stop. Otherwise, if all handlers passed it on and a broader pattern matches, it runs
//!    through the chain once more, with the handlers of that pattern. Otherwise a hook answers it, or the chain with 404, 405, 204 or 400.
//! 7. The response returns through the steps that ran. [`fit_to_http`] (this file) removes a body that HTTP does not allow.
//!
//! | word | meaning |
//! | --- | --- |
//! | scope | the whole chain, or the steps inside an `at`, a `mount` or a `group` |
//! | number | each step and each end of a scope has one, in the order in which they are written |
//! | stop | the number of a handler that matches, or of a scope end that the request can reach |
//! | tail, rest | the steps after a step, as one value |
//! | pass | one run of a request through the chain. There is a later pass only if all handlers passed the request on |
//! | hook | the handler of `on_no_match` or `on_method_not_allowed` |
//!
//! A function is such a step: `FromFn` (`function/middleware.rs`) or `HandlerStep` (`function/handler.rs`) makes its arguments
//! and calls it. A tower layer is a `LayerTail` (`tower/layer_step.rs`). After eight steps there is a box (`chain/list.rs`), and `InScope`
//! enters the steps at a path (`step/tail.rs`).
//!
//! [`Plan`]: crate::route::plan::Plan

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;
use tracing::Span;
use tracing::level_filters::LevelFilter;

use crate::route::routes::Routes;
use crate::step::kept::Kept;
use crate::step::tail::{Built, CurrentScope, Cx, InnerService, Tail};
use crate::{Body, Request, Response};

/// A built chain: its first step, which has the others inside it, and the lookup table.
pub(crate) struct Root<E> {
    pub(crate) first: Arc<E>,
    pub(crate) built: Arc<Built>,
}

impl<E: Tail> Root<E> {
    /// Answers a request. `inner` is the service behind the chain, if the chain is used as a layer.
    ///
    /// The request is passed by reference from here on. A move would copy about 240 bytes for each step.
    pub(crate) async fn respond(
        &self,
        req: &mut Request,
        inner: Option<&Arc<dyn InnerService>>,
    ) -> Response {
        let head = req.method() == Method::HEAD;
        let original = self.built.routes.original(req);
        let plan = self.built.routes.match_request(req);
        let kept = Kept::default();
        let cx = Cx {
            built: &self.built,
            plan: self.built.routes.plan(plan),
            inner,
            scope: CurrentScope::new(0, self.built.end),
            original: original.as_ref(),
            kept: &kept,
        };
        if LevelFilter::current() != LevelFilter::OFF
            && let Some(route) = cx.plan.route
        {
            // `Server` has such a span, and so may other hosts.
            Span::current().record("http.route", self.built.routes.pattern(route));
        }
        let response = self.first.call(req, &cx).await;
        #[cfg(feature = "serve")]
        crate::extensions::reuse(req.extensions_mut());
        fit_to_http(head, response)
    }
}

/// Removes a body that HTTP does not allow: of a 204, of a 304, and of the response to HEAD.
fn fit_to_http(head: bool, response: Response) -> Response {
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        bodiless(response)
    } else if head {
        without_body(response)
    } else {
        response
    }
}

/// Removes the body and the fields that describe it (RFC 9110, 15.3.5 and 15.4.5).
#[cold]
fn bodiless(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    for field in [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
        parts.headers.remove(field);
    }
    Response::from_parts(parts, Body::empty())
}

/// Removes the body, and keeps the header fields that GET would send (RFC 9110, 9.3.2).
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact()
        // For an empty body no length is added: a HEAD handler may return one where GET would send content (RFC 9110, 8.6).
        && length > 0
        && !parts.headers.contains_key(TRANSFER_ENCODING)
    {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty())
}

/// A [`Root`] without its type.
pub(super) trait DynRoot: Send + Sync {
    fn respond_boxed(self: Arc<Self>, req: Request) -> BoxFuture<'static, Response>;
    /// Like `respond_boxed`, with a service behind the chain.
    fn respond_boxed_in_front(
        self: Arc<Self>,
        req: Request,
        inner: Arc<dyn InnerService>,
    ) -> BoxFuture<'static, Response>;
    fn routes(&self) -> &Routes;
}

impl<E: Tail + 'static> DynRoot for Root<E> {
    fn respond_boxed(self: Arc<Self>, mut req: Request) -> BoxFuture<'static, Response> {
        Box::pin(async move { self.respond(&mut req, None).await })
    }

    fn respond_boxed_in_front(
        self: Arc<Self>,
        mut req: Request,
        inner: Arc<dyn InnerService>,
    ) -> BoxFuture<'static, Response> {
        Box::pin(async move { self.respond(&mut req, Some(&inner)).await })
    }

    fn routes(&self) -> &Routes {
        &self.built.routes
    }
}
