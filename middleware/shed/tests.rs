use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderName, StatusCode};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::{Service, ServiceBuilder, ServiceExt};

use super::{Deadline, Priority, Shed, ShedError};
use crate::{Body, Chain, ChainService, Provided, Request, Response};

fn get(path: &str) -> Request {
    http::Request::get(path).body(Body::empty()).unwrap()
}

/// Requests stay in flight until the test lets them finish.
fn gated(shed: Shed) -> (ChainService, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let wait = async |gate: Provided<Arc<Semaphore>>| {
        gate.acquire().await.unwrap().forget();
    };
    let service = Chain::new()
        .provide(gate.clone())
        .use_(shed)
        .at("/a", |c| c.get(wait))
        .at("/b/{id}", |c| c.get(wait))
        .build();
    (service, gate)
}

/// Starts requests, and returns how many are refused at once.
async fn start(
    service: &ChainService,
    tasks: &mut JoinSet<Response>,
    count: usize,
    request: impl Fn() -> Request,
) -> usize {
    for _ in 0..count {
        tasks.spawn(service.handle(request()));
    }
    tokio::task::yield_now().await;
    let mut refused = 0;
    while let Some(response) = tasks.try_join_next() {
        assert_eq!(response.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        refused += 1;
    }
    refused
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused() {
    let shed = Shed::new().limits(10, 10).unwrap().retry_after(Duration::from_secs(7));
    let (service, gate) = gated(shed.clone());
    let mut tasks = JoinSet::new();
    assert_eq!(start(&service, &mut tasks, 12, || get("/a")).await, 3);
    let refused = service.handle(get("/a")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "7");
    assert_eq!(refused.headers()["cache-control"], "no-store");
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let state = &shed.states()[0];
    assert_eq!((state.limit, state.in_flight, state.refused), (10, 9, 4));
    gate.add_permits(9);
    while let Some(response) = tasks.join_next().await {
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(shed.states()[0].in_flight, 0);
}

#[tokio::test]
async fn a_request_that_is_dropped_frees_its_slot() {
    let shed = Shed::new().limits(1, 1).unwrap();
    let (service, _gate) = gated(shed.clone());
    for _ in 0..3 {
        let mut tasks = JoinSet::new();
        assert_eq!(start(&service, &mut tasks, 1, || get("/a")).await, 0);
        tasks.shutdown().await;
        assert_eq!(shed.states()[0].in_flight, 0);
    }
}

#[tokio::test]
async fn the_least_important_requests_are_refused_first() {
    let shed =
        Shed::new().limits(10, 10).unwrap().priority_by(|req| match req.headers().get("x") {
            Some(value) if value == "low" => Priority::Low,
            Some(value) if value == "high" => Priority::High,
            _ => Priority::Normal,
        });
    let (service, _gate) = gated(shed);
    let with = |priority: &'static str| {
        move || {
            let mut req = get("/a");
            req.headers_mut().insert("x", priority.parse().unwrap());
            req
        }
    };
    let mut tasks = JoinSet::new();
    assert_eq!(start(&service, &mut tasks, 8, with("low")).await, 1);
    assert_eq!(start(&service, &mut tasks, 3, with("normal")).await, 1);
    assert_eq!(start(&service, &mut tasks, 3, with("high")).await, 2);
    assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::High);
}

#[tokio::test]
async fn a_small_limit_admits_every_priority() {
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let shed = Shed::new().limits(1, 1).unwrap().priority_by(move |_| priority);
        let (service, _gate) = gated(shed);
        assert_eq!(start(&service, &mut JoinSet::new(), 2, || get("/a")).await, 1, "{priority:?}");
    }
}

#[tokio::test]
async fn each_route_and_each_class_has_its_own_limit() {
    let per_route = Shed::new().limits(2, 2).unwrap().per_route();
    let (service, _gate) = gated(per_route.clone());
    let mut tasks = JoinSet::new();
    assert_eq!(start(&service, &mut tasks, 2, || get("/a")).await, 1);
    assert_eq!(start(&service, &mut tasks, 1, || get("/b/1")).await, 0);
    assert_eq!(start(&service, &mut tasks, 1, || get("/b/2")).await, 1);
    let states = per_route.states();
    let classes: Vec<&str> = states.iter().map(|state| state.class.as_str()).collect();
    assert_eq!(classes, ["/a", "/b/{id}"]);

    let by_class = Shed::new().limits(2, 2).unwrap().class_by(|req| req.uri().path().to_owned());
    let (service, gate) = gated(by_class.clone());
    gate.add_permits(Semaphore::MAX_PERMITS / 2);
    for id in 0..1_100 {
        assert_eq!(service.handle(get(&format!("/b/{id}"))).await.status(), StatusCode::OK);
    }
    // 1,000 of their own, and one for the others.
    assert_eq!(by_class.states().len(), 1_001);
}

