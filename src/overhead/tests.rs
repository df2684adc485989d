use std::time::Duration;

use super::*;
use crate::{
    Chain, Endpoint, Error, Middleware, MiddlewareExt, Next, Provided, Response, StatusCode,
};

struct Native;

impl Middleware for Native {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        next.run().await
    }
}

async fn function(next: Next<'_>) -> Response {
    next.run().await
}

async fn guard() -> Result<u32, Error> {
    Ok(7)
}

async fn handler(number: Provided<u32>) -> String {
    number.0.to_string()
}

async fn hello() -> &'static str {
    "hello"
}

fn get(path: &str) -> impl FnMut() -> Request + Send + 'static {
    let path = path.to_owned();
    move || http::Request::get(&path).body(Body::empty()).unwrap()
}

async fn measure(service: &ChainService, path: &str) -> OverheadReport {
    Overhead::of(service).request(get(path)).runs(50).run().await
}

fn names(report: &OverheadReport) -> Vec<&str> {
    report.steps().iter().map(StepCost::name).collect()
}

/// Works for this long, by the clock that measures it.
fn work(micros: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
}

#[tokio::test]
async fn steps_of_every_kind_are_named_as_in_the_tree() {
    let service = Chain::new()
        .always(Native)
        .use_(function)
        .guard(guard)
        .provide("state")
        .use_(tower::layer::util::Identity::new())
        .use_at("/", Native)
        .catch_panics()
        .get(handler)
        .build();
    let report = measure(&service, "/").await;
    let tree = service.to_string();
    let labels: Vec<String> = report.tree().map(|(label, _)| label).collect();
    assert_eq!(labels.join("\n") + "\n", tree);
    assert!(report.tree().all(|(_, step)| step.is_some()), "{report}");
    assert_eq!(names(&report)[..4], ["/", "always Native", "use function", "guard guard"]);
}

#[tokio::test]
async fn only_the_path_of_the_request_is_shown() {
    let users = Chain::new().use_(Native).at("/{id}", |c| c.get(hello).post(hello));
    let service = Chain::new()
        .at("/other", |c| c.use_(Native).get(hello))
        .on_no_match(hello)
        .mount("/api/users", users)
        .use_(function)
        .at("/", |c| c.get(hello))
        .build();
    let report = measure(&service, "/api/users/7").await;
    let labels: Vec<String> = report.tree().map(|(label, _)| label).collect();
    assert_eq!(
        labels,
        ["/", "└─ /api/users", "   ├─ use Native", "   └─ /{id}", "      └─ GET hello"]
    );
    let paths: Vec<&str> = report.steps().iter().map(StepCost::path).collect();
    assert_eq!(paths, ["", "/api/users", "/api/users/{id}"]);

    assert_eq!(names(&measure(&service, "/").await), ["/", "use function", "GET hello"]);
    assert_eq!(names(&measure(&service, "/nowhere").await), ["/"]);
}

#[tokio::test]
async fn every_step_of_a_long_chain_is_reported() {
    let mut expected = vec!["/"];
    let chain = Chain::new();
    macro_rules! eight {
        ($chain:expr) => {{
            expected.extend(["use Native", "use function"].repeat(4));
            $chain
                .use_(Native)
                .use_(function)
                .use_(Native)
                .use_(function)
                .use_(Native)
                .use_(function)
                .use_(Native)
                .use_(function)
        }};
    }
    let chain = eight!(eight!(eight!(eight!(chain))));
    expected.push("GET hello");
    assert_eq!(names(&measure(&chain.get(hello).build(), "/").await), expected);
}

#[tokio::test]
async fn a_service_without_a_path_of_its_own_is_one_step() {
    let inner = Chain::new().always(Native).use_(function).get(hello).build();
    let service = Chain::new().use_(Native).service("/inner", inner.clone()).build();
    let report = measure(&service, "/inner/x").await;
    assert_eq!(names(&report), ["/", "use Native", "ALL ChainService"]);
    let behind = Chain::new().use_(Native.into_layer()).get(hello).build();
    assert_eq!(names(&measure(&behind, "/").await), ["/", "use ChainLayer", "GET hello"]);
}

#[tokio::test]
async fn the_shares_are_the_whole() {
    let service = Chain::new().use_(Native).at("/a", |c| c.use_(function).get(hello)).build();
    let report = measure(&service, "/a").await;
    let shares: f64 = report.steps().iter().map(StepCost::share).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{report}");
    let total: Duration = report.steps().iter().map(StepCost::time).sum();
    assert!(total.abs_diff(report.total()) <= Duration::from_nanos(4), "{report}");
}

