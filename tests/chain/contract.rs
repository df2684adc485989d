//! The contract of `tower::Service`, for a chain as a service and for layers in a chain.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::support::{now, request, text, yield_once};
use tower::{Layer, Service, ServiceExt};
use tower_chain::{Body, Chain, Next, Provided, Request, Response};

/// Panics when it is called without having been polled ready, and is ready only at the second poll.
#[derive(Default)]
struct Strict {
    polls: usize,
}

impl Clone for Strict {
    /// A clone is not ready, whatever the original is.
    fn clone(&self) -> Self {
        Self { polls: 0 }
    }
}

impl Service<Request> for Strict {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.polls += 1;
        if self.polls < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, req: Request) -> Self::Future {
        assert!(self.polls >= 2, "called before it was ready");
        self.polls = 0;
        ready(Ok(Response::new(Body::from(req.uri().to_string()))))
    }
}

/// A layer whose service must be polled ready, and passes the request on unchanged.
#[derive(Clone)]
struct StrictLayer;

impl<S> Layer<S> for StrictLayer {
    type Service = StrictAround<S>;

    fn layer(&self, inner: S) -> StrictAround<S> {
        StrictAround { strict: Strict::default(), inner }
    }
}

#[derive(Clone)]
struct StrictAround<S> {
    strict: Strict,
    inner: S,
}

