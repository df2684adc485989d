//! The test client.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use axum_core::BoxError;
use bytes::Bytes;
use http::header::{HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use http_body::Body as HttpBody;
use tower::Service;

use super::client_state::ClientState;
use super::request::TestRequest;
use super::tcp::{Protocol, Tcp};
use super::transport::InPlace;
use crate::chain::list::{Answer, InnerSteps, Steps};
use crate::function::arguments::Arguments;
use crate::function::handler::IntoHandler;
use crate::provide::Anything;
use crate::step::end::End;
use crate::step::fold::Fold;
use crate::{Chain, Request};

/// A client of one service, for tests.
///
/// It calls the service in process, without a socket. Each request has its own clone of the service, which is polled until it is ready. Requests
/// may run one after the other or concurrently. They share no state unless [`cookie_jar`](Self::cookie_jar) is on. Clones of the client share
/// the service and the jar.
///
/// Without [`peer`](TestRequest::peer), a request has the address `127.0.0.1` in [`PeerAddr`](crate::extract::PeerAddr).
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::test_util::TestClient;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let client = TestClient::new(Chain::new().get(async || "hello").build());
/// client.get("/").send().await.assert_status(200).assert_text("hello");
///
/// let client = client.over_tcp().await; // the same, over a real port
/// client.get("/").send().await.assert_status(200).assert_text("hello");
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct TestClient {
    state: ClientState,
}

impl TestClient {
    /// Creates a client of this service.
    ///
    /// It accepts any service of requests with [`Body`](crate::Body). For another body use `tower::ServiceExt::map_request`. To test a layer, apply
    /// it first: `TestClient::new(layer.layer(service))`.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request, Response = http::Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        let state = ClientState {
            transport: Arc::new(InPlace::new(service)),
            addr: None,
            http2: false,
            headers,
            peer: SocketAddr::from(([127, 0, 0, 1], 49152)),
            max_body: MAX_BODY,
            redirects: 0,
            jar: None,
            #[cfg(feature = "openapi")]
            contract: None,
        };
        Self { state }
    }

    /// Creates a client of a handler alone, on every path and for every method.
    ///
    /// The test provides the values that the handler takes with [`provided`](TestRequest::provided). If one is missing, the response is a 500, and
    /// a failing assertion prints which one.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Provided;
    /// use tower_chain::test_util::TestClient;
    ///
    /// async fn greet(name: Provided<&'static str>) -> String {
    ///     format!("hello, {}", name.0)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// TestClient::handler(greet).get("/").provided("Ann").send().await.assert_text("hello, Ann");
    /// # }
    /// ```
    #[track_caller]
    #[allow(private_bounds, reason = "the types of steps are private")]
    pub fn handler<H, K, W, R>(handler: H) -> Self
    where
        H: IntoHandler<K>,
        H::Args: Arguments<Anything, W, Sources = R>,
        Steps: Answer<crate::chain::Handling<H, K, R>>,
        crate::chain::Answered<Steps, crate::chain::Handling<H, K, R>>: Fold<End>,
    {
        Self::new(<Chain>::of_anything().all(handler).build())
    }

    /// Creates a client of a handler alone at a path, for every method. A handler with [`Path`](crate::Path) finds its parameters there.
    ///
    /// # Panics
    ///
    /// Panics if the path pattern is invalid.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::test_util::TestClient;
    /// use tower_chain::{Path, Provided};
    ///
    /// async fn greet(Path(id): Path<u32>, name: Provided<&'static str>) -> String {
    ///     format!("hello, {} {id}", name.0)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let client = TestClient::handler_at("/users/{id}", greet);
    /// client.get("/users/7").provided("Ann").send().await.assert_text("hello, Ann 7");
    /// # }
    /// ```
    #[track_caller]
    #[allow(private_bounds, reason = "the types of steps are private")]
    pub fn handler_at<H, K, W, R>(path: &str, handler: H) -> Self
    where
        H: IntoHandler<K>,
        H::Args: Arguments<Anything, W, Sources = R>,
        InnerSteps: Answer<crate::chain::Handling<H, K, R>>,
        crate::chain::Answered<InnerSteps, crate::chain::Handling<H, K, R>>: Fold<End>,
    {
        Self::new(<Chain>::of_anything().at(path, |c| c.all(handler)).build())
    }

    /// Sends this header with every request that doesn't set it.
    ///
    /// # Panics
    ///
    /// If the name or the value is not valid.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let header = (name.parse::<HeaderName>(), value.parse::<HeaderValue>());
        let (Ok(name), Ok(value)) = header else {
            panic!("`{name}: {value}` is not a valid header");
        };
        self.state.headers.insert(name, value);
        self
    }

    /// Sets the peer address of requests. Defaults to `127.0.0.1:49152`.
    pub fn peer(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.state.peer = addr.into();
        self
    }

    /// Sets the maximum length of the body of a response, in bytes. Defaults to 16 MiB. A longer body is a
    /// [`BodyError`](super::BodyError).
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.state.max_body = bytes;
        self
    }

    /// Stores cookies and sends them with later requests, as a browser does: by path and expiry. Defaults to off.
    pub fn cookie_jar(mut self) -> Self {
        self.state.jar = Some(Arc::default());
        self
    }

    /// Returns the value of a cookie in the jar.
    pub fn jar_cookie(&self, name: &str) -> Option<String> {
        self.state.jar.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).value(name)
    }

    /// Follows up to ten redirects to the service itself. Defaults to off.
    ///
    /// After 303, and after 301 and 302 to a POST, the next request is a GET. After 307 and 308 the request is repeated (RFC 9110, 15.4). A
    /// redirect to another host is returned.
    pub fn follow_redirects(mut self) -> Self {
        self.state.redirects = 10;
        self
    }

    /// Requires that the document declares each response: its status, its required header fields, its media type and, for JSON, its schema.
    ///
    /// [`send`](TestRequest::send) panics at the line of the test if it does not. Paths of services and of hidden handlers are not checked.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::openapi::Info;
    /// use tower_chain::{Chain, TestClient};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let api = Chain::new().documented().at("/hello", |c| c.get(async || "hello")).build();
    /// let document = api.openapi(&Info::new("Greetings", "1.0"));
    /// let client = TestClient::new(api).declared_by(document);
    /// client.get("/hello").send().await.assert_status(200);
    /// # }
    /// ```
    #[cfg(feature = "openapi")]
    #[cfg_attr(docsrs, doc(cfg(feature = "openapi")))]
    pub fn declared_by(mut self, document: crate::openapi::OpenApi) -> Self {
        self.state.contract = Some(Arc::new(crate::openapi::Contract::new(document)));
        self
    }

    /// Returns the same client over a real port with HTTP/1.1. Its server on `127.0.0.1` runs until the client and its clones are dropped.
    ///
    /// # Panics
    ///
    /// If no port can be opened, or outside of a tokio runtime.
    pub async fn over_tcp(self) -> Self {
        self.over(Protocol::Http1).await
    }

    /// Returns the same client over a real port with HTTP/2, by prior knowledge ([RFC 9113, 3.3](https://www.rfc-editor.org/rfc/rfc9113#section-3.3)).
    ///
    /// # Panics
    ///
    /// If no port can be opened, or outside of a tokio runtime.
    pub async fn over_http2(self) -> Self {
        self.over(Protocol::Http2).await
    }

    async fn over(mut self, protocol: Protocol) -> Self {
        let tcp = match Tcp::start(self.state.transport.clone(), protocol).await {
            Ok(tcp) => tcp,
            Err(error) => panic!("no port can be opened on 127.0.0.1: {error}"),
        };
        self.state.addr = Some(tcp.addr());
        self.state.http2 = protocol == Protocol::Http2;
        self.state.transport = Arc::new(tcp);
        self
    }

    /// The address of the port, for a client over TCP. Other clients can use it as well.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.state.addr
    }

    /// A GET request. The path may have a query and, for [`param`](TestRequest::param), names in braces.
    #[track_caller]
    pub fn get(&self, path: &str) -> TestRequest {
        self.request(Method::GET, path)
    }

    /// A POST request.
    #[track_caller]
    pub fn post(&self, path: &str) -> TestRequest {
        self.request(Method::POST, path)
    }

    /// A PUT request.
    #[track_caller]
    pub fn put(&self, path: &str) -> TestRequest {
        self.request(Method::PUT, path)
    }

    /// A PATCH request.
    #[track_caller]
    pub fn patch(&self, path: &str) -> TestRequest {
        self.request(Method::PATCH, path)
    }

    /// A DELETE request.
    #[track_caller]
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request(Method::DELETE, path)
    }

    /// A HEAD request.
    #[track_caller]
    pub fn head(&self, path: &str) -> TestRequest {
        self.request(Method::HEAD, path)
    }

    /// An OPTIONS request.
    #[track_caller]
    pub fn options(&self, path: &str) -> TestRequest {
        self.request(Method::OPTIONS, path)
    }

    /// A QUERY request ([draft](https://datatracker.ietf.org/doc/draft-ietf-httpbis-safe-method-w-body/)).
    #[track_caller]
    pub fn query(&self, path: &str) -> TestRequest {
        match Method::from_bytes(b"QUERY") {
            Ok(method) => self.request(method, path),
            Err(error) => panic!("QUERY is not a method: {error}"),
        }
    }

    /// A request with any method.
    #[track_caller]
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        TestRequest::new(self.state.clone(), method, path)
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("addr", &self.state.addr).finish_non_exhaustive()
    }
}

const MAX_BODY: usize = 16 * 1024 * 1024;
