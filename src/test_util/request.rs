//! A request of a test.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::PoisonError;

use axum_core::BoxError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderName, LOCATION, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::client_state::ClientState;
use super::exchange::Sent;
use super::multipart::TestForm;
use super::response::TestResponse;
use super::stream::TestStream;
use super::tcp::send_by_pipe;
use super::transport::{SendError, Unfinished};
use super::upgrade::TestUpgrade;
use crate::extract::PeerAddr;
use crate::provide::Replaced;
use crate::{Body, Request, Response};

/// A request of a test, sent by [`send`](Self::send). Created by the methods of a [`TestClient`](super::TestClient).
///
/// An invalid part, such as a header value with a line break, is reported when the request is sent.
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::test_util::TestClient;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let echo = Chain::new().at("/files/{name}", |c| c.put(async |uri: http::Uri, text: String| format!("{uri}: {text}")));
/// let client = TestClient::new(echo.build());
///
/// let response = client.put("/files/{name}").param("name", "a b").query(&[("v", 1), ("v", 2)]).text("hello").send().await;
/// response.assert_text("/files/a%20b?v=1&v=2: hello");
/// # }
/// ```
#[must_use = "a request does nothing until `send`"]
pub struct TestRequest {
    client: ClientState,
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    /// Headers that follow from the body, unless the test sets them.
    implied: HeaderMap,
    cookies: Vec<String>,
    payload: Payload,
    trailers: HeaderMap,
    chunked: bool,
    declared: Option<u64>,
    /// Whether it asks for another protocol, and needs a connection.
    upgrades: bool,
    extensions: Extensions,
    peer: SocketAddr,
    fault: Option<String>,
}

enum Payload {
    Whole(Bytes),
    Stream(Body),
    /// A stream that was sent. It can't be sent again.
    Gone,
}

