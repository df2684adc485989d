//! The cost of a chain, as exact counts: allocations, the size of futures, the depth of types.

use std::convert::Infallible;
use std::future::{Future, ready};

use allocation_counter::measure;
use futures_util::FutureExt;
use tower::{Layer, Service};
use tower_chain::{
    Body, BoxMiddleware, Chain, Endpoint, Error, Middleware, MiddlewareExt, Next, Provided,
    Request, Response, StatusCode,
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

async fn bare() -> StatusCode {
    StatusCode::OK
}

fn request(path: &'static str) -> Request {
    let mut req = Request::new(Body::empty());
    *req.uri_mut() = http::Uri::from_static(path);
    req
}

fn poll_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing in these chains waits")
}

/// Counts the allocations of one call, after warm-up calls.
fn allocations<S>(mut service: S, path: &'static str) -> u64
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    for _ in 0..3 {
        let _ = poll_once(service.call(request(path)));
    }
    let req = request(path);
    let mut response = None;
    let info = measure(|| response = Some(poll_once(service.call(req))));
    assert_eq!(response.map(|r| r.map(|r| r.status())), Some(Ok(StatusCode::OK)), "{path}");
    info.count_total
}

#[test]
fn a_hook_of_the_error_alone_allocates_nothing() {
    async fn alone(error: Error) -> StatusCode {
        error.status()
    }
    async fn of_state(error: Error, _: Provided<u8>) -> StatusCode {
        error.status()
    }
    let without = allocations(Chain::new().get(bare).build(), "/");
    let with = allocations(Chain::new().on_error(alone).get(bare).build(), "/");
    assert_eq!(with, without);
    let state = allocations(Chain::new().provide(1_u8).get(bare).build(), "/");
    let copied = allocations(Chain::new().provide(1_u8).on_error(of_state).get(bare).build(), "/");
    assert!(copied - state <= 4, "{copied} {state}");
}

#[cfg(feature = "telemetry")]
#[test]
fn telemetry_allocates_nothing_where_nothing_records_it() {
    use tower_chain::middleware::telemetry::Telemetry;

    let chain = || Chain::new().always(Telemetry::new());
    assert_eq!(allocations(chain().get(bare).into_service(), "/"), 0);
    assert_eq!(allocations(chain().use_(Native).use_(function).get(bare).into_service(), "/"), 0);
    let with = chain().at("/users/{id}", |c| c.get(bare)).into_service();
    let without = Chain::new().at("/users/{id}", |c| c.get(bare)).into_service();
    assert_eq!(allocations(with, "/users/7"), allocations(without, "/users/7"));
    // With a recorder it does allocate, so the counts above are of the path without one.
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        assert_ne!(allocations(chain().get(bare).into_service(), "/"), 0);
    });
}

macro_rules! times {
    ($chain:expr, $m:expr, 1) => {
        $chain.use_($m)
    };
    ($chain:expr, $m:expr, 4) => {
        $chain.use_($m).use_($m).use_($m).use_($m)
    };
    ($chain:expr, $m:expr, 16) => {{
        let chain = times!($chain, $m, 4);
        let chain = times!(chain, $m, 4);
        let chain = times!(chain, $m, 4);
        times!(chain, $m, 4)
    }};
    ($chain:expr, $m:expr, 100) => {{
        let chain = times!($chain, $m, 16);
        let chain = times!(chain, $m, 16);
        let chain = times!(chain, $m, 16);
        let chain = times!(chain, $m, 16);
        let chain = times!(chain, $m, 16);
        let chain = times!(chain, $m, 16);
        times!(chain, $m, 4)
    }};
}

#[test]
fn who_sends_no_body_needs_no_box_for_it() {
    let allocations = |body: &'static [u8]| {
        let mut service = Chain::new().get(bare).into_service();
        // Unlike `Empty`, it has a size even if it is empty.
        let req = http::Request::new(http_body_util::Full::new(bytes::Bytes::from_static(body)));
        measure(|| drop(poll_once(service.call(req)))).count_total
    };
    assert_eq!((allocations(b""), allocations(b"a body")), (0, 1));
}

#[test]
fn a_static_service_allocates_nothing_for_up_to_eight_steps() {
    assert_eq!(allocations(Chain::new().get(bare).into_service(), "/"), 0);
    assert_eq!(allocations(times!(Chain::new(), Native, 1).get(bare).into_service(), "/"), 0);
    assert_eq!(allocations(times!(Chain::new(), Native, 4).get(bare).into_service(), "/"), 0);
    assert_eq!(allocations(times!(Chain::new(), function, 4).get(bare).into_service(), "/"), 0);
}

