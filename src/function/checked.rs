//! The future of a function as a step.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum_core::response::IntoResponse;
use pin_project_lite::pin_project;

use crate::Response;

pin_project! {
    /// First the part of a step that may refuse the request: its arguments are taken, or a guard is called. Then, with their value
    /// and the `Next`, the part that returns a response.
    ///
    /// After the first part, `poll` only polls the second. An `async` block that returns a refusal in one place and awaits
    /// a response in another copies the response twice.
    #[project = CheckedProjection]
    pub(super) enum Checked<C, S, R> {
        Checking { #[pin] check: C, pass: S },
        Passed { #[pin] rest: R },
    }
}

impl<C, N, S, R, T> Checked<C, S, R>
where
    C: Future<Output = (N, Result<T, Response>)>,
    S: Fn(N, T) -> R,
{
    #[inline(always)]
    pub(super) fn new(check: C, pass: S) -> Self {
        Self::Checking { check, pass }
    }
}

impl<C, N, S, R, T> Future for Checked<C, S, R>
where
    C: Future<Output = (N, Result<T, Response>)>,
    S: Fn(N, T) -> R,
    R: Future<Output = Response>,
{
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        loop {
            let rest = match self.as_mut().project() {
                CheckedProjection::Checking { check, pass } => match ready!(check.poll(cx)) {
                    (next, Ok(value)) => pass(next, value),
                    (.., Err(refusal)) => return Poll::Ready(refusal),
                },
                CheckedProjection::Passed { rest } => return rest.poll(cx),
            };
            self.set(Checked::Passed { rest });
        }
    }
}

pin_project! {
    /// The future of a function, with its result as a response. In an `async` block, the response would be copied twice more.
    pub(super) struct Answer<F> {
        #[pin]
        pub(super) function: F,
    }
}

impl<F: Future<Output: IntoResponse>> Future for Answer<F> {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.project().function.poll(cx).map(IntoResponse::into_response)
    }
}
