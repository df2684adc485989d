//! The client.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum_core::BoxError;
use bytes::Bytes;
use http::header::{HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use http_body::Body as HttpBody;
use tower::Service;

use super::cookie::Jar;
use super::request::TestRequest;
use super::tcp::{Protocol, Tcp};
use super::transport::{InPlace, Transport};
use crate::chain::list::{AllSteps, Push, Steps};
use crate::function::arguments::Arguments;
use crate::function::handler::IntoHandler;
use crate::provide::Anything;
use crate::{Chain, Request};

/// A client of one service, for tests.
///
/// It asks the service in place, without a socket: each request gets a clone of the service that was polled ready. Requests may run one after the
/// other or side by side. Nothing is kept between them unless [`cookie_jar`](Self::cookie_jar) is on. Clones share the service and the jar.
///
/// A request without [`peer`](TestRequest::peer) comes from `127.0.0.1`, as [`PeerAddr`](crate::PeerAddr) says.
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
    pub(super) transport: Arc<dyn Transport>,
    pub(super) addr: Option<SocketAddr>,
    pub(super) http2: bool,
    pub(super) headers: HeaderMap,
    pub(super) peer: SocketAddr,
    pub(super) max_body: usize,
    pub(super) redirects: usize,
    pub(super) jar: Option<Arc<Mutex<Jar>>>,
}

impl TestClient {
    /// A client of this service.
    ///
    /// It takes every service of requests with [`Body`](crate::Body); for another body there is `tower::ServiceExt::map_request`. A layer under test is
    /// applied first: `TestClient::new(layer.layer(service))`.
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
        Self {
            transport: Arc::new(InPlace::new(service)),
            addr: None,
            http2: false,
            headers,
            peer: SocketAddr::from(([127, 0, 0, 1], 49152)),
            max_body: MAX_BODY,
            redirects: 0,
            jar: None,
        }
    }

    /// A client of one handler alone, on every path and for every method.
    ///
    /// What the steps before it would provide, the test provides with [`provided`](TestRequest::provided). Where that is missing the answer is
    /// 500, and the exchange that a failing assert prints says what was not provided.
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
    #[allow(private_bounds, reason = "the steps of a chain are the compiler's alone")]
    pub fn handler<H, K, W>(handler: H) -> Self
    where
        H: IntoHandler<K>,
        H::Args: Arguments<Anything, W>,
        Steps: Push<crate::chain::Handling<H, K, Anything, W>>,
        crate::chain::Pushed<Steps, crate::chain::Handling<H, K, Anything, W>>: AllSteps,
    {
        Self::new(<Chain>::of_anything().all(handler).build())
    }

    /// Sends this header with every request that doesn't set it.
    ///
    /// # Panics
    ///
    /// If it is no header.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let header = (name.parse::<HeaderName>(), value.parse::<HeaderValue>());
        let (Ok(name), Ok(value)) = header else {
            panic!("`{name}: {value}` is no header");
        };
        self.headers.insert(name, value);
        self
    }

    /// Sets the address that requests come from. Defaults to `127.0.0.1:49152`.
    pub fn peer(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.peer = addr.into();
        self
    }

    /// Sets how much of a body is collected, in bytes. Defaults to 16 MiB. A longer body is a
    /// [`BodyError`](super::BodyError).
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Keeps cookies from one request to the next, as a browser does: by path and expiry. Off unless it is asked for.
    pub fn cookie_jar(mut self) -> Self {
        self.jar = Some(Arc::default());
        self
    }

    /// The value of a cookie in the jar.
    pub fn jar_cookie(&self, name: &str) -> Option<String> {
        self.jar.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).value(name)
    }

    /// Follows up to ten redirects to the service itself. Off unless it is asked for.
    ///
    /// 303 asks with GET, and so do 301 and 302 after a POST; 307 and 308 send the request once more (RFC 9110, 15.4). A redirect to
    /// another host is given back as it is.
    pub fn follow_redirects(mut self) -> Self {
        self.redirects = 10;
        self
    }

    /// The same client over a real port, by HTTP/1.1: a server on `127.0.0.1` that lives as long as the client and its clones.
    ///
    /// # Panics
    ///
    /// If no port can be opened, or outside of a tokio runtime.
    pub async fn over_tcp(self) -> Self {
        self.over(Protocol::Http1).await
    }

    /// The same client over a real port, by HTTP/2 with prior knowledge ([RFC 9113, 3.3](https://www.rfc-editor.org/rfc/rfc9113#section-3.3)).
    ///
    /// # Panics
    ///
    /// If no port can be opened, or outside of a tokio runtime.
    pub async fn over_http2(self) -> Self {
        self.over(Protocol::Http2).await
    }

    async fn over(mut self, protocol: Protocol) -> Self {
        let tcp = match Tcp::start(self.transport.clone(), protocol).await {
            Ok(tcp) => tcp,
            Err(error) => panic!("no port can be opened on 127.0.0.1: {error}"),
        };
        self.addr = Some(tcp.addr());
        self.http2 = protocol == Protocol::Http2;
        self.transport = Arc::new(tcp);
        self
    }

    /// The address of the port, for a client over TCP; other clients may ask there too.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// A GET request. The path may hold a query and, for [`param`](TestRequest::param), names in braces.
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
            Err(error) => panic!("QUERY is no method: {error}"),
        }
    }

    /// A request with any method.
    #[track_caller]
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        TestRequest::new(self.clone(), method, path)
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("addr", &self.addr).finish_non_exhaustive()
    }
}

const MAX_BODY: usize = 16 * 1024 * 1024;
