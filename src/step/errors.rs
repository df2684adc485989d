//! Panics as responses: the step that `catch_panics` adds.

use std::panic::AssertUnwindSafe;

use axum_core::response::IntoResponse;
use futures_util::FutureExt;

use crate::step::next::{Middleware, Next};
use crate::step::reach::Endpoint;
use crate::{Error, Response};

/// Answers 500 if a step after it panics.
#[doc(hidden)]
pub struct CatchPanics;

impl Middleware for CatchPanics {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        run_caught(next).await
    }
}

/// Passes the request on. If a later step panics, the response is a 500.
pub(crate) async fn run_caught<N: Endpoint>(next: Next<'_, N>) -> Response {
    // `run` itself may panic too, before it returns a future. The `async` block covers both.
    let rest = AssertUnwindSafe(async { next.run().await });
    match rest.catch_unwind().await {
        Ok(response) => response,
        Err(panic) => panicked(&*panic),
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
