//! What happens with errors and panics on their way out.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::future::Future;
use std::panic::AssertUnwindSafe;

use axum_core::response::IntoResponse;
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use crate::next::{Endpoint, Middleware, Rest};
use crate::route::short_name;
use crate::{Error, Request, Response};

/// Renders the errors that pass through it.
#[doc(hidden)]
pub struct OnError<F>(pub(crate) F);

impl<F, Fut> Middleware for OnError<F>
where
    F: Fn(Error) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoResponse> + Send,
{
    type Provides = ();

    async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N>) -> Response {
        let response = next.run(req).await;
        let Some(error) = Error::unrendered(&response) else { return response };
        let mut rendered = (self.0)(error.clone()).await.into_response();
        for (name, value) in response.headers() {
            // What describes the old body goes with it; all else was set on purpose, by the error or by a middleware.
            let of_the_body = *name == CONTENT_TYPE || *name == CONTENT_LENGTH;
            if !of_the_body && !rendered.headers().contains_key(name) {
                let values = response.headers().get_all(name);
                debug_assert!(values.iter().any(|v| v == value));
                for value in values {
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

/// Makes a 500 of a panic.
#[doc(hidden)]
pub struct CatchPanics;

impl Middleware for CatchPanics {
    type Provides = ();

    async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N>) -> Response {
        match AssertUnwindSafe(next.run(req)).catch_unwind().await {
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
