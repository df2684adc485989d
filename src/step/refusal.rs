//! Which step refused a request, and why.

use std::any::type_name;
use std::borrow::Cow;

use axum_core::response::IntoResponse;

use crate::Response;
use crate::route::listing::shortened;

/// The step that refused a request, and its reason, for logs, metrics and traces. It is in the extensions of the response, and the client
/// doesn't see it.
///
/// The built-in steps leave it on each response by which they refuse. The chain leaves it on its own answers, on the refusals of guards, and where
/// an argument of a function can't be extracted. A middleware of your own calls [`mark`](Refusal::mark).
///
/// # Example
///
/// ```
/// use tower_chain::step::Refusal;
/// use tower_chain::{Error, Next, Response, StatusCode};
///
/// async fn office_hours(next: Next<'_>) -> Response {
///     if next.headers().contains_key("x-office") {
///         return next.run().await;
///     }
///     Refusal::new("OfficeHours", "closed").mark(Error::new(StatusCode::FORBIDDEN, "Closed"))
/// }
///
/// async fn report(next: Next<'_>) -> Response {
///     let response = next.run().await;
///     if let Some(refusal) = Refusal::of(&response) {
///         println!("{} refused: {}", refusal.step(), refusal.reason());
///     }
///     response
/// }
///
/// let chain = tower_chain::Chain::new().always(report).use_(office_hours).get(async || "hello");
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    step: Cow<'static, str>,
    reason: Cow<'static, str>,
}

impl Refusal {
    /// A refusal by this step, for this reason.
    ///
    /// Use few different reasons, such as the names of the rules that a step checks, and nothing that a client sends: a metric or a search may have
    /// one series per value.
    pub fn new(step: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { step: step.into(), reason: reason.into() }
    }

    /// The name of the step, such as `RateLimit`.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// The reason, such as `quota_exceeded`.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The response, with this refusal. If it has one already, that one is kept: it is from the step that made the response.
    pub fn mark(self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        if Self::of(&response).is_none() {
            response.extensions_mut().insert(self);
        }
        response
    }

    /// The refusal that a response carries.
    pub fn of(response: &Response) -> Option<&Self> {
        response.extensions().get()
    }

    /// Marks the response by which a function refused a request, or by which one of its arguments did. The reason is the status.
    #[cold]
    pub(crate) fn by_function<F>(response: Response) -> Response {
        Self::by(type_name::<F>(), response)
    }

    /// As [`by_function`](Refusal::by_function), compiled once for all functions.
    fn by(function: &str, response: Response) -> Response {
        Self::new(shortened(function), reason(&response)).mark(response)
    }
}

/// The reason phrase of a status as one word, such as `unsupported_media_type`.
fn reason(response: &Response) -> Cow<'static, str> {
    let phrase = match response.status() {
        http::StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        http::StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
        status => status.canonical_reason().unwrap_or("other"),
    };
    phrase.to_ascii_lowercase().replace([' ', '-', '\''], "_").into()
}
