//! Spans and metrics of requests, by OpenTelemetry's conventions, and W3C Trace Context.
//!
//! # What it does
//!
//! [`Telemetry`] records each request as a span of [`tracing`] and in four metrics of the facade [`metrics`](https://docs.rs/metrics). The names, units
//! and attributes are the stable ones of OpenTelemetry's semantic conventions for HTTP servers. The library contains no exporter and no OpenTelemetry
//! crate: an application that installs a subscriber or a recorder receives the data. Where neither is installed, the step passes the request on and
//! allocates nothing.
//!
//! `http.route` is the pattern that matched, also where a step in front of the handler refuses the request: 401, 405, 413 and 429 have the route, and a
//! path that matches no pattern has none.
//!
//! It reads `traceparent` and `tracestate` (W3C Trace Context, levels 1 and 2). Handlers take a [`TraceContext`], which passes the trace on in the
//! header fields of calls to other services. If the fields are not valid, a new trace begins. If the caller has not sampled the trace, no span is
//! recorded, unless a tracer is [linked](Telemetry::link), which then decides.
//!
//! The span and the duration end with the response body: after its last byte, or when it is dropped, as it is when the client closes the connection. The
//! conventions require that the metric has the duration of the span, and a span of a server covers the whole response.
//!
//! # Example
//!
//! ```
//! use tower_chain::Chain;
//! use tower_chain::middleware::telemetry::Telemetry;
//!
//! let chain = Chain::new().always(Telemetry::new()).at("/users/{id}", |c| c.get(async || "Ann"));
//! # let _ = chain.build();
//! ```
//!
//! # Example: ids, and a proxy that ends TLS
//!
//! ```
//! use tower_chain::Chain;
//! use tower_chain::middleware::telemetry::{RequestId, Telemetry};
//!
//! let telemetry = Telemetry::new().request_ids().https().server_address("api.example.com", 443);
//! let chain = Chain::new()
//!     .always(telemetry)
//!     .get(async |id: RequestId| format!("request {}", id.as_str()));
//! # let _ = chain.build();
//! ```
//!
//! The examples `prometheus` and `otlp` export the metrics and the spans.
//!
//! # What is recorded
//!
//! | metric | kind, unit | attributes |
//! | --- | --- | --- |
//! | `http.server.request.duration` | histogram, s | all in the next table with "metrics" |
//! | `http.server.active_requests` | gauge (up and down), {request} | `http.request.method`, `url.scheme`, `server.*` |
//! | `http.server.request.body.size` | histogram, By | as the duration; the bytes that were read |
//! | `http.server.response.body.size` | histogram, By | as the duration; the bytes that were sent |
//!
//! [`DURATION_BUCKETS`] are the boundaries that the conventions advise for the duration.
//!
//! | attribute | conventions | here | on |
//! | --- | --- | --- | --- |
//! | `http.request.method` | required; `_OTHER` for unknown ones | the methods of RFC 9110, `PATCH` and `QUERY`; otherwise `_OTHER` | span, metrics |
//! | `http.request.method_original` | if it differs | up to 64 bytes | span |
//! | `http.route` | if available | the pattern; absent if none matched | span, metrics |
//! | `http.response.status_code` | if a response was sent | the same | span, metrics |
//! | `url.scheme` | required | the scheme of the URI if it is `https`, or with [`https`](Telemetry::https); otherwise `http` | span, metrics |
//! | `url.path` | required | the path as sent, without the query | span |
//! | `url.query` | if present | never: it often contains secrets | |
//! | `network.protocol.name` | if it is not `http` | `http` | span, metrics |
//! | `network.protocol.version` | recommended | `1.0`, `1.1`, `2`, `3` | span, metrics |
//! | `server.address`, `server.port` | opt-in for metrics, recommended for spans | with [`server_address`](Telemetry::server_address); never from `Host`, which the client chooses | span, metrics |
//! | `client.address` | recommended | with [`client_address`](Telemetry::client_address) | span |
//! | `error.type` | if the request failed | the status from 500 on, `response_body`, `cancelled`, `panic` | span, metrics |
//! | `user_agent.original`, `http.request.header.*` | recommended, opt-in | never; a [link](Telemetry::link) can set them | |
//! | `otel.name`, `otel.kind`, `otel.status_code` | the name `{method} {route}`, `server`, and `ERROR` | the same, as `tracing-opentelemetry` reads them | span |
//! | `trace_id`, `span_id` | | those of the [`TraceContext`] | span |
//! | `request_id` | | with [`request_ids`](Telemetry::request_ids) | span |
//! | `refusal.step`, `refusal.reason` | | what [`Refusal`] contains, such as `RateLimit` and `quota_exceeded` | span |
//! | `http.request.body.size`, `http.response.body.size` | opt-in | the bytes that were read and sent | span |
//!
//! Each attribute of a metric has few values, whatever clients send. The span has the target `tower_chain::telemetry` and the level `INFO`.
//!
//! A recorder whose type has no fields counts as none, as the facade's own no-op recorder does. Install such a recorder in a `Box`.
//!
//! A request whose future is dropped before its response has no status, and `error.type` is `cancelled`. `http.server.active_requests` falls in any case.
//!
//! # Cost
//!
//! With the Prometheus exporter and no spans, the step adds 0.5 us to a request. `benches/RESULTS.md` has the command that measures it.
//!
//! The handles of metrics are kept for a second in each thread, up to 512 combinations of attributes. Then a metric is registered again, so an exporter whose
//! idle timeout is longer than a second loses no value. Only the recorder of the whole process is used in this way, from shortly after the first request that
//! finds it. For a recorder of one thread ([`metrics::with_local_recorder`]), and while that of the process is not known, each request registers its metrics,
//! which takes several microseconds, and a thread that looks for the recorder of the process is started at most once per second.
//!
//! # What the client sees
//!
//! Nothing; with [`request_ids`](Telemetry::request_ids), the id in `x-request-id`.
//!
//! # What it provides
//!
//! [`TraceContext`] and [`RequestId`], which are extractors.
//!
//! # Where to put it
//!
//! First, with [`Chain::always`](crate::Chain::always), before all steps that may refuse a request. Sizes are those at this point: a layer that compresses
//! and is outside of it sends fewer bytes.
//!
//! # Sources
//!
//! OpenTelemetry semantic conventions for [HTTP metrics](https://opentelemetry.io/docs/specs/semconv/http/http-metrics/) and
//! [HTTP spans](https://opentelemetry.io/docs/specs/semconv/http/http-spans/);
//! [W3C Trace Context](https://www.w3.org/TR/trace-context-2/).

