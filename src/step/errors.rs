//! The steps that `on_error` and `catch_panics` add: they render errors, and turn panics into responses.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use axum_core::response::IntoResponse;
use futures_util::FutureExt;
use http::header::{HeaderName, SET_COOKIE, VARY};

use crate::route::listing::short_name;
use crate::step::next::{Endpoint, Middleware, Next};
use crate::{Error, Response};

/// Renders the errors of the steps after it, unless another hook has rendered them.
#[doc(hidden)]
pub struct OnError<F>(pub(crate) F);

impl<F, Fut> Middleware for OnError<F>
where
    F: Fn(Error) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoResponse> + Send,
{
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let response = next.run().await;
        let Some(error) = Error::unrendered(&response) else { return response };
        let mut rendered = (self.0)(error.clone()).await.into_response();
        for name in response.headers().keys() {
            // Fields that describe the old body are dropped with it. All other fields were set on purpose, by the error or by a
            // middleware, and are kept.
            let adds_up = *name == SET_COOKIE || *name == VARY;
            if !is_of_the_body(name) && (adds_up || !rendered.headers().contains_key(name)) {
                for value in response.headers().get_all(name) {
                    rendered.headers_mut().append(name, value.clone());
                }
            }
        }
        error.mark_rendered(&mut rendered);
        rendered
    }

    fn name(&self) -> String {
        short_name::<F>()
    }
}

/// Whether a field describes one representation (RFC 9110, 8) or its framing.
fn is_of_the_body(name: &HeaderName) -> bool {
    const FIELDS: [&str; 14] = [
        "accept-ranges",
        "content-digest",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "digest",
        "etag",
        "last-modified",
        "repr-digest",
        "trailer",
        "transfer-encoding",
    ];
    FIELDS.contains(&name.as_str())
}

/// Answers 500 if a step after it panics.
#[doc(hidden)]
pub struct CatchPanics;

impl Middleware for CatchPanics {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        // `run` itself may panic too, before it returns a future. The `async` block covers both.
        let rest = AssertUnwindSafe(async { next.run().await });
        match rest.catch_unwind().await {
            Ok(response) => response,
            Err(panic) => panicked(&*panic),
        }
    }
}

/// The answer to a request whose handler panicked. The message goes to the log, never to the client.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::internal(format!("panicked: {message}")).into_response()
}
