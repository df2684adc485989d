//! What the log shows of requests, and whether there is a log.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, Method};
use tracing::Span;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::NoSubscriber;

/// The span in which a request runs. It has the fields `http.request.method`, `http.route`, which the chain sets to the matched path, and
/// `id`. `None` without a subscriber that records it: it then costs nothing.
pub(super) fn span(method: &Method, headers: &HeaderMap) -> Option<Span> {
    // With its feature `log`, `tracing` would format the span without a subscriber.
    if LevelFilter::current() == LevelFilter::OFF {
        return None;
    }
    let span = tracing::error_span!(
        "request",
        http.request.method = %method,
        http.route = Empty,
        id = Empty
    );
    if span.is_disabled() {
        return None;
    }
    match headers.get("x-request-id").and_then(|id| id.to_str().ok()).filter(|id| is_id(id)) {
        Some(id) => span.record("id", id),
        None => span.record("id", NEXT_ID.fetch_add(1, Ordering::Relaxed)),
    };
    Some(span)
}

/// Reports on stderr, once, that errors are lost because the program has no subscriber of `tracing`.
pub(super) fn report_missing_subscriber() {
    static REPORTED: Once = Once::new();
    if tracing::dispatcher::get_default(|dispatch| dispatch.is::<NoSubscriber>()) {
        REPORTED.call_once(|| {
            // `eprintln` panics if stderr is closed.
            let _ = writeln!(std::io::stderr(), "{MISSING}");
        });
    }
}

/// Whether an id that a client sent can be written into a log.
fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(&byte))
}

/// The ids of requests without an `x-request-id`.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

const MISSING: &str = "tower-chain: no subscriber of `tracing` is installed, so the causes of errors are lost. To print them, run \
                       `cargo add tracing-subscriber`, and begin `main` with \
                       `tracing_subscriber::fmt().with_writer(std::io::stderr).init();`";