#[tokio::test(start_paused = true)]
async fn handlers_get_the_deadline_of_the_client() {
    let left = async |deadline: Deadline| {
        deadline.remaining().map_or_else(|| "none".to_owned(), |left| left.as_millis().to_string())
    };
    let service = Chain::new()
        .use_(Shed::new().timeout_header(HeaderName::from_static("x-timeout-ms")))
        .get(left)
        .build();
    for (name, value, expected) in [
        ("x-other", "1", (200, "none")),
        ("grpc-timeout", "250m", (200, "250")),
        ("x-timeout-ms", "30", (200, "30")),
        ("x-timeout-ms", "0", (504, "")),
        ("grpc-timeout", "0n", (504, "")),
        ("x-timeout-ms", "soon", (400, "")),
        ("grpc-timeout", "1", (400, "")),
    ] {
        let mut req = get("/");
        req.headers_mut().insert(name, value.parse().unwrap());
        let response = service.handle(req).await;
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(status, expected.0, "{name}: {value}");
        if status == 200 {
            assert_eq!(body, expected.1, "{name}: {value}");
        } else {
            assert!(!String::from_utf8_lossy(&body).contains("soon"));
        }
    }
}

#[test]
fn limits_that_admit_nothing_are_refused() {
    for (least, most) in [(0, 10), (0, 0), (11, 10)] {
        assert_eq!(Shed::new().limits(least, most).unwrap_err(), ShedError::Bounds { least, most });
    }
    assert!(Shed::new().limits(1, usize::MAX).is_ok());
}

/// A server with this many workers, each of which needs some time for a request.
#[derive(Clone)]
struct Workers {
    free: Arc<Semaphore>,
    time: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Workers {
    fn new(count: usize, time: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), time: Arc::new(time) }
    }

    async fn work(self) {
        let _free = self.free.acquire().await.unwrap();
        sleep((self.time)()).await;
    }
}

async fn work(workers: Provided<Workers>) {
    workers.0.work().await;
}

/// Sends requests at a rate for some time, whose clients wait for `patience`. Returns how many are answered with 200 in time, per
/// second.
async fn goodput<S>(service: S, per_second: u32, seconds: u32, patience: Duration) -> usize
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let good = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for index in 0..per_second * seconds {
        tokio::time::sleep_until(start + Duration::from_secs(1) * index / per_second).await;
        let (service, good) = (service.clone(), good.clone());
        tasks.spawn(async move {
            if let Ok(Ok(response)) = timeout(patience, service.oneshot(get("/"))).await
                && response.status() == StatusCode::OK
            {
                good.fetch_add(1, Ordering::Relaxed);
            }
        });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
    good.load(Ordering::Relaxed) / seconds as usize
}

/// Ten workers of 20 ms: 500 requests a second. Clients wait for 200 ms, and a worker can't see that they have gone.
fn capacity() -> Workers {
    Workers::new(10, || Duration::from_millis(20))
}

/// The handler goes on when its client has gone, as work on a blocking thread or in a database does.
async fn detached(workers: Provided<Workers>) {
    let _ = tokio::spawn(workers.0.work()).await;
}

#[tokio::test(start_paused = true)]
async fn at_three_times_the_capacity_the_goodput_is_that_of_the_capacity() {
    let patience = Duration::from_millis(200);
    let chain = || Chain::new().provide(capacity());
    let shed = goodput(chain().use_(Shed::new()).get(detached).build(), 1500, 8, patience).await;
    let unprotected = goodput(chain().get(detached).build(), 1500, 8, patience).await;
    // tower's layers in the chain: they need the right number, and one that is too high is no protection.
    let tower = |limit: usize| {
        let layers = ServiceBuilder::new()
            .layer(LoadShedLayer::new())
            .layer(ConcurrencyLimitLayer::new(limit));
        goodput(chain().use_(layers.into_inner()).get(detached).build(), 1500, 8, patience)
    };
    let (right, high) = (tower(10).await, tower(200).await);
    println!(
        "goodput of 500: shed {shed}, tower with 10 {right}, with 200 {high}, none {unprotected}"
    );
    assert!(shed >= 475, "{shed}");
    assert!(right >= 475, "{right}");
    assert!(high < 50, "{high}");
    assert!(unprotected < 50, "{unprotected}");
}