mod handles;
mod observation;
mod request_id;
mod trace_context;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::Either;
use http::{HeaderName, Method};
use http_body::{Body as _, Frame, SizeHint};
use tracing::field::{Empty, display};
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, Span};

use self::observation::{Attributes, OTHER_METHOD, Observation};
pub use self::request_id::RequestId;
pub use self::trace_context::{SpanId, TraceContext, TraceId};
use crate::declare::{Declaration, Field, Kind};
use crate::extract::TrustedProxies;
use crate::middleware::counted_body::{client_addr, count};
use crate::step::Refusal;
use crate::{Body, Endpoint, Middleware, Next, Request, Response};

/// The boundaries of a histogram that the conventions advise for `http.server.request.duration`, in seconds.
pub const DURATION_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// A step that records requests as spans and metrics. See the [module](self).
#[derive(Clone)]
pub struct Telemetry {
    is_https: bool,
    server: Option<(Arc<str>, u16)>,
    client_address: bool,
    proxies: Option<TrustedProxies>,
    starts_traces: bool,
    link: Option<Arc<TracerLink>>,
    ids: Option<RequestIds>,
    described: Arc<AtomicBool>,
}

type TracerLink = dyn Fn(&Span, Option<&TraceContext>) -> Option<TraceContext> + Send + Sync;

#[derive(Clone)]
struct RequestIds {
    header: HeaderName,
    trusted: bool,
}

impl Telemetry {
    /// Spans, metrics and the trace of the caller; no request ids.
    #[allow(clippy::new_without_default, reason = "the settings are chosen, not defaulted")]
    pub fn new() -> Self {
        Self {
            is_https: false,
            server: None,
            client_address: false,
            proxies: None,
            starts_traces: false,
            link: None,
            ids: None,
            described: Arc::default(),
        }
    }

    /// Records `https` as the scheme of all requests, for a server behind a proxy that ends TLS. Defaults to the scheme of the URI of the request, which
    /// HTTP/1.1 does not send: then it is `http`.
    #[must_use]
    pub fn https(mut self) -> Self {
        self.is_https = true;
        self
    }

    /// Records this address and port of the server. Defaults to none.
    #[must_use]
    pub fn server_address(mut self, address: &str, port: u16) -> Self {
        self.server = Some((Arc::from(address), port));
        self
    }

    /// Records the address of the client, by [`ClientAddr`](crate::ClientAddr), on the span. Defaults to not recording it.
    ///
    /// Behind a proxy, add [`trusted_proxies`](Self::trusted_proxies). Otherwise it is the address of the proxy.
    #[must_use]
    pub fn client_address(mut self) -> Self {
        self.client_address = true;
        self
    }

