//! Spans for OpenTelemetry: `Telemetry` records them with `tracing`, and `tracing-opentelemetry` sends them to a collector over OTLP.
//!
//! Run with, where `OTEL_EXPORTER_OTLP_ENDPOINT` is the address of the collector (by default http://localhost:4318),
//!
//! ```sh
//! cargo run -p interop --example otlp
//! ```
//!
//! Dependencies besides `tower-chain` (features `serve` and `telemetry`) and `tokio`:
//!
//! ```toml
//! opentelemetry = { version = "0.33", default-features = false, features = ["trace"] }
//! opentelemetry-otlp = { version = "0.33", default-features = false, features = ["http-proto", "reqwest-blocking-client", "trace"] }
//! opentelemetry_sdk = { version = "0.33", default-features = false, features = ["trace"] }
//! tracing = "0.1"
//! tracing-opentelemetry = { version = "0.34", default-features = false }
//! tracing-subscriber = { version = "0.3", default-features = false, features = ["registry"] }
//! ```
//!
//! ```sh
//! curl -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' localhost:3000/users/7
//! # a call for user 7 would send traceparent: 00-0af7651916cd43dd8448eb211c80319c-..-01
//! ```

use std::error::Error;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tower_chain::middleware::telemetry::{Telemetry, TraceContext};
use tower_chain::{Chain, ChainService, Path};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

/// Makes the caller's span the parent of ours, and returns the ids that the SDK has chosen.
fn link(span: &Span, caller: Option<&TraceContext>) -> Option<TraceContext> {
    if let Some(caller) = caller {
        let parent = SpanContext::new(
            TraceId::from_bytes(caller.trace_id().to_bytes()),
            SpanId::from_bytes(caller.span_id().to_bytes()),
            TraceFlags::new(caller.flags()),
            true,
            caller.state().parse::<TraceState>().unwrap_or_default(),
        );
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    let context = span.context();
    let own = context.span().span_context().clone();
    TraceContext::from_parts(
        own.trace_id().to_bytes(),
        own.span_id().to_bytes(),
        own.trace_flags().to_u8(),
        &own.trace_state().header(),
    )
}

async fn user(Path(id): Path<u32>, trace: TraceContext) -> String {
    let fields: Vec<String> = trace
        .headers()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default()))
        .collect();
    format!("a call for user {id} would send {}\n", fields.join(", "))
}

fn api() -> ChainService {
    Chain::new().always(Telemetry::new().link(link)).at("/users/{id}", |c| c.get(user)).build()
}

/// Sends spans in the background, in batches.
fn tracer(exporter: SpanExporter) -> SdkTracerProvider {
    let resource = Resource::builder().with_service_name("users").build();
    SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()
}

fn main() -> Result<(), Box<dyn Error>> {
    // The client of the exporter blocks, so it is made outside of the runtime.
    let provider = tracer(SpanExporter::builder().with_http().build()?);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("tower-chain"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(tower_chain::serve(format!("127.0.0.1:{port}"), api()))?;
    Ok(provider.shutdown()?)
}

#[cfg(test)]
#[test]
fn a_collector_receives_the_span_and_the_caller_as_its_parent() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use opentelemetry_otlp::WithExportConfig;
    use tower_chain::TestClient;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let collector = std::thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let (mut length, mut line) = (0, String::new());
        while stream.read_line(&mut line).unwrap() > 2 {
            let field = line.to_ascii_lowercase();
            if let Some(digits) = field.strip_prefix("content-length: ") {
                length = digits.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        body
    });
    let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build().unwrap();
    let provider = tracer(exporter);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("tower-chain"));
    let subscribed = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let text = runtime.block_on(async {
        let request = TestClient::new(api()).get("/users/7").header("traceparent", parent);
        request.send().await.text().to_owned()
    });
    drop(subscribed);
    provider.shutdown().unwrap();
    let sent = collector.join().unwrap();
    let has = |part: &[u8]| sent.windows(part.len()).any(|window| window == part);
    let (_, ids) = text.split_once("00-0af7651916cd43dd8448eb211c80319c-").unwrap();
    let own = u64::from_str_radix(&ids[..16], 16).unwrap().to_be_bytes();
    for part in [
        "GET /users/{id}".as_bytes(),
        b"http.route",
        &0x0af7651916cd43dd8448eb211c80319c_u128.to_be_bytes(),
        &0xb7ad6b7169203331_u64.to_be_bytes(),
        &own,
    ] {
        assert!(has(part), "{part:?}\n{}", String::from_utf8_lossy(&sent));
    }
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