#[tokio::test(start_paused = true)]
async fn the_limit_follows_a_server_that_becomes_slower_and_faster() {
    let millis = Arc::new(AtomicUsize::new(20));
    let time = millis.clone();
    let workers =
        Workers::new(10, move || Duration::from_millis(time.load(Ordering::Relaxed) as u64));
    let shed = Shed::new();
    let service = Chain::new().provide(workers).use_(shed.clone()).get(work).build();
    let patience = Duration::from_secs(1);
    for (time, capacity) in [(20, 500), (100, 100), (10, 1_000), (20, 500)] {
        millis.store(time, Ordering::Relaxed);
        let good = goodput(service.clone(), capacity * 3, 25, patience).await;
        let state = &shed.states()[0];
        assert!(good * 10 >= capacity as usize * 9, "{time} ms: {good} of {capacity}, {state:?}");
        // About twice the ten that can work at once.
        assert!((10..=40).contains(&state.limit), "{time} ms: {state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_busy_refuses_nothing() {
    let shed = Shed::new();
    let service = Chain::new().provide(capacity()).use_(shed.clone()).get(work).build();
    let good = goodput(service, 400, 20, Duration::from_secs(1)).await;
    assert_eq!(good, 400);
    let state = &shed.states()[0];
    assert_eq!(state.refused, 0);
    assert!(state.baseline.unwrap().as_millis().abs_diff(20) <= 2, "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn important_requests_get_through_an_overload() {
    let priority = |req: &Request| match req.uri().path() {
        "/health" => Priority::High,
        _ => Priority::Low,
    };
    let shed = Shed::new().priority_by(priority);
    let service = Chain::new().provide(capacity()).use_(shed).get(work).build();
    let flood = goodput(service.clone(), 3_000, 10, Duration::from_secs(1));
    let flood = tokio::spawn(flood);
    let mut answered = 0;
    for _ in 0..100 {
        sleep(Duration::from_millis(97)).await;
        answered += usize::from(service.handle(get("/health")).await.status() == StatusCode::OK);
    }
    flood.await.unwrap();
    assert!(answered >= 95, "{answered}");
}

#[tokio::test(start_paused = true)]
async fn fast_failures_do_not_lower_the_baseline() {
    let shed = Shed::new();
    let fails = Arc::new(Notify::new());
    let service = Chain::new()
        .provide(fails)
        .use_(shed.clone())
        .get(async || StatusCode::INTERNAL_SERVER_ERROR)
        .build();
    goodput(service, 1_000, 5, Duration::from_secs(1)).await;
    assert_eq!(shed.states()[0].baseline, None);
    assert_eq!(shed.states()[0].refused, 0);
}

/// All clients give up on a server that starts into an overload, and a timeout ends what waits in another one.
#[tokio::test(start_paused = true)]
async fn an_overload_that_shows_itself_in_failures_alone_is_shed() {
    for (workers, patience) in [(1, 120), (2, 200), (2, 300)] {
        let workers = Workers::new(workers, || Duration::from_millis(50));
        let capacity = workers.free.available_permits() * 20;
        // With so few workers, four requests at a time are too many for clients that wait for twice the work.
        let shed = Shed::new().limits(1, 1_000).unwrap();
        let service = Chain::new().provide(workers).use_(shed.clone()).get(work).build();
        let rate = u32::try_from(capacity * 3).unwrap();
        let patience = Duration::from_millis(patience);
        goodput(service.clone(), rate, 10, patience).await;
        let good = goodput(service, rate, 20, patience).await;
        assert!(good * 10 >= capacity * 8, "{good} of {capacity}, {:?}", shed.states());
    }
    let limited = async |workers: Provided<Workers>| match timeout(
        Duration::from_millis(100),
        workers.0.work(),
    )
    .await
    {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    let workers = Workers::new(4, || Duration::from_millis(20));
    let shed = Shed::new();
    let service = Chain::new().provide(workers).use_(shed.clone()).get(limited).build();
    goodput(service.clone(), 600, 15, Duration::from_secs(5)).await;
    let good = goodput(service, 600, 20, Duration::from_secs(5)).await;
    assert!(good >= 160, "{good} of 200, {:?}", shed.states());
}