    /// Finds the address of the client behind these proxies, and records it. Defaults to [`client_address`](Self::client_address) alone.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.client_address = true;
        self.proxies = Some(proxies);
        self
    }

    /// Starts a new trace for each request, and ignores the fields of the caller. Defaults to continuing the caller's trace.
    ///
    /// Use it where callers are not trusted: a client can otherwise choose the id of its trace, and whether it is recorded.
    #[must_use]
    pub fn start_traces(mut self) -> Self {
        self.starts_traces = true;
        self
    }

    /// Connects the spans to a tracer, such as that of `tracing-opentelemetry`. Defaults to none: the ids of traces are then made here.
    ///
    /// The function receives the new span and the context of the caller. It sets the parent of the span, and returns the context that the tracer has
    /// chosen for it, for calls to other services. The example `otlp` has such a function. It is not called for spans that no subscriber wants.
    #[must_use]
    pub fn link(
        mut self,
        link: impl Fn(&Span, Option<&TraceContext>) -> Option<TraceContext> + Send + Sync + 'static,
    ) -> Self {
        self.link = Some(Arc::new(link));
        self
    }

    /// Gives each request an id, provides it as [`RequestId`], records it, and sends it back in `x-request-id`. Defaults to no ids.
    ///
    /// The field of the request is replaced as well. This costs allocations, also where nothing is recorded.
    #[must_use]
    pub fn request_ids(self) -> Self {
        self.request_ids_in(HeaderName::from_static("x-request-id"))
    }

    /// Like [`request_ids`](Self::request_ids), in another header field.
    #[must_use]
    pub fn request_ids_in(mut self, header: HeaderName) -> Self {
        self.ids = Some(RequestIds { header, trusted: false });
        self
    }

    /// Accepts the ids of callers, if they have 1 to 128 letters, digits and characters of `-_.:+/=`. Defaults to replacing them. Call it after
    /// [`request_ids`](Self::request_ids); without ids it has no effect.
    ///
    /// Use it only behind a proxy that sets the field: a client can otherwise give its requests the id of another request.
    #[must_use]
    pub fn trust_request_ids(mut self) -> Self {
        if let Some(ids) = &mut self.ids {
            ids.trusted = true;
        }
        self
    }

    /// Records the request, which at least one of a subscriber, a recorder and the ids requires.
    async fn observe<N: Endpoint>(&self, mut next: Next<'_, N>) -> Response {
        let route = next.current_route();
        let first_route = route.pattern();
        let attributes = self.attributes(&next);
        let caller = if self.starts_traces { None } else { TraceContext::of(next.headers()) };
        let span = self.span(&next, &attributes, first_route, caller.as_ref());
        next.extensions_mut().insert(self.context(&span, caller));
        let id = self.ids.as_ref().map(|ids| (&ids.header, self.id(ids, &mut next, &span)));

        let described = self.described.load(Ordering::Relaxed);
        let method = attributes.method;
        let mut observation = Observation::start(attributes, span.clone(), !described);
        if !described {
            let is_real = metrics::with_recorder(handles::is_real);
            self.described.store(is_real, Ordering::Relaxed);
        }
        if !next.body().is_end_stream() {
            let inner = std::mem::take(next.body_mut());
            *next.body_mut() = Body::new(ReceivedBody { inner, count: observation.received() });
        }

        let is_head = *next.method() == Method::HEAD;
        let mut response = next.run().instrument(span.clone()).await;

        let pattern = route.pattern();
        observation.answered(response.status().as_u16(), pattern);
        if !span.is_disabled() {
            span.record("http.response.status_code", response.status().as_u16());
            if let Some(pattern) = pattern.filter(|_| pattern != first_route) {
                span.record("http.route", pattern);
                span.record("otel.name", display(SpanName(method, Some(pattern))));
            }
            if let Some(refusal) = Refusal::of(&response) {
                span.record("refusal.step", refusal.step());
                span.record("refusal.reason", refusal.reason());
            }
        }
        if let Some((header, id)) = id {
            response.headers_mut().insert(header, id.to_value());
        }
        count(response, is_head, observation)
    }

    fn attributes(&self, req: &Request) -> Attributes {
        let is_https = self.is_https || req.uri().scheme_str() == Some("https");
        Attributes {
            method: observation::method(req.method()),
            scheme: if is_https { "https" } else { "http" },
            version: observation::version(req.version()),
            server: self.server.clone(),
        }
    }

    fn span(
        &self,
        req: &Request,
        attributes: &Attributes,
        route: Option<&str>,
        caller: Option<&TraceContext>,
    ) -> Span {
        let unsampled = caller.is_some_and(|caller| !caller.is_sampled());
        if unsampled && self.link.is_none() {
            return Span::none();
        }
        let method = attributes.method;
        let original = (method == OTHER_METHOD).then(|| {
            // A method is a token, which is ASCII.
            req.method().as_str().get(..64).unwrap_or(req.method().as_str())
        });
        let (server, port) = match &attributes.server {
            Some((server, port)) => (Some(&**server), Some(*port)),
            None => (None, None),
        };
        let client = || client_addr(self.proxies.as_ref(), req);
        let client = self.client_address.then(client).flatten().map(|client| display(client.0));
        tracing::info_span!(
            target: "tower_chain::telemetry",
            "request",
            otel.name = %SpanName(method, route),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.request.method_original = original,
            http.route = route,
            http.response.status_code = Empty,
            url.path = req.uri().path(),
            url.scheme = attributes.scheme,
            network.protocol.name = "http",
            network.protocol.version = attributes.version,
            server.address = server,
            server.port = port,
            client.address = client,
            "error.type" = Empty,
            trace_id = Empty,
            span_id = Empty,
            request_id = Empty,
            refusal.step = Empty,
            refusal.reason = Empty,
            http.request.body.size = Empty,
            http.response.body.size = Empty,
        )
    }

    /// The context of this request. The span has its ids.
    fn context(&self, span: &Span, caller: Option<TraceContext>) -> TraceContext {
        let linked = match &self.link {
            Some(link) if !span.is_disabled() => link(span, caller.as_ref()),
            _ => None,
        };
        let context = linked.unwrap_or_else(|| match caller {
            Some(caller) => caller.child(),
            None => TraceContext::start(!span.is_disabled()),
        });
        span.record("trace_id", display(context.trace_id()));
        span.record("span_id", display(context.span_id()));
        context
    }

    fn id<N: Endpoint>(&self, ids: &RequestIds, next: &mut Next<'_, N>, span: &Span) -> RequestId {
        let sent = if ids.trusted { RequestId::sent(next.headers(), &ids.header) } else { None };
        let id = sent.unwrap_or_else(RequestId::new);
        span.record("request_id", id.as_str());
        next.headers_mut().insert(&ids.header, id.to_value());
        next.extensions_mut().insert(id.clone());
        id
    }
}