#[test]
fn more_middleware_costs_at_most_one_allocation_in_eight() {
    assert_eq!(allocations(times!(Chain::new(), Native, 16).get(bare).into_service(), "/"), 2);
    assert_eq!(allocations(times!(Chain::new(), function, 16).get(bare).into_service(), "/"), 2);
    assert_eq!(allocations(times!(Chain::new(), Native, 100).get(bare).into_service(), "/"), 12);
    assert_eq!(allocations(times!(Chain::new(), function, 100).get(bare).into_service(), "/"), 12);
}

/// Counts the allocations of a tower layer: its box, and the extension that carries the match through it.
fn allocations_of_a_layer() -> u64 {
    let by_hand = measure(|| {
        let mut req = request("/");
        req.extensions_mut().insert(1_u32);
    });
    by_hand.count_total + 1
}

#[test]
fn mixed_steps_cost_what_their_layers_do_and_a_box_from_the_ninth_on() {
    async fn guard() -> Result<(), Error> {
        Ok(())
    }
    let layer = || tower::layer::util::Identity::new();
    // The handler is a step as well.
    let seven = || Chain::new().guard(guard).use_(Native).use_(function).guard(guard);
    let seven = || seven().use_(Native).use_(function).use_(Native);
    assert_eq!(allocations(seven().get(bare).into_service(), "/"), 0);
    assert_eq!(allocations(seven().use_(function).get(bare).into_service(), "/"), 1);

    let with_layer = || Chain::new().guard(guard).use_(Native).use_(function).use_(layer());
    let with_layer = || with_layer().guard(guard).use_(Native).use_(function);
    let of_layer = allocations_of_a_layer();
    assert_eq!(allocations(with_layer().get(bare).into_service(), "/"), of_layer);
    let nine = with_layer().use_(Native).get(bare).into_service();
    assert_eq!(allocations(nine, "/"), of_layer + 1);
}

#[test]
fn middleware_chosen_at_run_time_costs_one_box_each() {
    for number in [0, 1, 3] {
        let list: Vec<BoxMiddleware> = (0..number).map(|_| Native.boxed()).collect();
        let chain = Chain::new().use_(list).get(bare);
        assert_eq!(allocations(chain.into_service(), "/"), number);
    }
    let alone = Chain::new().use_(Native.boxed()).get(bare);
    assert_eq!(allocations(alone.into_service(), "/"), 1);
}

#[test]
fn a_built_service_adds_one_allocation() {
    assert_eq!(allocations(Chain::new().get(bare).build(), "/"), 1);
    assert_eq!(allocations(times!(Chain::new(), Native, 4).get(bare).build(), "/"), 1);
    assert_eq!(allocations(times!(Chain::new(), function, 16).get(bare).build(), "/"), 3);
}

#[test]
fn a_path_adds_one_allocation_and_one_for_each_level_with_middleware() {
    let chain = || Chain::new().at("/a", |c| c.get(bare).at("/b", |c| c.get(bare)));
    assert_eq!(allocations(chain().into_service(), "/a"), 1);
    assert_eq!(allocations(chain().into_service(), "/a/b"), 1);
    let mounted = Chain::new().mount("/m", chain());
    assert_eq!(allocations(mounted.into_service(), "/m/a/b"), 1);
    let sealed = Chain::new().mount("/m", chain().seal());
    assert_eq!(allocations(sealed.into_service(), "/m/a/b"), 1);
    let steps = || Chain::new().at("/a", |c| c.use_(Native).get(bare).at("/b", |c| c.get(bare)));
    assert_eq!(allocations(steps().into_service(), "/a"), 1);
    assert_eq!(allocations(steps().into_service(), "/a/b"), 2);
    let mounted = Chain::new().mount("/m", Chain::new().use_(Native).mount("/n", steps()));
    assert_eq!(allocations(mounted.into_service(), "/m/n/a/b"), 3);
    let behind = Chain::new().at("/x", |c| c.get(bare)).use_(Native).at("/a", |c| c.get(bare));
    assert_eq!(allocations(behind.into_service(), "/a"), 1);
}

#[test]
fn a_path_without_parameters_adds_no_extension() {
    async fn count(next: Next<'_>) -> Response {
        assert_eq!(next.matched_path(), Some("/a"));
        assert_eq!(next.extensions().len(), 0);
        next.run().await
    }
    let chain = Chain::new().use_(count).at("/a", |c| c.get(bare));
    assert_eq!(allocations(chain.into_service(), "/a"), 1);
}

#[test]
fn a_guard_that_provides_costs_its_extension_alone() {
    async fn guard() -> Result<u32, Error> {
        Ok(1)
    }
    async fn handler(_: Provided<u32>) -> StatusCode {
        StatusCode::OK
    }
    let by_hand = measure(|| {
        let mut req = request("/");
        req.extensions_mut().insert(1_u32);
    });
    let chain = Chain::new().guard(guard).get(handler);
    assert_eq!(allocations(chain.into_service(), "/"), by_hand.count_total);
}