#[tokio::test]
async fn a_step_has_its_own_time_alone() {
    async fn before_and_after(next: Next<'_>) -> Response {
        work(100);
        let response = next.run().await;
        work(100);
        response
    }
    async fn busy() {
        work(300);
    }
    let service = Chain::new().always(Native).use_(before_and_after).get(busy).build();
    let report = measure(&service, "/").await;
    let time = |step: usize| report.steps()[step].time().as_micros();
    assert!(time(2) >= 199 && time(3) >= 299 && time(2) < time(3), "{report}");
    assert!(time(0) < 90 && time(1) < 90, "{report}");
    assert!(report.unprobed() >= Duration::from_micros(500), "{report}");
}

#[tokio::test]
async fn waiting_belongs_to_the_step_that_waits() {
    async fn waits() {
        tokio::task::yield_now().await;
        work(50);
        tokio::task::yield_now().await;
    }
    let service = Chain::new().always(Native).use_(function).get(waits).build();
    let report = measure(&service, "/").await;
    let [chain, native, function, waits] = report.steps() else { panic!("{report}") };
    assert!(waits.waited() > Duration::ZERO && waits.waited() < waits.time(), "{report}");
    assert!(waits.time() - waits.waited() >= Duration::from_micros(45), "{report}");
    for step in [chain, native, function] {
        assert_eq!(step.waited(), Duration::ZERO, "{report}");
    }
    assert!(report.to_string().contains("waiting"));
}

