//! A test of one middleware alone.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum_core::response::IntoResponse;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Extensions, HeaderMap, Method, Uri};
use http_body_util::BodyExt;
use tower::Service;

use super::client::TestClient;
use crate::chain::list::{Push, Steps};
use crate::chain::{Pushed, Used};
use crate::function::arguments::Arguments;
use crate::provide::Anything;
use crate::step::end::End;
use crate::step::fold::Fold;
use crate::step::next::IntoMiddleware;
use crate::{Body, Chain, Request, Response};

/// Takes the place of the rest of a chain: records the requests that reach it, and returns a response of the test.
///
/// It is a [`tower::Service`] and can also be used behind a tower layer: `layer.layer(next.clone())`. Clones share their record.
///
/// # Example
///
/// ```
/// use tower_chain::test_util::TestNext;
/// use tower_chain::{Next, Response};
///
/// async fn no_store(next: Next<'_>) -> Response {
///     let mut response = next.run().await;
///     response.headers_mut().insert("cache-control", http::HeaderValue::from_static("no-store"));
///     response
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let next = TestNext::answering(async |_| (http::StatusCode::CREATED, "made"));
/// let response = next.behind(no_store).post("/users").text("Ann").send().await;
/// response.assert_status(201).assert_header("cache-control", "no-store").assert_text("made");
///
/// let reached = next.assert_called_once();
/// assert_eq!((reached.method().as_str(), reached.body().as_ref()), ("POST", b"Ann".as_slice()));
/// # }
/// ```
#[derive(Clone)]
pub struct TestNext {
    answer: Arc<Responder>,
    reached: Arc<Mutex<Vec<Reached>>>,
}

type Responder = dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync;

impl TestNext {
    /// Responds with 200 and no body.
    pub fn new() -> Self {
        Self::answering(async |_| ())
    }

    /// Responds with the result of this function. It receives the request as the middleware passed it on.
    pub fn answering<F, Fut>(answer: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoResponse> + Send + 'static,
    {
        let answer = move |req| -> BoxFuture<'static, Response> {
            let answer = answer(req);
            Box::pin(async move { answer.await.into_response() })
        };
        Self { answer: Arc::new(answer), reached: Arc::default() }
    }

    /// Creates a client of this middleware, with this after it. It accepts the same middleware as [`Chain::use_`]. The test
    /// [provides](super::TestRequest::provided) the values that the middleware takes.
    #[allow(private_bounds, reason = "the types of steps are private")]
    pub fn behind<M, K, W, R>(&self, middleware: M) -> TestClient
    where
        M: IntoMiddleware<K>,
        M::Args: Arguments<Anything, W, Sources = R>,
        Steps: Push<Used<M, K, R>>,
        Pushed<Steps, Used<M, K, R>>: Fold<End>,
    {
        let layer = <Chain>::of_anything().use_(middleware).into_layer();
        TestClient::new(tower::Layer::layer(&layer, self.clone()))
    }

    /// The requests that have reached it, in order.
    pub fn reached(&self) -> Vec<Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asserts that no request reached it.
    ///
    /// # Panics
    ///
    /// If a request did.
    #[track_caller]
    pub fn assert_not_called(&self) {
        let reached = self.reached();
        assert!(
            reached.is_empty(),
            "expected that no request reaches next, but these did: {reached:#?}"
        );
    }

    /// Asserts that one request reached it, and returns it.
    ///
    /// # Panics
    ///
    /// If no request did, or several.
    #[track_caller]
    pub fn assert_called_once(&self) -> Reached {
        let mut reached = self.reached();
        match (reached.pop(), reached.is_empty()) {
            (Some(request), true) => request,
            (None, _) => panic!("expected that one request reaches next, but none did"),
            (Some(last), false) => panic!(
                "expected that one request reaches next, but {} did, the last one: {last:#?}",
                reached.len() + 1
            ),
        }
    }
}

impl Default for TestNext {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestNext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestNext").field("reached", &self.reached()).finish_non_exhaustive()
    }
}

impl Service<Request> for TestNext {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, req: Request) -> Self::Future {
        let Self { answer, reached } = self.clone();
        Box::pin(async move {
            let (parts, body) = req.into_parts();
            let collected = body.collect().await;
            let (body, body_error) = match collected {
                Ok(body) => (body.to_bytes(), None),
                Err(error) => (Bytes::new(), Some(error.to_string())),
            };
            let noted = Reached {
                method: parts.method.clone(),
                uri: parts.uri.clone(),
                headers: parts.headers.clone(),
                extensions: parts.extensions.clone(),
                body: body.clone(),
                body_error,
            };
            reached.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
            Ok(answer(Request::from_parts(parts, Body::from(body))).await)
        })
    }
}

/// A request that reached a [`TestNext`].
#[derive(Clone)]
pub struct Reached {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
    body_error: Option<String>,
}

impl Reached {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A value that a middleware provided.
    pub fn provided<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Why the body could not be read completely.
    pub fn body_error(&self) -> Option<&str> {
        self.body_error.as_deref()
    }
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reached")
            .field("method", &self.method)
            .field("uri", &self.uri)
            .field("headers", &self.headers)
            .field("body", &String::from_utf8_lossy(&self.body))
            .field("body_error", &self.body_error)
            .finish_non_exhaustive()
    }
}