#[test]
fn a_guard_that_only_checks_allocates_nothing() {
    async fn guard() -> Result<(), Error> {
        Ok(())
    }
    async fn handler(Provided(()): Provided<()>) -> StatusCode {
        StatusCode::OK
    }
    assert_eq!(allocations(Chain::new().guard(guard).get(bare).into_service(), "/"), 0);
    assert_eq!(
        allocations(times!(Chain::new().guard(guard), Native, 4).get(handler).into_service(), "/"),
        0
    );
}

#[test]
fn a_tower_layer_costs_one_box_and_the_first_one_its_extension() {
    let layer = || tower::layer::util::Identity::new();
    let of_one = allocations_of_a_layer();
    let one = Chain::new().use_(layer()).get(bare);
    assert_eq!(allocations(one.into_service(), "/"), of_one);
    let four = Chain::new().use_(layer()).use_(layer()).use_(layer()).use_(layer()).get(bare);
    assert_eq!(allocations(four.into_service(), "/"), of_one + 3);
}

#[test]
fn a_native_step_adds_at_most_64_bytes_of_future() {
    fn size<S: Service<Request>>(mut service: S) -> usize {
        size_of_val(&service.call(request("/")))
    }
    let sizes = [
        size(Chain::new().get(bare).into_service::<Body>()),
        size(Chain::new().use_(Native).get(bare).into_service::<Body>()),
        size(Chain::new().use_(Native).use_(Native).get(bare).into_service::<Body>()),
        size(Chain::new().use_(Native).use_(Native).use_(Native).get(bare).into_service::<Body>()),
    ];
    for pair in sizes.windows(2) {
        assert!(pair[1] - pair[0] <= 64, "{sizes:?}");
    }
}

#[test]
fn a_hundred_steps_of_mixed_kinds_run() {
    async fn guard() -> Result<(), Error> {
        Ok(())
    }
    macro_rules! mixed {
        ($chain:expr) => {
            $chain
                .use_(Native)
                .use_(function)
                .use_(tower::layer::util::Identity::new())
                .always(Native)
                .at("/other", |c| c.get(bare))
        };
    }
    let chain = mixed!(Chain::new().guard(guard));
    let chain = mixed!(chain.at("/x", |c| mixed!(c).get(bare)));
    // A duplicate path is an error when the chain is built: the copy of `/other`.
    let error = chain.try_build().map(|_| ()).map_err(|error| error.to_string());
    assert!(error.is_err_and(|text| text.contains("/other")));

    let chain = times!(times!(Chain::new(), Native, 16), function, 16);
    let chain = times!(chain, tower::layer::util::Identity::new(), 16);
    let chain = times!(times!(chain, function, 16), Native, 16);
    let service = times!(times!(chain, Native, 16), function, 4).get(bare).build();
    assert_eq!(poll_once(service.handle(request("/"))).status(), StatusCode::OK);
}

#[test]
fn paths_between_middleware_stay_within_the_recursion_limit() {
    let chain = Chain::new()
        .at("/a", |c| c.get(bare))
        .use_(function)
        .at("/b", |c| c.get(bare))
        .use_(function)
        .at("/c", |c| c.get(bare))
        .use_(function)
        .at("/d", |c| c.get(bare))
        .use_(function)
        .at("/e", |c| c.get(bare))
        .use_(function)
        .at("/f", |c| c.get(bare))
        .use_(function)
        .at("/g", |c| c.get(bare))
        .use_(function)
        .at("/h", |c| c.get(bare))
        .use_(function)
        .at("/i", |c| c.get(bare))
        .use_(function)
        .at("/j", |c| c.get(bare))
        .use_(function)
        .at("/k", |c| c.get(bare))
        .use_(function)
        .at("/l", |c| c.get(bare))
        .use_(function);
    let service = chain.at("/z", |c| c.get(bare)).build();
    assert_eq!(poll_once(service.handle(request("/z"))).status(), StatusCode::OK);
}

#[test]
fn ten_thousand_paths_are_found_in_one_lookup() {
    let mut chain = Chain::new().at("/first", |c| c.get(bare));
    for i in 0..10_000 {
        chain = chain.at(&format!("/path/{i}"), |c| c.get(bare));
    }
    assert_eq!(allocations(chain.into_service(), "/path/9999"), 1);
}

#[test]
fn nothing_is_built_for_a_layer_per_request() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static APPLIED: AtomicUsize = AtomicUsize::new(0);
    #[derive(Clone)]
    struct Counting;
    impl<S> Layer<S> for Counting {
        type Service = S;
        fn layer(&self, inner: S) -> S {
            APPLIED.fetch_add(1, Ordering::SeqCst);
            inner
        }
    }
    let service = Chain::new().use_(Counting).get(|| ready(StatusCode::OK)).build();
    for _ in 0..3 {
        let _ = poll_once(service.handle(request("/")));
    }
    assert_eq!(APPLIED.load(Ordering::SeqCst), 1);
}
