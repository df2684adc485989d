//! The record of one request: its span, and its metrics.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::{Method, Version};
use metrics::{Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit};
use tracing::Span;

use super::handles::{Handles, Series, SeriesEnd, is_real, with_handle};
use crate::middleware::counted_body::{AtEnd, BodyEnd};

/// The attributes of a request that are known when it arrives. All have few values.
pub(super) struct Attributes {
    pub(super) method: &'static str,
    pub(super) scheme: &'static str,
    pub(super) version: &'static str,
    pub(super) server: Option<(Arc<str>, u16)>,
}

impl Attributes {
    fn series(&self) -> Series<'_> {
        let server = self.server.as_ref();
        Series {
            method: self.method,
            scheme: self.scheme,
            server: server.map(|(address, port)| (Cow::Borrowed(&**address), *port)),
            end: None,
        }
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
        let start = Instant::now();
        let active = metrics::with_recorder(|recorder| {
            if !is_real(recorder) {
                return None;
            }
            if describe {
                self::describe(recorder);
            }
            let series = attributes.series();
            let register = || {
                let key = Key::from_parts(ACTIVE_REQUESTS, labels(&series));
                recorder.register_gauge(&key, &METADATA)
            };
            let gauge = with_handle(&ACTIVE, recorder, &series, start, register, Gauge::clone);
            gauge.increment(1.0);
            Some(gauge)
        });
        Self {
            start,
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

    fn measure(&self, recorder: &dyn Recorder, error: Option<&'static str>) {
        let now = Instant::now();
        let series = Series {
            end: Some(SeriesEnd {
                version: self.attributes.version,
                status: self.status,
                route: self.route.as_deref().map(Cow::Borrowed),
                error,
            }),
            ..self.attributes.series()
        };
        let received = self.received.load(Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss, reason = "a size in a histogram")]
        let record = |histograms: &Histograms| {
            let [duration, request, response] = histograms;
            duration.record(now.duration_since(self.start).as_secs_f64());
            request.record(received as f64);
            response.record(self.sent as f64);
        };
        let register = || histograms(recorder, &series);
        with_handle(&ENDED, recorder, &series, now, register, record);
    }

    /// `error.type`, unless it is the status.
    fn error(&self) -> Option<&'static str> {
        self.error.or_else(|| match self.status {
            None if std::thread::panicking() => Some("panic"),
            None => Some("cancelled"),
            Some(_) => None,
        })
    }
}

impl AtEnd for Observation {
    fn end(mut self, sent: u64, end: BodyEnd) {
        self.sent = sent;
        // A client that goes away while it reads the response has its status: the request did not fail.
        self.error = (end == BodyEnd::Failed).then_some("response_body");
    }

    fn span(&self) -> Option<&Span> {
        Some(&self.span)
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let error = self.error();
        if let Some(active) = self.active.take() {
            active.decrement(1.0);
            metrics::with_recorder(|recorder| self.measure(recorder, error));
        }
        if self.span.is_disabled() {
            return;
        }
        self.span.record("http.request.body.size", self.received.load(Ordering::Relaxed));
        self.span.record("http.response.body.size", self.sent);
        if let Some(error) = error_type(self.status, error) {
            self.span.record("error.type", &*error);
            // A client that goes away is not a fault of the server.
            if error != "cancelled" {
                self.span.record("otel.status_code", "ERROR");
            }
        }
    }
}

/// The durations, and the sizes of the request and response bodies.
type Histograms = [Histogram; 3];

fn histograms(recorder: &dyn Recorder, series: &Series<'_>) -> Histograms {
    let mut labels = labels(series);
    [REQUEST_DURATION, REQUEST_BODY_SIZE, RESPONSE_BODY_SIZE].map(|name| {
        let key = Key::from_parts(name, std::mem::take(&mut labels));
        let histogram = recorder.register_histogram(&key, &METADATA);
        labels = key.into_parts().1;
        histogram
    })
}

fn labels(series: &Series<'_>) -> Vec<Label> {
    let mut labels = Vec::with_capacity(9);
    labels.push(Label::from_static_parts("http.request.method", series.method));
    labels.push(Label::from_static_parts("url.scheme", series.scheme));
    if let Some((address, port)) = &series.server {
        labels.push(Label::new("server.address", address.to_string()));
        labels.push(Label::new("server.port", port.to_string()));
    }
    let Some(end) = &series.end else { return labels };
    labels.push(Label::from_static_parts("network.protocol.name", "http"));
    labels.push(Label::from_static_parts("network.protocol.version", end.version));
    if let Some(status) = end.status {
        labels.push(Label::new("http.response.status_code", status.to_string()));
    }
    if let Some(route) = &end.route {
        labels.push(Label::new("http.route", route.to_string()));
    }
    if let Some(error) = error_type(end.status, end.error) {
        labels.push(Label::new("error.type", error));
    }
    labels
}

/// `error.type`: another error than that of the status comes first.
fn error_type(status: Option<u16>, error: Option<&'static str>) -> Option<Cow<'static, str>> {
    let status = status.filter(|status| *status >= 500);
    error.map(Cow::Borrowed).or_else(|| Some(Cow::Owned(status?.to_string())))
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

thread_local! {
    static ACTIVE: Handles<Gauge> = Handles::default();
    static ENDED: Handles<Histograms> = Handles::default();
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
