//! One middleware alone.

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
use crate::chain::list::{AllSteps, Push, Steps};
use crate::chain::{Pushed, Used};
use crate::function::arguments::Arguments;
use crate::provide::Anything;
use crate::step::next::IntoMiddleware;
use crate::{Body, Chain, Request, Response};

/// The rest of a chain, played by the test: it notes what reaches it, and answers what it is told to.
///
/// It is a [`tower::Service`], so that it stands behind a tower layer too: `layer.layer(next.clone())`. Clones share what they note.
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
    answer: Arc<Answer>,
    reached: Arc<Mutex<Vec<Reached>>>,
}

type Answer = dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync;

impl TestNext {
    /// Answers 200 with no body.
    pub fn new() -> Self {
        Self::answering(async |_| ())
    }

    /// Answers as this function says. It sees the request as the middleware passed it on.
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

    /// A client of this middleware, with this behind it: whatever [`Chain::use_`] takes, and what it needs is
    /// [provided](super::TestRequest::provided) by the test.
    #[allow(private_bounds, reason = "the steps of a chain are the compiler's alone")]
    pub fn behind<M, K, W>(&self, middleware: M) -> TestClient
    where
        M: IntoMiddleware<K>,
        M::Args: Arguments<Anything, W>,
        Steps: Push<Used<M, K, Anything, W>>,
        Pushed<Steps, Used<M, K, Anything, W>>: AllSteps,
    {
        let layer = <Chain>::of_anything().use_(middleware).into_layer();
        TestClient::new(tower::Layer::layer(&layer, self.clone()))
    }

    /// What reached it so far, in order.
    pub fn reached(&self) -> Vec<Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asserts that no request reached it.
    ///
    /// # Panics
    ///
    /// If one did.
    #[track_caller]
    pub fn assert_not_called(&self) {
        let reached = self.reached();
        assert!(reached.is_empty(), "expected that nothing reaches next, but did: {reached:#?}");
    }

    /// Asserts that one request reached it, and gives it back.
    ///
    /// # Panics
    ///
    /// If none did, or several.
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

    /// What a middleware provided.
    pub fn provided<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Why the body could not be read to its end.
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
