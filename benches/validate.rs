//! Measures the time to parse and validate input, compared with calling `serde_json` (or `serde_html_form`) and `validator` by hand. Run with
//!
//! ```sh
//! cargo bench -p benches --bench validate [-- FILTER]
//! ```
//!
//! In each group, `by hand` takes the body out of the request, parses and validates it, without a check of the media type and without a limit.
//! `parsing alone` starts with the bytes. After the times are the ratios, for which both sides alternate, so a busy machine disturbs
//! both equally, and, if valgrind is installed, the instructions, which are exact.

#![allow(missing_docs, clippy::unwrap_used, reason = "a program")]

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum_core::extract::{FromRequest, FromRequestParts};
use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tower_chain::{Body, Form, Json, Query, Request, Valid};
use validator::Validate;

#[derive(Deserialize, Validate)]
struct NewUser {
    #[validate(length(min = 1))]
    name: String,
    #[validate(email)]
    email: String,
}

#[derive(Deserialize, Validate)]
struct Order {
    #[validate(length(min = 1, max = 64))]
    customer: String,
    #[validate(nested)]
    address: Address,
    #[validate(length(min = 1, max = 100), nested)]
    lines: Vec<Line>,
}

#[derive(Deserialize, Validate)]
struct Address {
    #[validate(length(min = 3))]
    street: String,
    #[validate(length(equal = 2))]
    country: String,
}

// The rule for the length of a list requires `Serialize`.
#[derive(Deserialize, Serialize, Validate)]
struct Line {
    #[validate(length(min = 1))]
    article: String,
    #[validate(range(min = 1, max = 99))]
    count: u32,
    #[validate(range(min = 0.0))]
    price: f64,
}

#[derive(Deserialize, Validate)]
struct Search {
    #[validate(length(min = 1))]
    q: String,
    #[validate(range(min = 1))]
    page: Option<u32>,
}

const USER: &[u8] = br#"{"name":"John Doe","email":"john@example.com"}"#;
const PAIRS: &[u8] = b"name=John+Doe&email=john%40example.com";

