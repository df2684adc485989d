//! The memory that validating the worst input takes. Validation must not block the async executor.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread::available_parallelism;
use std::time::Duration;

use allocation_counter::measure;
use http::StatusCode;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::oneshot;
use tower_chain::extract::{ByField, InvalidInput, Params, PeerAddr, Unchecked};
use tower_chain::middleware::garde::Garde;
use tower_chain::{Body, Chain, ChainService, Fields, Form, Json, Query, Valid, ValidateInput};
use validator::{Validate as _, ValidationError};

use crate::chunks;

/// The default limit for a body.
const MIB: usize = 1 << 20;

/// Peak of the allocations of one request. It is less than the 32 MiB that the process may grow by, because the process has other memory too.
const MOST: u64 = 26 << 20;

#[derive(Clone, Default, Deserialize, validator::Validate, garde::Validate, serde::Serialize)]
#[serde(default)]
struct Item {
    #[validate(length(min = 1))]
    #[garde(length(min = 1))]
    name: String,
    #[validate(email)]
    #[garde(email)]
    email: String,
}

/// Many fields, each of which breaks several rules.
#[derive(Clone, Default, Deserialize, validator::Validate, garde::Validate, serde::Serialize)]
#[serde(default)]
struct Wide {
    #[validate(length(min = 1, max = 2), email, contains(pattern = "@"))]
    #[garde(length(min = 1), email, contains("@"))]
    a: String,
    #[validate(length(min = 1, max = 2), email, contains(pattern = "@"))]
    #[garde(length(min = 1), email, contains("@"))]
    b: String,
    #[validate(length(min = 1, max = 2), email, contains(pattern = "@"))]
    #[garde(length(min = 1), email, contains("@"))]
    c: String,
    #[validate(length(min = 1, max = 2), email, contains(pattern = "@"))]
    #[garde(length(min = 1), email, contains("@"))]
    d: String,
    #[validate(length(min = 1, max = 2), email, contains(pattern = "@"))]
    #[garde(length(min = 1), email, contains("@"))]
    e: String,
    #[validate(range(min = 1, exclusive_min = 0, max = 5))]
    #[garde(range(min = 1))]
    f: u32,
    #[validate(range(min = 1, exclusive_min = 0, max = 5))]
    #[garde(range(min = 1))]
    g: u32,
    #[validate(required)]
    #[garde(required)]
    h: Option<u32>,
}

#[derive(Clone, Default, Deserialize, validator::Validate, garde::Validate, serde::Serialize)]
#[serde(default)]
struct Nested {
    #[validate(length(max = 10), nested)]
    #[garde(length(max = 10), dive)]
    items: Vec<Item>,
    #[validate(length(min = 1))]
    #[garde(length(min = 1))]
    name: String,
}

/// Each level copies all levels below it into its error.
#[derive(Clone, Default, Deserialize, validator::Validate, serde::Serialize)]
#[serde(default)]
struct Node {
    #[validate(length(min = 1000), nested)]
    children: Vec<Node>,
    #[validate(length(max = 1))]
    text: String,
}

#[derive(Clone, Default, Deserialize, validator::Validate, garde::Validate, serde::Serialize)]
#[serde(default)]
struct Flat {
    #[serde(flatten)]
    #[validate(nested)]
    #[garde(dive)]
    item: Item,
    #[validate(length(min = 1))]
    #[garde(length(min = 1))]
    nick: String,
}

#[derive(Clone, Deserialize, serde::Serialize)]
#[serde(untagged)]
enum Choice {
    Item(Item),
}

impl validator::Validate for Choice {
    fn validate(&self) -> Result<(), validator::ValidationErrors> {
        let Self::Item(item) = self;
        item.validate()
    }
}

impl garde::Validate for Choice {
    type Context = ();

    fn validate_into(
        &self,
        context: &(),
        parent: &mut dyn FnMut() -> garde::Path,
        report: &mut garde::Report,
    ) {
        let Self::Item(item) = self;
        item.validate_into(context, parent, report);
    }
}

#[derive(Clone, Deserialize, validator::Validate, garde::Validate)]
struct Items<T: validator::Validate + garde::Validate<Context = ()> + serde::Serialize> {
    #[validate(nested)]
    #[garde(dive)]
    items: Vec<T>,
}