impl TestRequest {
    pub(super) fn new(client: ClientState, method: Method, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
            implied: HeaderMap::new(),
            cookies: Vec::new(),
            payload: Payload::Whole(Bytes::new()),
            trailers: HeaderMap::new(),
            chunked: false,
            declared: None,
            upgrades: false,
            extensions: Extensions::new(),
            peer: client.peer,
            fault: None,
            client,
        }
    }

    /// Replaces `{name}` in the path by a value, percent-encoded.
    pub fn param(mut self, name: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        let encoded = utf8_percent_encode(&value, SEGMENT).to_string();
        let braces = format!("{{{name}}}");
        if !self.path.contains(&braces) {
            self.fault(format!("the path has no `{braces}`"));
        }
        self.path = self.path.replace(&braces, &encoded);
        self
    }

    /// Adds to the query string: a struct, a map, or pairs, which may repeat a name.
    pub fn query(mut self, query: &(impl Serialize + ?Sized)) -> Self {
        match serde_html_form::to_string(query) {
            Ok(text) => {
                if !self.query.is_empty() && !text.is_empty() {
                    self.query.push('&');
                }
                self.query.push_str(&text);
            }
            Err(error) => self.fault(format!("the query can't be encoded: {error}")),
        }
        self
    }

    /// Adds a header. A second one of the same name is also sent. It replaces the defaults of the client and of the body.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Display>,
        V: TryInto<HeaderValue, Error: fmt::Display>,
    {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
            }
            (Err(error), _) => self.fault(format!("a header name is not valid: {error}")),
            (_, Err(error)) => self.fault(format!("a header value is not valid: {error}")),
        }
        self
    }

    /// Sends the header `Authorization: Bearer ..`.
    pub fn bearer(self, token: impl fmt::Display) -> Self {
        self.authorization(format!("Bearer {token}"))
    }

    /// Sends the header `Authorization: Basic ..` (RFC 7617).
    pub fn basic(self, user: &str, password: &str) -> Self {
        self.authorization(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    fn authorization(mut self, text: String) -> Self {
        match HeaderValue::try_from(text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.headers.append(AUTHORIZATION, value);
            }
            Err(error) => {
                self.fault(format!("the credentials are not a valid header value: {error}"))
            }
        }
        self
    }

    /// Adds a cookie to those of the jar.
    pub fn cookie(mut self, name: &str, value: &str) -> Self {
        self.cookies.push(format!("{name}={value}"));
        self
    }

    /// Sets the peer address of the request, [`PeerAddr`]. Defaults to that of the [client](super::TestClient::peer).
    pub fn peer(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.peer = addr.into();
        self
    }

    /// Adds an entry to `X-Forwarded-For`, as a proxy does. The last entry is the nearest proxy.
    pub fn forwarded_for(self, client: impl fmt::Display) -> Self {
        self.header("x-forwarded-for", client.to_string())
    }

    /// Adds an entry to `Forwarded` (RFC 7239), such as `for=192.0.2.1;proto=https`.
    pub fn forwarded(self, entry: impl fmt::Display) -> Self {
        self.header("forwarded", entry.to_string())
    }

    /// Provides a value in place of the one that a step of the chain provides.
    ///
    /// A [`guard`](crate::Chain::guard) that provides a `T` is skipped: the test needs no credentials for it. Any other step runs and may refuse
    /// the request, as `Jwt` does without a token; the `T` that it provides is replaced. If no step provides a `T` (a handler or a middleware alone,
    /// another service), the value is in the extensions of the request.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::test_util::TestClient;
    /// use tower_chain::{Chain, Provided};
    ///
    /// #[derive(Clone)]
    /// struct Database(&'static str);
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let api = Chain::new().provide(Database("real")).get(async |db: Provided<Database>| db.0.0).build();
    /// let client = TestClient::new(api);
    /// client.get("/").provided(Database("fake")).send().await.assert_text("fake");
    /// client.get("/").send().await.assert_text("real");
    /// # }
    /// ```
    pub fn provided<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(Replaced(value.clone()));
        self.extension(value)
    }

    /// Inserts a value into the extensions of the request, as a host or a layer does: axum's `ConnectInfo(addr)`, for example.
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// Sends a value as JSON.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => self.whole("application/json", json),
            Err(error) => {
                self.fault(format!("the body can't be encoded as JSON: {error}"));
                self
            }
        }
    }

    /// Sends a value as `application/x-www-form-urlencoded`.
    pub fn form(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_html_form::to_string(value) {
            Ok(form) => self.whole("application/x-www-form-urlencoded", form),
            Err(error) => {
                self.fault(format!("the body can't be encoded as a form: {error}"));
                self
            }
        }
    }

    /// Sends a form with files, as `multipart/form-data`.
    pub fn multipart(self, form: TestForm) -> Self {
        let (kind, body) = form.encode();
        self.whole(&kind, body)
    }

    /// Sends a text, as `text/plain; charset=utf-8`.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.whole("text/plain; charset=utf-8", text.into())
    }

    /// Sends bytes, with no Content-Type.
    pub fn bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.implied.remove(CONTENT_TYPE);
        self.payload = Payload::Whole(bytes.into());
        self
    }

    /// Sends these chunks one by one, with no Content-Length.
    pub fn chunked<C: Into<Bytes>>(self, chunks: impl IntoIterator<Item = C>) -> Self {
        let chunks: Vec<_> = chunks.into_iter().map(|c| Ok::<_, BoxError>(c.into())).collect();
        self.body(Body::from_stream(stream::iter(chunks)))
    }

    /// Sends any body, with no Content-Length: for example a stream that the test controls, or one that fails.
    pub fn body(mut self, body: Body) -> Self {
        self.chunked = true;
        self.payload = Payload::Stream(body);
        self
    }

    /// Sends this Content-Type.
    pub fn content_type(mut self, kind: &str) -> Self {
        self.headers.remove(CONTENT_TYPE);
        self.header(CONTENT_TYPE, kind)
    }

    /// Sends this Content-Length, whether it matches the body or not.
    ///
    /// The service receives what a server would pass on: of a longer body the part that the length declares, of a shorter body all of it and
    /// then an error, as after a client that disconnects.
    pub fn content_length(mut self, bytes: u64) -> Self {
        self.declared = Some(bytes);
        self
    }

    /// Adds a trailer, which is sent after the body. The body then has no Content-Length, and the header `Trailer` names the trailers.
    pub fn trailer<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Display>,
        V: TryInto<HeaderValue, Error: fmt::Display>,
    {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => {
                self.trailers.append(name, value);
            }
            (Err(error), _) => self.fault(format!("the name of a trailer is not valid: {error}")),
            (_, Err(error)) => self.fault(format!("the value of a trailer is not valid: {error}")),
        }
        self
    }

    fn whole(mut self, kind: &str, body: impl Into<Bytes>) -> Self {
        if let Ok(kind) = HeaderValue::from_str(kind) {
            self.implied.insert(CONTENT_TYPE, kind);
        }
        self.payload = Payload::Whole(body.into());
        self
    }

    fn fault(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }

    /// Sends the request and collects the response. Dropping the future drops the request in the service.
    ///
    /// # Panics
    ///
    /// If there is no response: the service failed or panicked. [`try_send`](Self::try_send) returns that instead.
    #[track_caller]
    pub fn send(self) -> impl Future<Output = TestResponse> + Send + 'static {
        let place = Location::caller();
        let name = format!("{} {}", self.method, self.path);
        #[cfg(feature = "openapi")]
        let contract = self.client.contract.clone();
        async move {
            match self.try_send().await {
                Ok(response) => {
                    #[cfg(feature = "openapi")]
                    if let Some(contract) = contract
                        && let Err(reason) = response.declared(&contract)
                    {
                        panic!("{place}: {name}: {reason}");
                    }
                    response
                }
                Err(error) => panic!("{place}: {name}: {error}"),
            }
        }
    }

    /// Sends the request and collects the response.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn try_send(self) -> Result<TestResponse, SendError> {
        Ok(self.start().await?.finish().await)
    }

    /// Sends the request and returns the response as soon as its head is there. Its body can be read piece by piece.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    #[track_caller]
    pub fn stream(self) -> impl Future<Output = TestStream> + Send + 'static {
        let place = Location::caller();
        let name = format!("{} {}", self.method, self.path);
        async move {
            match self.start().await {
                Ok(stream) => stream,
                Err(error) => panic!("{place}: {name}: {error}"),
            }
        }
    }

    /// Asks for another protocol on the connection (RFC 9110, 7.8), and returns the connection after the service has switched.
    ///
    /// Without TCP, the connection is within the process: a test of a WebSocket needs no port. The test must add the headers of the protocol's
    /// own handshake, such as `Sec-WebSocket-Key`.
    ///
    /// # Panics
    ///
    /// Like [`send`](Self::send), and if the status is not 101.
    #[track_caller]
    pub fn upgrade(mut self, protocol: &str) -> impl Future<Output = TestUpgrade> + Send + 'static {
        let place = Location::caller();
        let name = format!("{} {}", self.method, self.path);
        self.upgrades = true;
        if self.client.http2 {
            self.fault("HTTP/2 has no upgrades; use a client of `over_tcp`".to_owned());
        }
        self.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        let request = self.header(UPGRADE, protocol);
        async move {
            match request.start().await {
                Ok(stream) => stream.upgraded(place).await,
                Err(error) => panic!("{place}: {name}: {error}"),
            }
        }
    }

    async fn start(mut self) -> Result<TestStream, SendError> {
        if let Some(fault) = self.fault.take() {
            return Err(SendError::Request(fault));
        }
        let mut path = utf8_percent_encode(&self.path, OUTSIDE_URI).to_string();
        if !self.query.is_empty() {
            path.push('?');
            path.extend(utf8_percent_encode(&self.query, OUTSIDE_URI));
        }
        let mut uri =
            path.parse::<Uri>().map_err(|e| SendError::Request(format!("{path}: {e}")))?;
        let mut redirected = Vec::new();
        loop {
            let (sent, response) = self.once(&uri).await?;
            let next = match redirected.len() < self.client.redirects {
                true => self.redirect(&uri, &response),
                false => None,
            };
            let Some(next) = next else {
                let response = match self.client.addr.is_some() || self.upgrades {
                    true => response,
                    false => as_a_server_does(&self.method, response),
                };
                let limit = self.client.max_body;
                return Ok(TestStream::new(sent.after(redirected), response, limit));
            };
            redirected.push(format!("{} {} {uri}", response.status(), self.method));
            if self.becomes_get(response.status()) {
                self.method = Method::GET;
                self.payload = Payload::Whole(Bytes::new());
                self.implied.clear();
                self.headers.remove(CONTENT_TYPE);
                (self.chunked, self.declared) = (false, None);
                self.trailers.clear();
            }
            uri = next;
        }
    }

    /// RFC 9110, 15.4: a redirect by 303 is followed with GET, and like in browsers, one by 301 or 302 after a POST.
    fn becomes_get(&self, status: StatusCode) -> bool {
        match status.as_u16() {
            303 => self.method != Method::HEAD,
            301 | 302 => self.method == Method::POST,
            _ => false,
        }
    }

    /// The target of a redirect, if the request can be sent again.
    fn redirect(&self, from: &Uri, response: &Response) -> Option<Uri> {
        let status = response.status().as_u16();
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        if matches!(self.payload, Payload::Gone) && !self.becomes_get(response.status()) {
            return None;
        }
        let target = response.headers().get(LOCATION)?.to_str().ok()?;
        let target = target.split('#').next().unwrap_or(target);
        if target.starts_with("//") || target.contains("://") {
            let absolute = match target.strip_prefix("//") {
                Some(rest) => format!("http://{rest}").parse::<Uri>(),
                None => target.parse::<Uri>(),
            };
            let uri = absolute.ok()?;
            let host = self.headers.get("host").or(self.client.headers.get("host"))?;
            let same = uri.authority().is_some_and(|authority| authority.as_str() == host);
            return same
                .then(|| uri.path_and_query().map(|p| p.as_str().parse().ok()))
                .flatten()?;
        }
        let resolved = match target.chars().next() {
            None => return Some(from.clone()),
            Some('/') => target.to_owned(),
            Some('?') => format!("{}{target}", from.path()),
            Some(_) => resolve(from.path(), target),
        };
        resolved.parse().ok()
    }

    async fn once(&mut self, uri: &Uri) -> Result<(Sent, Response), SendError> {
        let mut req = Request::new(Body::empty());
        *req.method_mut() = self.method.clone();
        *req.uri_mut() = uri.clone();
        *req.extensions_mut() = self.extensions.clone();
        req.extensions_mut().insert(PeerAddr(self.peer));
        let headers = req.headers_mut();
        headers.clone_from(&self.headers);
        for (name, value) in self.client.headers.iter().chain(&self.implied) {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        let mut cookies = self.cookies.clone();
        if let Some(jar) = &self.client.jar {
            jar.lock().unwrap_or_else(PoisonError::into_inner).add(uri.path(), &mut cookies);
        }
        if !cookies.is_empty() {
            let cookies = HeaderValue::try_from(cookies.join("; "))
                .map_err(|error| SendError::Request(format!("a cookie is not valid: {error}")))?;
            headers.entry(COOKIE).or_insert(cookies);
        }
        let sent_body = self.put_body(&mut req);
        self.put_trailers(&mut req);
        let sent = Sent::new(&req, sent_body, &self.trailers, self.peer);
        // The mark only masks values in printed requests. It would not be sent over TCP either.
        for value in req.headers_mut().values_mut() {
            value.set_sensitive(false);
        }
        let transport = &self.client.transport;
        let response = match self.upgrades && self.client.addr.is_none() {
            true => send_by_pipe(transport.clone(), req).await?,
            false => transport.call(req).await?,
        };
        if let Some(jar) = &self.client.jar {
            jar.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .store(uri.path(), response.headers());
        }
        Ok((sent, response))
    }

    /// Sets the body and its framing as a client does. Returns the data, if it is known.
    fn put_body(&mut self, req: &mut Request) -> Option<Bytes> {
        match std::mem::replace(&mut self.payload, Payload::Gone) {
            Payload::Whole(data) => {
                self.payload = Payload::Whole(data.clone());
                let length = data.len() as u64;
                let declared = self.declared.unwrap_or(length);
                // RFC 9110, 8.6: with these methods, an empty body has `Content-Length: 0`.
                let meaning = matches!(self.method, Method::POST | Method::PUT | Method::PATCH);
                if declared > 0 || self.declared.is_some() || meaning {
                    req.headers_mut().entry(CONTENT_LENGTH).or_insert(declared.into());
                }
                if declared > length {
                    if self.client.addr.is_some() {
                        req.extensions_mut().insert(Unfinished(data.clone()));
                    }
                    let end = std::io::Error::new(
                        std::io::ErrorKind::UnexpectedEof,
                        "the body ended before its Content-Length",
                    );
                    let parts = [Ok(data.clone()), Err(end)];
                    *req.body_mut() = Body::from_stream(stream::iter(parts));
                } else {
                    let seen = usize::try_from(declared).unwrap_or(usize::MAX).min(data.len());
                    *req.body_mut() = Body::from(data.slice(..seen));
                }
                Some(data)
            }
            Payload::Stream(body) => {
                match self.declared {
                    Some(declared) => req.headers_mut().insert(CONTENT_LENGTH, declared.into()),
                    None => req
                        .headers_mut()
                        .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
                };
                *req.body_mut() = body;
                None
            }
            Payload::Gone => None,
        }
    }
}

