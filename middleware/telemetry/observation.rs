//! The record of one request: its span, and its metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::{Method, Version};
use metrics::{Gauge, Key, Label, Level, Metadata, Recorder, SharedString, Unit};
use tracing::Span;

use crate::middleware::counted_body::AtEnd;

/// The attributes of a request that are known when it arrives. All have few values.
pub(super) struct Attributes {
    pub(super) method: &'static str,
    pub(super) scheme: &'static str,
    pub(super) version: &'static str,
    pub(super) server: Option<(Arc<str>, u16)>,
}

impl Attributes {
    fn labels(&self) -> Vec<Label> {
        let mut labels = Vec::with_capacity(9);
        labels.push(Label::from_static_parts("http.request.method", self.method));
        labels.push(Label::from_static_parts("url.scheme", self.scheme));
        if let Some((address, port)) = &self.server {
            labels.push(Label::new("server.address", SharedString::from(address.clone())));
            labels.push(Label::new("server.port", port.to_string()));
        }
        labels
    }
}

/// A request in flight. Its end, or the drop of its future, completes the span and the metrics.
pub(super) struct Observation {
    start: Instant,
    attributes: Attributes,
    route: Option<Box<str>>,
    status: Option<u16>,
    error: Option<&'static str>,
    sent: u64,
    received: Arc<AtomicU64>,
    span: Span,
    /// `http.server.active_requests`. `None` if there was no recorder when the request began.
    active: Option<Gauge>,
}

impl Observation {
    pub(super) fn start(attributes: Attributes, span: Span, describe: bool) -> Self {
        let active = metrics::with_recorder(|recorder| {
            if !is_real(recorder) {
                return None;
            }
            if describe {
                self::describe(recorder);
            }
            let key = Key::from_parts(ACTIVE_REQUESTS, attributes.labels());
            let gauge = recorder.register_gauge(&key, &METADATA);
            gauge.increment(1.0);
            Some(gauge)
        });
        Self {
            start: Instant::now(),
            attributes,
            route: None,
            status: None,
            error: None,
            sent: 0,
            received: Arc::default(),
            span,
            active,
        }
    }

    /// Counts the bytes of the request body that are read.
    pub(super) fn received(&self) -> Arc<AtomicU64> {
        self.received.clone()
    }

    /// Notes the response, whose body is still to be sent.
    pub(super) fn answered(&mut self, status: u16, route: Option<&str>) {
        self.status = Some(status);
        self.route = route.map(Box::from);
    }

    fn measure(&self, recorder: &dyn Recorder, seconds: f64, error: Option<&str>) {
        let mut labels = self.attributes.labels();
        labels.push(Label::from_static_parts("network.protocol.name", "http"));
        labels.push(Label::from_static_parts("network.protocol.version", self.attributes.version));
        if let Some(status) = self.status {
            labels.push(Label::new("http.response.status_code", status.to_string()));
        }
        if let Some(route) = &self.route {
            labels.push(Label::new("http.route", route.to_string()));
        }
        if let Some(error) = error {
            labels.push(Label::new("error.type", error.to_owned()));
        }
        let received = self.received.load(Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss, reason = "a size in a histogram")]
        let values = [
            (REQUEST_DURATION, seconds),
            (REQUEST_BODY_SIZE, received as f64),
            (RESPONSE_BODY_SIZE, self.sent as f64),
        ];
        for (name, value) in values {
            let key = Key::from_parts(name, labels);
            recorder.register_histogram(&key, &METADATA).record(value);
            labels = key.into_parts().1;
        }
    }
}

impl AtEnd for Observation {
    fn end(mut self, sent: u64, failed: bool) {
        self.sent = sent;
        if failed {
            self.error = Some("response_body");
        }
    }

    fn span(&self) -> Option<&Span> {
        Some(&self.span)
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let seconds = self.start.elapsed().as_secs_f64();
        let status = self.status.filter(|status| *status >= 500).map(|status| status.to_string());
        let ended = match self.status {
            None if std::thread::panicking() => Some("panic"),
            None => Some("cancelled"),
            Some(_) => None,
        };
        let error = self.error.or(status.as_deref()).or(ended);
        if let Some(active) = self.active.take() {
            active.decrement(1.0);
            metrics::with_recorder(|recorder| self.measure(recorder, seconds, error));
        }
        if self.span.is_disabled() {
            return;
        }
        self.span.record("http.request.body.size", self.received.load(Ordering::Relaxed));
        self.span.record("http.response.body.size", self.sent);
        if let Some(error) = error {
            self.span.record("error.type", error);
            // A client that goes away is not a fault of the server.
            if error != "cancelled" {
                self.span.record("otel.status_code", "ERROR");
            }
        }
    }
}

/// Whether a recorder is installed. The facade has no such question. Its own no-op recorder has no fields, and no state that metrics could be in.
pub(super) fn is_real(recorder: &dyn Recorder) -> bool {
    size_of_val(recorder) != 0
}

fn describe(recorder: &dyn Recorder) {
    let text = |text: &'static str| SharedString::const_str(text);
    recorder.describe_gauge(
        ACTIVE_REQUESTS.into(),
        Some(Unit::Count),
        text("Number of active HTTP server requests."),
    );
    recorder.describe_histogram(
        REQUEST_DURATION.into(),
        Some(Unit::Seconds),
        text("Duration of HTTP server requests."),
    );
    recorder.describe_histogram(
        REQUEST_BODY_SIZE.into(),
        Some(Unit::Bytes),
        text("Size of HTTP server request bodies."),
    );
    recorder.describe_histogram(
        RESPONSE_BODY_SIZE.into(),
        Some(Unit::Bytes),
        text("Size of HTTP server response bodies."),
    );
}

/// The method as an attribute: `_OTHER` for those that are not in RFC 9110, RFC 5789 or the draft of QUERY. A client can send any number of them.
pub(super) fn method(method: &Method) -> &'static str {
    let known = METHODS.iter().find(|known| **known == method.as_str());
    known.copied().unwrap_or(OTHER_METHOD)
}

pub(super) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

const METHODS: [&str; 10] =
    ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY"];
pub(super) const OTHER_METHOD: &str = "_OTHER";

const ACTIVE_REQUESTS: &str = "http.server.active_requests";
const REQUEST_DURATION: &str = "http.server.request.duration";
const REQUEST_BODY_SIZE: &str = "http.server.request.body.size";
const RESPONSE_BODY_SIZE: &str = "http.server.response.body.size";
static METADATA: Metadata<'_> =
    Metadata::new("tower_chain::telemetry", Level::INFO, Some(module_path!()));