#[derive(Clone, Deserialize, Fields, validator::Validate)]
struct Required {
    #[validate(nested)]
    items: Vec<RequiredItem>,
}

#[derive(Clone, Deserialize, Fields, validator::Validate, serde::Serialize)]
struct RequiredItem {
    #[validate(length(max = 1), email)]
    name: String,
    #[validate(length(max = 1), email)]
    email: String,
    #[serde(default)]
    #[validate(required)]
    age: Option<u8>,
}

#[derive(Clone, Deserialize, validator::Validate, garde::Validate)]
struct Maps {
    #[serde(default)]
    #[validate(nested)]
    #[garde(dive)]
    hash: HashMap<String, Item>,
    #[serde(default)]
    #[validate(nested)]
    #[garde(dive)]
    tree: BTreeMap<String, Item>,
}

#[derive(Clone, Deserialize, validator::Validate, garde::Validate)]
struct Words {
    #[validate(length(max = 1))]
    #[garde(length(max = 1), inner(length(min = 1), contains("x")))]
    a: Vec<String>,
}

/// Runs a future without a runtime on this thread, to count its allocations.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

fn request(path: &str, kind: &str, body: &'static [u8]) -> http::Request<Body> {
    let body = Body::from(bytes::Bytes::from_static(body));
    http::Request::post(path).header("content-type", kind).body(body).unwrap()
}

fn leak(body: String) -> &'static [u8] {
    Box::leak(body.into_bytes().into_boxed_slice())
}

/// A list of as many of these as fit into a body.
fn list(prefix: &str, item: &str, suffix: &str) -> String {
    let count = (MIB - prefix.len() - suffix.len() - item.len()) / (item.len() + 1);
    format!("{prefix}{}{item}{suffix}", format!("{item},").repeat(count))
}

fn chain(invalid: InvalidInput) -> ChainService {
    macro_rules! routes {
        ($engine:ident, $prefix:literal, $chain:expr) => {
            $chain
                .at(concat!($prefix, "/list"), |c| {
                    c.post(async |_: $engine<Json<Items<Item>>>| "fine")
                })
                .at(concat!($prefix, "/top"), |c| {
                    c.post(async |_: $engine<Json<Vec<Item>>>| "fine")
                })
                .at(concat!($prefix, "/wide"), |c| {
                    c.post(async |_: $engine<Json<Items<Wide>>>| "fine")
                })
                .at(concat!($prefix, "/nested"), |c| {
                    c.post(async |_: $engine<Json<Items<Nested>>>| "fine")
                })
                .at(concat!($prefix, "/flat"), |c| {
                    c.post(async |_: $engine<Json<Items<Flat>>>| "fine")
                })
                .at(concat!($prefix, "/choice"), |c| {
                    c.post(async |_: $engine<Json<Items<Choice>>>| "fine")
                })
                .at(concat!($prefix, "/maps"), |c| c.post(async |_: $engine<Json<Maps>>| "fine"))
                .at(concat!($prefix, "/words"), |c| {
                    c.post(async |_: $engine<Json<Words>>| "fine")
                        .put(async |_: $engine<Form<Words>>| "fine")
                        .get(async |_: $engine<Query<Words>>| "fine")
                })
                .at(concat!($prefix, "/params/{p}"), |c| {
                    c.get(async |_: $engine<Params<Words>>| "fine")
                })
                .at(concat!($prefix, "/unchecked"), |c| {
                    c.post(async |data: Unchecked<Json<Items<Item>>>| {
                        $engine::check(data).await.map(|_| "fine")
                    })
                })
        };
    }
    let chain = Chain::new()
        .provide(invalid)
        .at("/validator/tree", |c| c.post(async |_: Valid<Json<Node>>| "fine"))
        .at("/by_field", |c| c.post(async |_: Valid<ByField<Json<Required>>>| "fine"))
        .at("/plain", |c| c.post(async |_: Json<Items<Wide>>| "fine"))
        .at("/validator/step", |c| {
            c.use_(ValidateInput::<Json<Items<Item>>>::new()).post(async || "fine")
        })
        .at("/garde/step", |c| c.use_(Garde::<Json<Items<Item>>>::step()).post(async || "fine"));
    let chain = routes!(Valid, "/validator", chain);
    let chain = routes!(Garde, "/garde", chain);
    chain.build()
}