impl Middleware for Telemetry {
    type Provides = ();

    #[inline(always)]
    fn call<N: Endpoint>(&self, next: Next<'_, N>) -> impl Future<Output = Response> + Send {
        if self.ids.is_none() && !is_recorded() {
            return Either::Left(next.run());
        }
        Either::Right(Recorded::new(|| self.observe(next)))
    }

    fn declare(&self, to: &mut Declaration) {
        to.kind(Kind::Log);
        if let Some(ids) = &self.ids {
            to.adds(Field::new(ids.header.as_str(), "The id of the request"));
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

/// The future of a request that is recorded. The box keeps it small where nothing is recorded.
///
/// Its functions are not inlined: they would make the code around them save registers for each request.
struct Recorded<F>(Pin<Box<F>>);

impl<F: Future<Output = Response>> Recorded<F> {
    #[cold]
    #[inline(never)]
    fn new(observe: impl FnOnce() -> F) -> Self {
        Self(Box::pin(observe()))
    }
}

impl<F: Future<Output = Response>> Future for Recorded<F> {
    type Output = Response;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.0.as_mut().poll(cx)
    }
}

/// Whether a subscriber wants spans, or a recorder is installed.
#[inline]
fn is_recorded() -> bool {
    LevelFilter::current() >= LevelFilter::INFO || metrics::with_recorder(handles::is_real)
}

/// `{method} {route}`, or the method alone. An unknown method is `HTTP`.
struct SpanName<'a>(&'a str, Option<&'a str>);

impl fmt::Display for SpanName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 == OTHER_METHOD { "HTTP" } else { self.0 })?;
        self.1.map_or(Ok(()), |route| write!(f, " {route}"))
    }
}

/// The body of a request, whose bytes are counted when they are read.
struct ReceivedBody {
    inner: Body,
    count: Arc<AtomicU64>,
}

impl http_body::Body for ReceivedBody {
    type Data = Bytes;
    type Error = axum_core::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.count.fetch_add(bytes, Ordering::Relaxed);
        }
        // `Body` wraps the error again, and readers unwrap at most two levels.
        Poll::Ready(frame.map(|frame| frame.map_err(axum_core::Error::into_inner)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