impl TestRequest {
    /// Trailers follow the last chunk, and HTTP/1.1 has chunks only without a Content-Length.
    fn put_trailers(&self, req: &mut Request) {
        if self.trailers.is_empty() {
            return;
        }
        let names: Vec<&str> = self.trailers.keys().map(HeaderName::as_str).collect();
        let Ok(names) = HeaderValue::try_from(names.join(", ")) else { return };
        let headers = req.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.insert(TRAILER, names);
        let body = std::mem::replace(req.body_mut(), Body::empty());
        let trailers = self.trailers.clone();
        *req.body_mut() = Body::new(body.with_trailers(async { Some(Ok(trailers)) }.boxed()));
    }
}

impl fmt::Debug for TestRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Changes a response as hyper does before it is sent (RFC 9110, 6.4.1 and 8.6): a test in process sees the same as over TCP.
fn as_a_server_does(method: &Method, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let none = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || parts.status.is_informational();
    let head = *method == Method::HEAD;
    if let Some(length) = body.size_hint().exact()
        && !none
        && (length > 0 || !head)
    {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    // For HEAD hyper keeps it.
    if parts.status == StatusCode::NO_CONTENT && !head {
        parts.headers.remove(CONTENT_LENGTH);
    }
    if none || head {
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, body)
}

/// A relative reference (RFC 3986, 5.2).
fn resolve(base: &str, target: &str) -> String {
    let (path, rest) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let mut segments: Vec<&str> = base.split('/').skip(1).collect();
    segments.pop();
    let mut open = false;
    for segment in path.split('/') {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    if open {
        segments.push("");
    }
    format!("/{}{rest}", segments.join("/"))
}

/// Everything except the unreserved characters (RFC 3986, 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Characters that are not permitted in a URI. Percent signs are kept: the test may have encoded its path.
const OUTSIDE_URI: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');
