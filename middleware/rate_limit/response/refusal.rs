//! The response to a refused request.

use axum_core::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use super::decision::{Decision, Verdict};
use super::headers::{CONCURRENT, PolicyState};
use crate::middleware::rate_limit::limiter::Limiter;
use crate::middleware::rate_limit::verdict::RequestOutcome;
use crate::step::Refusal;
use crate::{Body, Error, Request, Response};

/// The response to a refused request.
pub(crate) fn respond(
    limiter: &Limiter,
    req: &Request,
    decision: &Decision,
    states: &[PolicyState],
) -> Response {
    let mut response = match &limiter.settings.reject {
        Some(reject) => reject(req, decision),
        None if is_grpc(req) => grpc(decision),
        None => problem(decision).into_response(),
    };
    let headers = response.headers_mut();
    if let Some(wait) = decision.retry_after() {
        headers.entry(RETRY_AFTER).or_insert_with(|| wait.as_secs().into());
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    limiter.write(headers, states);
    Refusal::new("RateLimit", reason(decision.verdict())).mark(response)
}

fn reason(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::TooCostly => "too_costly",
        Verdict::Busy => "busy",
        Verdict::QueueFull => "queue_full",
        Verdict::Blocked => "blocked",
        Verdict::Unavailable => "unavailable",
        Verdict::Exceeded | Verdict::Admitted | Verdict::Skipped => "quota_exceeded",
    }
}

/// Logs a refusal, with the names of the policies and the pseudonym of the client.
pub(crate) fn log(decision: &Decision, shadow: bool) {
    let policy = decision.violated().next().unwrap_or("");
    let client = decision.client().map(tracing::field::display);
    tracing::debug!(policy, verdict = ?decision.verdict(), client, shadow, "request refused");
}

/// Logs and counts a refusal, and returns it unless the limiter is in shadow mode.
pub(crate) fn refuse(limiter: &Limiter, outcome: &RequestOutcome) -> Result<(), Decision> {
    limiter.note(outcome);
    let decision = limiter.decision(outcome);
    log(&decision, limiter.settings.shadow);
    if limiter.settings.shadow { Ok(()) } else { Err(decision) }
}

/// The status, the type and the text of a refusal.
pub(crate) fn described(verdict: Verdict) -> (StatusCode, &'static str, &'static str) {
    match verdict {
        Verdict::TooCostly => (
            StatusCode::TOO_MANY_REQUESTS,
            "quota-exceeded",
            "This request costs more than the quota allows at once and will never be admitted",
        ),
        Verdict::Busy => (
            StatusCode::TOO_MANY_REQUESTS,
            "quota-exceeded",
            "Too many requests of this client are in flight",
        ),
        Verdict::Blocked => (
            StatusCode::TOO_MANY_REQUESTS,
            "abnormal-usage-detected",
            "This client is blocked for a time",
        ),
        Verdict::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "temporary-reduced-capacity",
            "The shared store of the rate limiter is unreachable",
        ),
        Verdict::QueueFull => (
            StatusCode::SERVICE_UNAVAILABLE,
            "temporary-reduced-capacity",
            "Too many requests are waiting",
        ),
        Verdict::Exceeded | Verdict::Admitted | Verdict::Skipped => {
            (StatusCode::TOO_MANY_REQUESTS, "quota-exceeded", "Too many requests")
        }
    }
}

/// The type of a problem, by the registry of IANA.
pub(crate) fn problem_type(kind: &str) -> String {
    format!("https://iana.org/assignments/http-problem-types#{kind}")
}

fn problem(decision: &Decision) -> Error {
    let (status, kind, detail) = described(decision.verdict());
    let error = Error::new(status, detail).with_type(problem_type(kind));
    let mut names = String::new();
    let busy = (decision.verdict() == Verdict::Busy).then_some(CONCURRENT);
    for name in decision.violated().chain(busy) {
        // The names were checked and need no escapes.
        names.push_str(if names.is_empty() { "[\"" } else { ",\"" });
        names.push_str(name);
        names.push('"');
    }
    if names.is_empty() {
        return error;
    }
    names.push(']');
    error.with_member("violated-policies", names)
}

fn is_grpc(req: &Request) -> bool {
    req.headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// A response without a body or trailers, which gRPC over HTTP/2 calls "Trailers-Only".
fn grpc(decision: &Decision) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let (status, message) = match decision.verdict() {
        Verdict::Unavailable => ("14", "the store of the rate limiter is unreachable"),
        Verdict::QueueFull => ("14", "too many requests are waiting"),
        _ => ("8", "too many requests"),
    };
    headers.insert(GRPC_STATUS, HeaderValue::from_static(status));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    // A negative pushback asks clients not to retry (gRFC A6).
    let pushback = match decision.retry_after() {
        Some(wait) => HeaderValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        None => HeaderValue::from_static("-1"),
    };
    headers.insert(GRPC_PUSHBACK, pushback);
    response
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