fn order() -> Bytes {
    let line = r#"{"article":"a long article number","count":3,"price":12.5}"#;
    let lines = vec![line; 20].join(",");
    let address = r#"{"street":"Main Street 1","country":"DE"}"#;
    format!(r#"{{"customer":"John Doe","address":{address},"lines":[{lines}]}}"#).into()
}

/// Two implementations, and the same request for both.
struct Case {
    name: &'static str,
    request: fn() -> Request,
    alone: fn(),
    by_hand: fn(Request),
    ours: fn(Request),
}

fn cases() -> [Case; 4] {
    [
        Case {
            name: "json of two fields",
            request: || post("application/json", Bytes::from_static(USER)),
            alone: || checked(serde_json::from_slice::<NewUser>(black_box(USER)).unwrap()),
            by_hand: |req| checked(serde_json::from_slice::<NewUser>(&body(req)).unwrap()),
            ours: |req| {
                black_box(ready(Valid::<Json<NewUser>>::from_request(req, &())).unwrap());
            },
        },
        Case {
            name: "json of twenty items",
            request: || post("application/json", order()),
            alone: || {
                thread_local!(static ORDER: Bytes = order());
                ORDER.with(|text| {
                    checked(serde_json::from_slice::<Order>(black_box(text)).unwrap())
                });
            },
            by_hand: |req| checked(serde_json::from_slice::<Order>(&body(req)).unwrap()),
            ours: |req| {
                black_box(ready(Valid::<Json<Order>>::from_request(req, &())).unwrap());
            },
        },
        Case {
            name: "form of two fields",
            request: || post("application/x-www-form-urlencoded", Bytes::from_static(PAIRS)),
            alone: || checked(serde_html_form::from_bytes::<NewUser>(black_box(PAIRS)).unwrap()),
            by_hand: |req| checked(serde_html_form::from_bytes::<NewUser>(&body(req)).unwrap()),
            ours: |req| {
                black_box(ready(Valid::<Form<NewUser>>::from_request(req, &())).unwrap());
            },
        },
        Case {
            name: "query of two fields",
            request: || {
                let mut req = Request::new(Body::empty());
                *req.uri_mut() = http::Uri::from_static("/search?q=tower+chain&page=3");
                req
            },
            alone: || {
                let query = black_box("q=tower+chain&page=3");
                checked(serde_html_form::from_str::<Search>(query).unwrap());
            },
            by_hand: |req| {
                let query = req.uri().query().unwrap();
                checked(serde_html_form::from_str::<Search>(query).unwrap());
            },
            ours: |req| {
                let (mut parts, _) = req.into_parts();
                black_box(
                    ready(Valid::<Query<Search>>::from_request_parts(&mut parts, &())).unwrap(),
                );
            },
        },
    ]
}

fn post(kind: &'static str, body: Bytes) -> Request {
    http::Request::post("/users").header("content-type", kind).body(Body::from(body)).unwrap()
}

fn body(req: Request) -> Bytes {
    ready(req.into_body().collect()).unwrap().to_bytes()
}

fn checked<T: Validate>(data: T) {
    data.validate().unwrap();
    black_box(data);
}

fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn main() {
    let args: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--b")).collect();
    if let [flag, name, way] = &args[..]
        && flag == "--count"
    {
        return repeat(name, way);
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let filter = args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str);
    let cases = || cases().into_iter().filter(|case| case.name.contains(filter));
    for case in cases() {
        let mut group = criterion.benchmark_group(case.name);
        group.bench_function("parsing alone", |b| b.iter(case.alone));
        for (way, run) in [("by hand", case.by_hand), ("Valid", case.ours)] {
            group.bench_function(way, |b| {
                b.iter_batched(case.request, run, BatchSize::SmallInput);
            });
        }
        group.finish();
    }
    criterion.final_summary();

    println!(
        "| input | Valid to by hand, time | instructions alone | by hand | Valid | to by hand |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for case in cases() {
        let counts = ["alone", "by hand", "ours"].map(|way| instructions(case.name, way));
        let shown = counts.map(|count| count.map_or("?".to_owned(), |count| count.to_string()));
        let ratio = match counts {
            [_, Some(by_hand), Some(ours)] => format!("{:.3}", ours as f64 / by_hand as f64),
            _ => "?".to_owned(),
        };
        println!(
            "| {} | {:.3} | {} | {ratio} |",
            case.name,
            turn_by_turn(&case),
            shown.join(" | ")
        );
    }
}

/// Returns the ratio of this crate's time to that by hand: the median of many batches, each of which runs both.
fn turn_by_turn(case: &Case) -> f64 {
    let batch = |run: fn(Request)| {
        let requests: Vec<Request> = (0..100).map(|_| (case.request)()).collect();
        let start = Instant::now();
        requests.into_iter().for_each(run);
        start.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..1000)
        .map(|turn| {
            // Alternates which one runs first.
            if turn % 2 == 0 {
                let by_hand = batch(case.by_hand);
                batch(case.ours) / by_hand
            } else {
                let ours = batch(case.ours);
                ours / batch(case.by_hand)
            }
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

const COUNTED: u64 = 100;

/// Runs this program again under callgrind, which counts only inside [`counted_run`].
fn instructions(name: &str, way: &str) -> Option<u64> {
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=*counted_run*",
        ])
        .arg(std::env::current_exe().ok()?)
        .args(["--count", name, way])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let total = text.lines().find_map(|line| line.split_once("Collected : "))?.1.trim();
    Some(total.parse::<u64>().ok()? / COUNTED)
}

fn repeat(name: &str, way: &str) {
    let case = cases().into_iter().find(|case| case.name == name).unwrap();
    for turn in 0..COUNTED + 3 {
        let req = (case.request)();
        match way {
            // Regular expressions are compiled at their first use.
            _ if turn < 3 => (case.ours)(req),
            "by hand" => counted_run(|| (case.by_hand)(req)),
            "ours" => counted_run(|| (case.ours)(req)),
            _ => counted_run(case.alone),
        }
    }
}

#[inline(never)]
fn counted_run(run: impl FnOnce()) {
    run();
    // Code must follow the call, or it becomes a tail call that is not counted.
    black_box([0_u8; 64]);
}
