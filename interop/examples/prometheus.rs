//! Metrics for Prometheus: each request in OpenTelemetry's metrics, which a route of the chain exports.
//!
//! Run with
//!
//! ```sh
//! cargo run -p interop --example prometheus
//! ```
//!
//! Dependencies besides `tower-chain` (features `serve` and `telemetry`) and `tokio`:
//!
//! ```toml
//! metrics = "0.24"
//! metrics-exporter-prometheus = { version = "0.18", default-features = false }
//! ```
//!
//! ```sh
//! curl localhost:3000/users/7
//! # user 7
//! curl -s localhost:3000/metrics | grep request_duration_seconds_count
//! # http_server_request_duration_seconds_count{http_request_method="GET",url_scheme="http",network_protocol_name="http",network_protocol_version="1.1",http_response_status_code="200",http_route="/users/{id}"} 1
//! ```
//!
//! `curl -s localhost:3000/metrics | promtool check metrics` reports nothing.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tower_chain::middleware::telemetry::{DURATION_BUCKETS, Telemetry};
use tower_chain::{Chain, ChainService, MiddlewareExt, Path};

/// Sizes from 64 bytes to 16 MiB.
const SIZE_BUCKETS: [f64; 10] =
    [64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0];

fn exporter() -> Result<PrometheusBuilder, Box<dyn std::error::Error>> {
    // With the recommended names, units are suffixes, such as `_seconds`.
    let builder = PrometheusBuilder::new().with_recommended_naming(true);
    let duration = Matcher::Full("http.server.request.duration".to_owned());
    let sizes = Matcher::Suffix("body.size".to_owned());
    Ok(builder
        .set_buckets_for_metric(duration, &DURATION_BUCKETS)?
        .set_buckets_for_metric(sizes, &SIZE_BUCKETS)?)
}

fn api(metrics: PrometheusHandle) -> ChainService {
    // In production, let only Prometheus reach this path: on another port, or behind an authentication step.
    let exported = move || std::future::ready(metrics.render());
    Chain::new()
        .always(Telemetry::new().unless(|req| req.uri().path() == "/metrics"))
        .at("/metrics", |c| c.get(exported))
        .at("/users/{id}", |c| c.get(async |Path(id): Path<u32>| format!("user {id}\n")))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let metrics = exporter()?.install_recorder()?;
    // Histograms are kept in memory until they are moved into buckets.
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api(metrics)).await?)
}

#[cfg(test)]
#[tokio::test]
async fn a_scrape_has_the_route_of_each_request() {
    use tower_chain::TestClient;
    let recorder = exporter().unwrap().build_recorder();
    let client = TestClient::new(api(recorder.handle()));
    let guard = metrics::set_default_local_recorder(&recorder);
    for path in ["/users/7", "/users/8", "/users/x", "/none"] {
        client.get(path).send().await;
    }
    drop(guard);
    let scraped = client.get("/metrics").send().await;
    let text = scraped.text();
    for line in [
        "# TYPE http_server_request_duration_seconds histogram",
        "# TYPE http_server_active_requests gauge",
        "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"} 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let count = |status: &str| {
        let is_count = |line: &&str| {
            line.starts_with("http_server_request_duration_seconds_count")
                && line.contains(&format!("status_code=\"{status}\""))
        };
        let line = text.lines().find(is_count).unwrap();
        (line.contains("http_route=\"/users/{id}\""), line.rsplit(' ').next().unwrap())
    };
    assert_eq!((count("200"), count("400")), ((true, "2"), (true, "1")));
    assert_eq!(count("404"), (false, "1"));
    assert!(!text.contains("/metrics"), "{text}");
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn std::error::Error>> {
    api(exporter()?.build_recorder().handle()).audit().assert_none();
    Ok(())
}
