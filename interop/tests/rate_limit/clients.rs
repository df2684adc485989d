//! HTTP clients that wait as the limiter asks them to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderName;
use serde_json::Value;
use tower_chain::middleware::rate_limit::{LimitKey, Quota};
use tower_chain::{Chain, RateLimit, Server};

/// How many requests of each client were admitted, and how many refused.
type Counts = Arc<Mutex<BTreeMap<String, [usize; 2]>>>;

/// A server that admits one request of each client in a second.
async fn server() -> (String, Counts) {
    let counts = Counts::default();
    let counted = counts.clone();
    let client = HeaderName::from_static("x-client");
    let limit = RateLimit::new(Quota::new(1, Duration::from_secs(1)))
        .key(LimitKey::header(client.clone()))
        .observe(move |req, decision| {
            let client = req.headers()[&client].to_str().unwrap().to_owned();
            let mut counts = counted.lock().unwrap();
            counts.entry(client).or_default()[usize::from(!decision.is_admitted())] += 1;
        });
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let chain = Chain::new().use_(limit).get(async || "hello").build();
    tokio::spawn(server.serve_until(std::future::pending(), chain));
    (url, counts)
}

/// Checks that each client got four responses of 200, and that it was refused no more often than once for each request that had to wait.
fn check(output: &[u8], counts: &Counts, clients: &[(&str, usize)]) {
    let mut statuses = BTreeMap::<String, Vec<u64>>::new();
    for line in std::str::from_utf8(output).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["name"].as_str().unwrap().to_owned();
        statuses.entry(name).or_default().push(line["status"].as_u64().unwrap());
    }
    let counts = counts.lock().unwrap();
    for (client, refused) in clients {
        assert_eq!(statuses[*client], [200; 4], "{client}");
        assert_eq!(counts[*client], [4, *refused], "{client}");
    }
    assert_eq!(statuses.len(), clients.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(node), ignore = "install node 20 and npm to run this test")]
async fn clients_of_npm_wait_and_get_through() {
    let (url, counts) = server().await;
    let run = tokio::task::spawn_blocking(move || super::node("clients.mjs", &url));
    let output = run.await.unwrap();
    // The first request is admitted, and each of the others once it has waited. One that reads `RateLimit` is never refused.
    let clients = [("axios-retry", 3), ("got", 3), ("ky", 3), ("RateLimit", 0)];
    check(&output.stdout, &counts, &clients);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(python), ignore = "install python3 with venv and pip to run this test")]
async fn clients_of_pypi_wait_and_get_through() {
    let (url, counts) = server().await;
    let packages = ["tenacity==9.2.1", "urllib3==2.8.0"];
    let run = tokio::task::spawn_blocking(move || super::python("clients.py", &url, &packages));
    check(&run.await.unwrap().stdout, &counts, &[("tenacity", 3), ("urllib3", 3)]);
}