impl<S> Service<Request> for StrictAround<S>
where
    S: Service<Request, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match self.strict.poll_ready(cx) {
            Poll::Ready(_) => self.inner.poll_ready(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn call(&mut self, req: Request) -> S::Future {
        assert!(self.strict.polls >= 2, "called before it was ready");
        self.strict.polls = 0;
        self.inner.call(req)
    }
}

#[tokio::test]
async fn a_layer_inside_a_chain_is_polled_ready_before_it_is_called() {
    let service = Chain::new().use_(StrictLayer).always(StrictLayer).get(async || "ok").build();
    for _ in 0..3 {
        assert_eq!(service.handle(request("GET", "/")).await.status(), 200);
    }
}

#[tokio::test]
async fn a_service_inside_a_chain_is_polled_ready_before_it_is_called() {
    let service = Chain::new().service("/s", Strict::default()).build();
    for _ in 0..3 {
        assert_eq!(service.handle(request("GET", "/s/x")).await.status(), 200);
    }
}

#[tokio::test]
async fn a_service_behind_a_chain_is_polled_ready_before_it_is_called() {
    async fn waits(next: Next<'_>) -> Response {
        yield_once().await;
        next.run().await
    }
    let chain = Chain::new().use_(waits).use_(StrictLayer);
    let mut service = chain.into_layer().layer(Strict::default());
    for _ in 0..3 {
        // Calls the same service repeatedly: the instance that was polled ready must be the one that is called.
        let response = ServiceExt::<Request>::ready(&mut service)
            .await
            .unwrap()
            .call(request("GET", "/"))
            .await;
        assert_eq!(response.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn errors_of_readiness_behind_a_chain_reach_the_host() {
    #[derive(Clone)]
    struct Broken;
    impl Service<Request> for Broken {
        type Response = Response;
        type Error = std::io::Error;
        type Future = Ready<Result<Response, std::io::Error>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
            Poll::Ready(Err(std::io::Error::other("gone")))
        }
        fn call(&mut self, _: Request) -> Self::Future {
            panic!("called though it is broken")
        }
    }
    let service = Chain::new().use_(StrictLayer).into_layer().layer(Broken);
    assert_eq!(service.oneshot(request("GET", "/")).await.unwrap_err().to_string(), "gone");
}

/// 2,000 concurrent requests, every second one dropped before it completes: no response is lost, and each matches its request.
async fn storm<S>(service: S)
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Error: std::fmt::Debug + Send,
    S::Future: Send,
{
    let mut tasks = Vec::new();
    for i in 0..2_000_usize {
        let service = service.clone();
        tasks.push(tokio::spawn(async move {
            let path = format!("/item/{i}");
            let answer = service.oneshot(request("GET", &path));
            if i % 2 == 0 {
                let mut answer = Box::pin(answer);
                for _ in 0..i % 7 {
                    if (&mut answer).now_or_pending().await.is_some() {
                        break;
                    }
                }
                return None;
            }
            Some((i, text(answer.await.unwrap())))
        }));
    }
    let mut answered = 0;
    for task in tasks {
        if let Some((i, body)) = task.await.unwrap() {
            assert_eq!(body, format!("/item/{i} /item/{i}"));
            answered += 1;
        }
    }
    assert_eq!(answered, 1_000);
}

/// Polls a future once.
trait NowOrPending: Future + Unpin + Sized {
    async fn now_or_pending(mut self) -> Option<Self::Output> {
        let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut self).poll(cx))).await;
        tokio::task::yield_now().await;
        match polled {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

impl<F: Future + Unpin> NowOrPending for F {}

#[derive(Clone)]
struct Path(String);

async fn note_path(mut next: Next<'_>) -> Response {
    let path = Path(next.uri().path().to_owned());
    next.extensions_mut().insert(path);
    tokio::task::yield_now().await;
    next.run().await
}

async fn path(uri: http::Uri) -> Result<Path, Infallible> {
    tokio::task::yield_now().await;
    Ok(Path(uri.path().to_owned()))
}

async fn item(Provided(Path(path)): Provided<Path>, uri: http::Uri) -> String {
    tokio::time::sleep(Duration::from_micros(50)).await;
    format!("{path} {}", uri.path())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_crossed_under_a_concurrency_limit() {
    let chain = Chain::new()
        .use_(tower::limit::ConcurrencyLimitLayer::new(16))
        .use_(note_path)
        .guard(path)
        .at("/item/{id}", |c| c.get(item));
    storm(chain.build()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_crossed_behind_a_buffer() {
    // The buffer's worker runs the rest of the chain in another task.
    let chain = Chain::new()
        .guard(path)
        .use_(tower::buffer::BufferLayer::new(64))
        .use_(StrictLayer)
        .at("/item/{id}", |c| c.use_(note_path).get(item));
    storm(chain.build()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_crossed_when_a_chain_stands_in_front() {
    let inner = Chain::new().guard(path).at("/item/{id}", |c| c.get(item)).build();
    let chain = Chain::new().use_(note_path).use_(tower::limit::ConcurrencyLimitLayer::new(8));
    let service = chain.into_layer().layer(inner);
    storm(tower::ServiceBuilder::new().buffer(32).concurrency_limit(16).service(service)).await;
}

#[test]
fn a_permit_is_given_back_by_a_request_that_is_dropped() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    struct Permit;
    impl Drop for Permit {
        fn drop(&mut self) {
            RUNNING.fetch_sub(1, Ordering::SeqCst);
        }
    }
    async fn hangs() {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        let _permit = Permit;
        std::future::pending::<()>().await;
    }
    let limited = tower::limit::ConcurrencyLimitLayer::new(1);
    let service =
        Chain::new().use_(limited).at("/hang", |c| c.get(hangs)).get(async || "ok").build();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut hanging = service.handle(request("GET", "/hang"));
    assert!(Pin::new(&mut hanging).poll(&mut cx).is_pending());
    assert_eq!(RUNNING.load(Ordering::SeqCst), 1);
    drop(hanging);
    assert_eq!(RUNNING.load(Ordering::SeqCst), 0);
    assert_eq!(now(service.handle(request("GET", "/"))).status(), 200);
}

#[tokio::test]
async fn a_layer_that_calls_the_rest_twice_runs_it_twice_but_a_service_behind_the_chain_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    let retry = || {
        tower::layer::layer_fn(|inner: tower_chain::tower::TowerNext| {
            tower::service_fn(move |req: Request| {
                let mut inner = inner.clone();
                async move {
                    let mut again = request("GET", "/");
                    *again.extensions_mut() = req.extensions().clone();
                    let _ = ServiceExt::<Request>::ready(&mut inner).await?.call(req).await?;
                    ServiceExt::<Request>::ready(&mut inner).await?.call(again).await
                }
            })
        })
    };
    let service = Chain::new()
        .use_(retry())
        .get(move || ready(seen.fetch_add(1, Ordering::SeqCst).to_string()))
        .build();
    assert_eq!(text(service.handle(request("GET", "/")).await), "1");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    let behind = Chain::new().use_(retry()).into_layer().layer(Strict::default());
    assert_eq!(behind.oneshot(request("GET", "/")).await.unwrap().status(), 500);
}

#[tokio::test]
async fn a_static_service_is_cloned_and_called_like_any_other() {
    let service = Chain::new().use_(note_path).guard(path).at("/item/{id}", |c| c.get(item));
    storm(service.into_service()).await;
}