async fn send(chain: &ChainService, req: http::Request<Body>) -> (u16, Value) {
    let response = chain.handle(req).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[test]
fn the_worst_body_takes_less_than_32_mib() {
    let chain = chain(InvalidInput::new());
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let keys =
        |item: &str| (0..60_000).map(|n| format!("\"{n:x}\":{item}")).collect::<Vec<_>>().join(",");
    let deep = |depth: usize, text: &str| {
        let (open, close) = (r#"{"text":"xx","children":["#.repeat(depth), "]}".repeat(depth));
        format!("{open}{{\"text\":\"{text}\",\"children\":[]}}{close}")
    };
    let items = |item: &str| list("{\"items\":[", item, "]}");
    let mut cases = vec![
        ("/validator/tree", json, list(r#"{"children":["#, "{}", "]}")),
        ("/validator/tree", json, deep(60, &"x".repeat(MIB - 4096))),
        ("/validator/tree", json, deep(10, &"x".repeat(MIB - 4096))),
        ("/validator/tree", json, list(&r#"{"children":["#.repeat(60), "{}", &"]}".repeat(60))),
    ];
    let by_engine = [
        ("/list", json, items("{}")),
        ("/list", json, items(r#"{"name":"","email":""}"#)),
        ("/list", json, items(r#"{"name":"a","email":"a@b.de"}"#)),
        ("/step", json, items("{}")),
        ("/unchecked", json, items("{}")),
        ("/top", json, list("[", "{}", "]")),
        ("/wide", json, items("{}")),
        ("/nested", json, items("{}")),
        ("/nested", json, items(r#"{"items":[{},{},{},{}]}"#)),
        ("/nested", json, list("{\"items\":[{\"items\":[", "{}", "]}]}")),
        ("/flat", json, items("{}")),
        ("/choice", json, items("{}")),
        ("/maps", json, format!("{{\"hash\":{{{}}}}}", keys("{}"))),
        ("/maps", json, format!("{{\"tree\":{{{}}}}}", keys("{}"))),
        ("/words", json, list("{\"a\":[", "\"\"", "]}")),
        ("/words", form, "a&".repeat(MIB / 2)),
        ("/words", form, "a=1&b=2&".repeat(MIB / 8)),
        ("/words", form, "&".repeat(MIB)),
    ];
    for (path, kind, body) in by_engine {
        for engine in ["/validator", "/garde"] {
            cases.push((Box::leak(format!("{engine}{path}").into_boxed_str()), kind, body.clone()));
        }
    }
    for (path, kind, body) in cases {
        assert!(body.len() <= MIB && body.len() > MIB / 2, "{path} {}", body.len());
        let start = body.get(..40).unwrap_or_default().to_owned();
        let body = leak(body);
        // The counter counts only this thread.
        let send = || {
            let mut req = request(path, kind, body);
            if kind == form {
                *req.method_mut() = http::Method::PUT;
            }
            block_on(send(&chain, req)).0
        };
        let mut status = 0;
        let peak = measure(|| status = send()).bytes_max;
        assert!([413, 422].contains(&status), "{path} {start}: {status}");
        assert!(peak < MOST, "{path} {start}: {} KiB", peak / 1024);
    }
}

/// An input of one kind: its text before the items, of an item, and after them; the number of values without items, and in each item.
type Case = (&'static str, String, &'static str, String, usize, usize);

#[test]
fn as_many_errors_as_there_may_be_values_take_less_than_32_mib() {
    let chain = chain(InvalidInput::new());
    let case = |path, prefix: &str, item, suffix: &str, fixed, each| -> Case {
        (path, prefix.to_owned(), item, suffix.to_owned(), fixed, each)
    };
    let items = |path, item, each| case(path, "{\"items\":[", item, "]}", 1, each);
    // A tree of 40 levels: each value in its last list may be copied 40 times.
    let deep = |open: &str| open.repeat(40);
    let tree = case(
        "/validator/tree",
        &deep("{\"children\":["),
        "{}",
        &deep("]}"),
        2 + (1..40).map(|level| level * 3).sum::<usize>(),
        40 * 3,
    );
    let mut cases = vec![tree, case("/validator/tree", "{\"children\":[", "{}", "]}", 2, 3)];
    for (validator, garde, each) in [
        ("/validator/list", "/garde/list", 3),
        ("/validator/step", "/garde/step", 3),
        ("/validator/unchecked", "/garde/unchecked", 3),
        ("/validator/wide", "/garde/wide", 9),
        ("/validator/nested", "/garde/nested", 3),
        ("/validator/flat", "/garde/flat", 17),
        ("/validator/choice", "/garde/choice", 17),
    ] {
        cases.push(items(validator, "{}", each));
        cases.push(items(garde, "{}", each));
    }
    for (top, nested, words, map) in [
        ("/validator/top", "/validator/nested", "/validator/words", "/validator/maps"),
        ("/garde/top", "/garde/nested", "/garde/words", "/garde/maps"),
    ] {
        cases.push(case(top, "[", "{}", "]", 0, 3));
        cases.push(case(nested, "{\"items\":[{\"items\":[", "{}", "]}]}", 4, 6));
        cases.push(items(nested, "{\"items\":[{},{},{},{}]}", 27));
        cases.push(case(words, "{\"a\":[", "\"\"", "]}", 1, 1));
        for member in ["hash", "tree"] {
            cases.push(case(map, &format!("{{\"{member}\":{{"), "\"#\":{}", "}}", 2, 3));
        }
    }
    for (path, prefix, item, suffix, fixed, each) in cases {
        let most = (20_000 - fixed) / each;
        for (count, expected) in [(most, 422), (most + 1, 413)] {
            let list: Vec<_> = (0..count).map(|n| item.replace('#', &format!("{n:x}"))).collect();
            let body = leak(format!("{prefix}{}{suffix}", list.join(",")));
            let mut status = 0;
            let peak = measure(|| {
                status = block_on(send(&chain, request(path, "application/json", body))).0;
            });
            assert_eq!(status, expected, "{path} {prefix} {item} {count}");
            let kib = peak.bytes_max / 1024;
            assert!(peak.bytes_max < MOST, "{path} {prefix} {item} {count}: {kib} KiB");
        }
    }
}

#[test]
fn the_worst_query_takes_less_than_32_mib() {
    let chain = chain(InvalidInput::new());
    for path in ["words", "params/x"] {
        for engine in ["validator", "garde"] {
            // The longest URI that `http` accepts.
            let uri = format!("/{engine}/{path}?{}", "a&".repeat(32_700));
            let mut status = 0;
            let peak = measure(|| {
                let req = http::Request::get(&uri).body(Body::empty()).unwrap();
                status = block_on(send(&chain, req)).0;
            });
            assert!([413, 414].contains(&status), "{path} {engine} {status}");
            assert!(peak.bytes_max < MOST, "{path} {engine} {}", peak.bytes_max);
        }
    }
}

#[tokio::test]
async fn values_are_counted_as_the_setting_says() {
    let default = chain(InvalidInput::new());
    let few = chain(InvalidInput::new().max_values(7));
    let json = "application/json";
    let list = |count: usize| leak(format!("{{\"items\":[{}{{}}]}}", "{},".repeat(count - 1)));
    for engine in ["/validator", "/garde"] {
        for (path, body, status) in [
            // The field `items`, and an item with two fields each.
            ("/list", list(2), 422),
            ("/list", list(3), 413),
            ("/step", list(2), 422),
            ("/step", list(3), 413),
            ("/unchecked", list(3), 413),
            ("/words", &br#"{"a":["x","x","x","x","x","x"]}"#[..], 422),
            ("/words", br#"{"a":["x","x","x","x","x","x","x"]}"#, 413),
            ("/words", br#"{"a":["x","x","x","x","x","x"],"b":[1,2,3,4,5]}"#, 422),
            ("/maps", br#"{"hash":{"a":{}}}"#, 422),
            ("/maps", br#"{"hash":{"a":{},"b":{}}}"#, 413),
        ] {
            let (found, body) = send(&few, request(&format!("{engine}{path}"), json, body)).await;
            assert_eq!(found, status, "{engine}{path} {body}");
            if status == 413 {
                assert_eq!(body["limit"], 7);
                assert_eq!(body["detail"], "The input has too many values");
            }
        }
        for (pairs, status) in [("a=x&a=x", 422), ("a=&a=&c=&d=&e=&f=&g=", 422), ("&&&&&&&&", 413)]
        {
            let mut req = request(
                &format!("{engine}/words"),
                "application/x-www-form-urlencoded",
                leak(pairs.into()),
            );
            *req.method_mut() = http::Method::PUT;
            assert_eq!(send(&few, req).await.0, status, "{engine} {pairs}");
            let uri = format!("{engine}/words?{pairs}");
            let req = http::Request::get(uri).body(Body::empty()).unwrap();
            let status = if status == 413 { 414 } else { status };
            assert_eq!(send(&few, req).await.0, status, "{engine} {pairs}");
        }
        // All errors are reported if the input is within the limit.
        let (status, body) =
            send(&default, request(&format!("{engine}/list"), json, list(6_000))).await;
        assert_eq!(status, 422);
        assert_eq!(body["errors"].as_array().map(Vec::len), Some(100));
        assert_eq!(body["more"], true);
        let many = chain(InvalidInput::new().max_values(usize::MAX));
        let (status, _) = send(&many, request(&format!("{engine}/list"), json, list(8_000))).await;
        assert_eq!(status, 422);
    }
}

#[tokio::test]
async fn json_that_is_not_validated_may_have_any_number_of_values() {
    let chain = Chain::new().post(async |Json(list): Json<Vec<u8>>| list.len().to_string()).build();
    let body = leak(format!("[{}0]", "0,".repeat(200_000)));
    assert_eq!(send(&chain, request("/", "application/json", body)).await, (200, 200_001.into()));
}

/// Waits until another task of the same thread has sent a message.
fn after_another_task(_: &str) -> Result<(), ValidationError> {
    let waiting = OTHER_TASK.lock().unwrap();
    match waiting.as_ref().map(|other| other.recv_timeout(Duration::from_secs(20))) {
        Some(Ok(())) => Ok(()),
        _ => Err(ValidationError::new("blocked")),
    }
}

static OTHER_TASK: std::sync::Mutex<Option<mpsc::Receiver<()>>> = std::sync::Mutex::new(None);

#[derive(Clone, Deserialize, validator::Validate)]
struct Waiting {
    #[validate(custom(function = after_another_task))]
    text: String,
}

#[tokio::test(flavor = "current_thread")]
async fn long_input_does_not_block_the_reactor() {
    let chain = Chain::new()
        .provide(7_u32)
        .at("/extractor", |c| c.post(async |_: Valid<Json<Waiting>>| "fine"))
        .at("/step", |c| {
            c.use_(ValidateInput::<Json<Waiting>>::new()).post(
                async |seven: tower_chain::Provided<u32>, text: String| {
                    format!("{} {}", seven.0, text.len())
                },
            )
        })
        .at("/unchecked", |c| {
            c.post(async |data: Unchecked<Json<Waiting>>| Valid::check(data).await.map(|_| "fine"))
        })
        .build();
    let body = leak(format!("{{\"text\":\"{}\"}}", "x".repeat(64 * 1024)));
    for path in ["/extractor", "/step", "/unchecked"] {
        let (sender, receiver) = mpsc::channel();
        *OTHER_TASK.lock().unwrap() = Some(receiver);
        let (started, start) = oneshot::channel::<()>();
        tokio::spawn(async move {
            start.await.unwrap();
            sender.send(()).unwrap();
        });
        started.send(()).unwrap();
        // Polled first: if the rule ran on the executor's thread, it would never get the message.
        let (status, _) = send(&chain, request(path, "application/json", body)).await;
        assert_eq!(status, 200, "{path}");
    }
}

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static MOST_RUNNING: AtomicUsize = AtomicUsize::new(0);

fn counted(_: &str) -> Result<(), ValidationError> {
    let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
    MOST_RUNNING.fetch_max(running, Ordering::SeqCst);
    std::thread::yield_now();
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

#[derive(Deserialize, validator::Validate)]
struct Counted {
    #[validate(custom(function = counted))]
    text: String,
}

#[tokio::test(flavor = "current_thread")]
async fn as_much_long_input_as_there_are_cores_is_validated_at_a_time() {
    let chain = Chain::new().post(async |_: Valid<Json<Counted>>| "fine").build();
    let body = leak(format!("{{\"text\":\"{}\"}}", "x".repeat(16 * 1024)));
    let requests = (0..64).map(|_| send(&chain, request("/", "application/json", body)));
    for (status, _) in futures_util::future::join_all(requests).await {
        assert_eq!(status, 200);
    }
    let cores = available_parallelism().map_or(1, Into::into);
    assert!((1..=cores).contains(&MOST_RUNNING.load(Ordering::SeqCst)));
}

static ORDER: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

fn in_order(text: &str) -> Result<(), ValidationError> {
    ORDER.lock().unwrap().push(text.get(..1).unwrap_or_default().to_owned());
    Ok(())
}

#[derive(Deserialize, validator::Validate)]
struct Ordered {
    #[validate(custom(function = in_order))]
    text: String,
}

#[tokio::test(flavor = "current_thread")]
async fn long_input_of_one_client_does_not_delay_that_of_another() {
    let chain = Chain::new().post(async |_: Valid<Json<Ordered>>| "fine").build();
    let send_as = |client: &str, address: [u8; 4]| {
        let body = leak(format!("{{\"text\":\"{}\"}}", client.repeat(16 * 1024)));
        let mut req = request("/", "application/json", body);
        req.extensions_mut().insert(PeerAddr((address, 1).into()));
        send(&chain, req)
    };
    let flood = (0..64).map(|_| send_as("a", [192, 0, 2, 1]));
    let requests = flood.chain([send_as("b", [192, 0, 2, 2])]);
    for (status, _) in futures_util::future::join_all(requests).await {
        assert_eq!(status, 200);
    }
    let cores: usize = available_parallelism().map_or(1, Into::into);
    let order = ORDER.lock().unwrap();
    let position = order.iter().position(|client| client == "b");
    assert!(position.is_some_and(|position| position <= cores), "{order:?}");
}

static THREADS: std::sync::Mutex<Vec<std::thread::ThreadId>> = std::sync::Mutex::new(Vec::new());

fn on_a_thread(_: u8) -> Result<(), ValidationError> {
    THREADS.lock().unwrap().push(std::thread::current().id());
    Ok(())
}

#[derive(Clone, Default, Deserialize, serde::Serialize, validator::Validate)]
#[serde(default)]
struct ManyFields {
    #[validate(custom(function = on_a_thread))]
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: u8,
}

#[tokio::test(flavor = "current_thread")]
async fn a_short_body_with_many_values_does_not_block_the_reactor() {
    #[derive(Clone, Deserialize, validator::Validate)]
    struct Rows {
        #[validate(nested)]
        rows: Vec<ManyFields>,
    }
    let chain = Chain::new()
        .at("/extractor", |c| c.post(async |_: Valid<Json<Rows>>| "fine"))
        .at("/step", |c| c.use_(ValidateInput::<Json<Rows>>::new()).post(async || "fine"))
        .build();
    let here = std::thread::current().id();
    for path in ["/extractor", "/step"] {
        for (count, is_here) in [(3, true), (1300, false)] {
            let rows = vec!["{}"; count].join(",");
            let body = leak(format!("{{\"rows\":[{rows}]}}"));
            assert!(body.len() < 4096);
            let (status, _) = send(&chain, request(path, "application/json", body)).await;
            assert_eq!(status, 200, "{path}");
            let threads = std::mem::take(&mut *THREADS.lock().unwrap());
            assert_eq!(threads.len(), count);
            assert!(threads.iter().all(|thread| (*thread == here) == is_here), "{path} {count}");
        }
    }
}

/// The memory of the whole process, measured in a process of its own for each case.
#[cfg(target_os = "linux")]
#[test]
fn the_process_grows_by_less_than_32_mib() {
    for (case, _, _, _) in worst_bodies() {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::child_with_the_worst_body", "--nocapture"])
            .env(CASE, case)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        let grown: u64 = text
            .lines()
            .find_map(|line| line.split_once("grown by ")?.1.strip_suffix(" KiB")?.parse().ok())
            .unwrap_or_else(|| panic!("{case}: {text} {}", String::from_utf8_lossy(&child.stderr)));
        assert!(grown < 32 * 1024, "{case}: {grown} KiB");
    }
}

/// Does nothing unless the test above started it.
#[cfg(target_os = "linux")]
#[test]
fn child_with_the_worst_body() {
    let Ok(case) = std::env::var(CASE) else { return };
    let (_, path, warm_up, body) =
        worst_bodies().into_iter().find(|(name, ..)| *name == case).unwrap();
    let chain = chain(InvalidInput::new());
    let body = leak(body());
    assert!(body.len() <= MIB);
    for _ in 0..2 {
        block_on(send(&chain, request(path, "application/json", leak(warm_up.to_owned()))));
    }
    let kib = |name: &str| -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
    };
    // The peak so far is that of the start.
    let before = kib("VmRSS");
    let (status, _) = block_on(send(&chain, request(path, "application/json", body)));
    assert!([413, 422].contains(&status), "{status}");
    println!("grown by {} KiB", kib("VmHWM").saturating_sub(before));
}

#[cfg(target_os = "linux")]
const CASE: &str = "TOWER_CHAIN_WORST_BODY";

/// A name, the path, a small body and the worst one.
#[cfg(target_os = "linux")]
type WorstBody = (&'static str, &'static str, &'static str, fn() -> String);

#[cfg(target_os = "linux")]
fn worst_bodies() -> Vec<WorstBody> {
    const MOST_ITEMS: usize = (20_000 - 1) / 3;
    fn most() -> String {
        format!("{{\"items\":[{}{{}}]}}", "{},".repeat(MOST_ITEMS - 1))
    }
    fn objects() -> String {
        list("{\"items\":[", "{}", "]}")
    }
    fn numbers() -> String {
        list("{\"items\":[", "0", "]}")
    }
    fn nested() -> String {
        let half = MIB / 2 - 64;
        format!(
            "{{\"items\":[{{\"name\":\"{}\",\"email\":\"{}\"}}]}}",
            "x".repeat(half),
            "y".repeat(half)
        )
    }
    const ITEM: &str = "{\"items\":[{}]}";
    vec![
        ("validator, objects", "/validator/list", ITEM, objects),
        ("validator, as many errors as possible", "/validator/list", ITEM, most),
        ("validator, long texts", "/validator/list", ITEM, nested),
        ("validator, wide", "/validator/wide", ITEM, objects),
        ("garde, as many errors as possible", "/garde/list", ITEM, most),
        ("by field, objects", "/by_field", ITEM, objects),
        ("by field, as many errors as possible", "/by_field", ITEM, most),
        ("by field, numbers", "/by_field", ITEM, numbers),
        ("by field, long texts", "/by_field", ITEM, nested),
        ("not validated, objects", "/plain", ITEM, objects),
    ]
}

#[derive(Deserialize, validator::Validate)]
struct Panicking {
    #[validate(custom(function = panics))]
    text: String,
}

fn panics(_: &str) -> Result<(), ValidationError> {
    panic!("a rule panics")
}

#[tokio::test(flavor = "current_thread")]
async fn a_rule_that_panics_off_the_reactor_is_a_500() {
    let chain = Chain::new().catch_panics().post(async |_: Valid<Json<Panicking>>| "fine").build();
    let body = leak(format!("{{\"text\":\"{}\"}}", "x".repeat(16 * 1024)));
    let (status, _) = send(&chain, request("/", "application/json", body)).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn long_input_is_validated_without_a_runtime() {
    let chain = chain(InvalidInput::new());
    let body = format!("{{\"items\":[{}{{}}]}}", "{},".repeat(3000));
    let req = http::Request::post("/validator/list")
        .header("content-type", "application/json")
        .body(Body::from_stream(chunks(body.as_bytes())))
        .unwrap();
    assert_eq!(block_on(send(&chain, req)).0, 422);
}