#[tokio::test]
async fn who_gives_up_on_the_rest_waits_itself() {
    async fn gives_up(next: Next<'_>) -> &'static str {
        // As a timeout does whose time is up.
        assert!(futures_util::FutureExt::now_or_never(next.run()).is_none());
        tokio::task::yield_now().await;
        "too late"
    }
    let service = Chain::new()
        .use_(gives_up)
        .use_(function)
        .get(async || std::future::pending::<()>().await)
        .build();
    let report = measure(&service, "/").await;
    let [chain, gives_up, function, handler] = report.steps() else { panic!("{report}") };
    assert!(gives_up.waited() > Duration::ZERO, "{report}");
    for step in [chain, function, handler] {
        assert_eq!(step.waited(), Duration::ZERO, "{report}");
    }
}

#[tokio::test]
async fn other_requests_of_the_chain_are_not_counted_in() {
    async fn waits() {
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    async fn other() {
        work(100);
    }
    let service = Chain::new()
        .use_(Native)
        .at("/waits", |c| c.get(waits))
        .at("/other", |c| c.get(other))
        .build();
    let others = tokio::spawn({
        let service = service.clone();
        async move {
            loop {
                service.handle(get("/other")()).await;
                tokio::task::yield_now().await;
            }
        }
    });
    let report = measure(&service, "/waits").await;
    others.abort();
    let [_, native, waits] = report.steps() else { panic!("{report}") };
    assert!(native.time() < Duration::from_micros(90), "{report}");
    // What others do meanwhile is time that the request waits.
    assert!(waits.waited() >= Duration::from_micros(100), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_on_every_runtime() {
    async fn waits() {
        tokio::task::yield_now().await;
    }
    let service = Chain::new().use_(function).get(waits).build();
    let report = tokio::spawn(async move { measure(&service, "/").await }).await.unwrap();
    assert_eq!(names(&report), ["/", "use function", "GET waits"]);
}

#[tokio::test]
async fn panics_and_refusals_are_measured_as_well() {
    async fn panics() {
        panic!("on purpose");
    }
    async fn refuses() -> Result<(), Error> {
        Err(Error::new(StatusCode::FORBIDDEN, "No"))
    }
    let service = Chain::new().catch_panics().use_(Native).get(panics).build();
    let report = measure(&service, "/").await;
    assert_eq!(names(&report), ["/", "catch CatchPanics", "use Native", "GET panics"]);
    assert_eq!(report.statuses(), [(StatusCode::INTERNAL_SERVER_ERROR, 50)]);

    let service = Chain::new().guard(refuses).get(hello).build();
    let report = measure(&service, "/").await;
    assert_eq!(names(&report), ["/", "guard refuses"]);
}

#[tokio::test]
async fn responses_are_counted_by_status() {
    let service = Chain::new().at("/a", |c| c.get(hello)).build();
    let mut paths = ["/a", "/a", "/b", "/b"].iter().cycle();
    let requests = move || get(paths.next().unwrap())();
    let report = Overhead::of(&service).request(requests).runs(40).run().await;
    let (found, missing) = (StatusCode::OK, StatusCode::NOT_FOUND);
    let mut statuses = report.statuses().to_vec();
    statuses.sort_unstable();
    assert_eq!(statuses.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [found, missing]);
    assert_eq!(statuses.iter().map(|(_, requests)| requests).sum::<usize>(), 40);
    assert!(report.to_string().contains("200 ("), "{report}");
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let service = Chain::new().use_(function).get(hello).build();
    measure(&service, "/").await;
    assert!(crate::probe::record::is_idle());
    // Given up in the middle, too.
    async fn never() {
        std::future::pending::<()>().await;
    }
    let service = Chain::new().use_(function).get(never).build();
    let given_up = tokio::time::timeout(Duration::ZERO, measure(&service, "/")).await;
    assert!(given_up.is_err() && crate::probe::record::is_idle());
}

#[tokio::test]
async fn a_table_has_a_line_for_each_step() {
    let service = Chain::new().use_(Native).at("/a", |c| c.get(hello)).build();
    let report = Overhead::of(&service).request(get("/a")).allocations(|| 0).runs(0).run().await;
    let table = report.to_string();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "GET /a answers 200, median of 1 requests");
    let columns: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(columns, ["step", "time", "share", "allocations"]);
    assert!(lines[4].starts_with("├─ use Native   ") && lines[4].ends_with(" 0"), "{table}");
    assert_eq!(lines[5], "└─ /a");
    let time = |line: &str| line.contains(" µs ") || line.contains(" below noise ");
    assert!(lines[6].starts_with("   └─ GET hello ") && time(lines[6]), "{table}");
    assert!(lines[7].starts_with("total") && lines[7].contains(" 100.0 % "), "{table}");
    assert!(lines[8].starts_with("without probes "), "{table}");
    let rest: &[&str] = match cfg!(debug_assertions) {
        true => &["", super::report::DEBUG_BUILD],
        false => &[],
    };
    assert_eq!(&lines[9..], rest);
}

#[tokio::test]
async fn json_is_parsed_and_svg_is_well_formed() {
    struct Hostile;
    impl Middleware for Hostile {
        type Provides = ();

        async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
            next.run().await
        }

        fn name(&self) -> String {
            "\"<b>&amp;\\\n\u{1}]]>".to_owned()
        }
    }
    let service = Chain::new().use_(Hostile).at("/<\"&{id}", |c| c.get(hello)).build();
    let report =
        Overhead::of(&service).request(get("/%3C%22&7")).allocations(|| 0).runs(10).run().await;

    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["request"], "GET /%3C%22&7");
    assert_eq!(json["statuses"], serde_json::json!([{ "status": 200, "requests": 10 }]));
    assert_eq!(json["allocations"], 0);
    assert_eq!(json["debug_build"], cfg!(debug_assertions));
    assert_eq!(json["total_ns"], u64::try_from(report.total().as_nanos()).unwrap());
    let steps = json["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3);
    assert_eq!(steps[1]["name"], "use \"<b>&amp;\\\n\u{1}]]>");
    assert_eq!(steps[2]["path"], "/<\"&{id}");
    let shares: f64 = steps.iter().map(|step| step["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-5);

    let svg = report.to_svg();
    let image = roxmltree::Document::parse(&svg).unwrap();
    let root = image.root_element();
    assert_eq!((root.tag_name().name(), root.tag_name().namespace()), ("svg", Some(SVG)));
    let texts: Vec<&str> = root.descendants().filter_map(|node| node.text()).collect();
    assert!(texts.contains(&"└─ /<\"&{id}"), "{svg}");
    assert!(texts.contains(&"├─ use \"<b>&amp;\\\u{fffd}\u{fffd}]]>"), "{svg}");
    let bars = root.descendants().filter(|node| node.attribute("class") == Some("bar"));
    assert_eq!(bars.count(), 3);
    assert!(svg.contains("0 allocations"));
}

#[tokio::test]
async fn without_a_counter_no_allocations_are_reported() {
    let service = Chain::new().get(hello).build();
    let report = Overhead::of(&service).runs(5).run().await;
    assert_eq!(report.allocations(), None);
    assert!(!report.to_string().contains("allocations"));
    assert!(!report.to_svg().contains("allocation"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert!(json["allocations"].is_null() && json["steps"][0]["allocations"].is_null());
}

const SVG: &str = "http://www.w3.org/2000/svg";
