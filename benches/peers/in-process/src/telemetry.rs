//! Measures what `Telemetry` adds to a request while an exporter receives its metrics. Run in `benches/peers` with
//!
//! ```sh
//! cargo run --profile counts --package in-process --bin telemetry
//! ```
//!
//! The recorder is that of the whole process, so this is a program of its own. The chain with the step and the one without it alternate. The figure is the
//! minimum time of each, and their instructions, which valgrind counts.

#[allow(dead_code, reason = "the names of cases")]
#[path = "../../../cases/subject.rs"]
mod subject;

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use axum_core::body::Body;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use subject::{Request, Response, Subject};
use tower_chain::Chain;
use tower_chain::middleware::telemetry::Telemetry;

fn main() {
    let exporter = PrometheusBuilder::new().install_recorder().unwrap();
    let case = std::env::args().nth(1);
    if let Some(name) = case {
        let mut subject = warm(&name);
        for _ in 0..COUNTED {
            let req = (subject.request)();
            black_box(counted_answer(&mut subject, req));
        }
        return;
    }
    let mut subjects = CASES.map(|name| (name, warm(name), f64::MAX));
    for _ in 0..ROUNDS {
        for (_, subject, least) in &mut subjects {
            *least = least.min(nanos(subject));
        }
        // As an exporter does from time to time.
        exporter.run_upkeep();
    }
    println!("| chain | time, ns | instructions |\n| --- | ---: | ---: |");
    for (name, _, least) in subjects {
        println!("| {name} | {least:.0} | {} |", instructions(name));
    }
    check(&exporter);
}

/// All requests were recorded.
fn check(exporter: &PrometheusHandle) {
    let text = exporter.render();
    let count = text.lines().find(|line| line.starts_with("http_server_request_duration_count"));
    let count = count.and_then(|line| line.rsplit_once(' ')).unwrap().1;
    assert_eq!(count.parse::<usize>().unwrap(), WARM + ROUNDS * REQUESTS);
}

fn warm(name: &str) -> Subject {
    let chain = Chain::new();
    let request = || {
        let mut req = Request::new(Body::empty());
        *req.uri_mut() = http::Uri::from_static("/users/7");
        req
    };
    let handler = async || "Ann";
    let mut subject = match name {
        "Telemetry" => Subject::new(
            chain.always(Telemetry::new()).at("/users/{id}", |c| c.get(handler)).into_service(),
            request,
        ),
        _ => Subject::new(chain.at("/users/{id}", |c| c.get(handler)).into_service(), request),
    };
    for _ in 0..WARM {
        (subject.answer)((subject.request)());
    }
    subject
}

/// Time per request. The response is dropped inside of the measurement, because the step records at its end.
fn nanos(subject: &mut Subject) -> f64 {
    let requests: Vec<_> = (0..REQUESTS).map(|_| (subject.request)()).collect();
    let begin = Instant::now();
    for req in requests {
        drop((subject.answer)(black_box(req)));
    }
    begin.elapsed().as_nanos() as f64 / REQUESTS as f64
}

/// The instructions per request, counted in another process.
fn instructions(name: &str) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_answer*")
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .output()
        .expect("valgrind is not installed");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let total: u64 = collected.unwrap_or_else(|| panic!("{text}")).1.trim().parse().unwrap();
    total / COUNTED
}

#[inline(never)]
fn counted_answer(subject: &mut Subject, req: Request) {
    drop::<Response>((subject.answer)(black_box(req)));
}

const CASES: [&str; 2] = ["no step", "Telemetry"];
const WARM: usize = 10_000;
const COUNTED: u64 = 100;
const ROUNDS: usize = 200;
const REQUESTS: usize = 100;
