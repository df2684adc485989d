//! Problem details for the errors of tower layers.
//!
//! # What it does
//!
//! The errors of this crate are `application/problem+json`. Layers such as those of tower-http answer with an empty body or a line of text.
//! [`ProblemDetails`] goes around them, and gives their responses the same format, with their status and header fields. An `on_error` hook
//! around it receives them as errors.
//!
//! A response is rendered again if its status is 400 or above and its body is empty, or is one of the lines that tower-http and axum's extractors
//! are known to write. The response of a handler is not changed.
//!
//! # Example
//!
//! ```
//! use tower_chain::{Chain, ProblemDetails};
//! use tower_http::limit::RequestBodyLimitLayer;
//!
//! let chain = Chain::new()
//!     .use_(ProblemDetails::new())
//!     .use_(RequestBodyLimitLayer::new(1024))
//!     .post(async |text: String| text);
//! # let _ = chain.build();
//! ```
//!
//! # Example: every text
//!
//! ```
//! use tower_chain::{Chain, ProblemDetails};
//!
//! let chain = Chain::new()
//!     .use_(ProblemDetails::new().every_text())
//!     .get(async || (http::StatusCode::IM_A_TEAPOT, "short and stout"));
//! # let _ = chain.build();
//! ```
//!
//! # What the client sees
//!
//! | cause | status | body |
//! | --- | --- | --- |
//! | a layer refuses, with an empty body or a known line | unchanged | problem+json with the title of the status |
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! Around the layers whose responses it renders, and with `always` if they were added with `always`.
//!
//! # Sources
//!
//! RFC 9457 (problem details).

use axum_core::response::IntoResponse;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderValue, Method};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::{Body, Endpoint, Error, Middleware, Next, Response};

/// A step that renders the refusals of tower layers as problem details. See the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct ProblemDetails {
    every_text: bool,
}

impl ProblemDetails {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Renders every error whose body is plain text of up to 64 KiB, also those of handlers, and drops the text. Defaults to the known lines
    /// only.
    #[must_use]
    pub fn every_text(mut self) -> Self {
        self.every_text = true;
        self
    }

    /// Whether the body may be one of the lines. No other body is read.
    fn is_candidate(self, response: &Response) -> bool {
        if Error::of(response).is_some() || response.headers().contains_key(CONTENT_ENCODING) {
            return false;
        }
        let body = response.body().size_hint();
        let text = match response.headers().get(CONTENT_TYPE) {
            None => true,
            Some(value) => value.as_bytes().starts_with(b"text/plain"),
        };
        text && body.exact().is_some_and(|length| length <= LONGEST_TEXT)
    }
}

impl Middleware for ProblemDetails {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let head = *next.method() == Method::HEAD;
        let response = next.run().await;
        let status = response.status();
        if !(status.is_client_error() || status.is_server_error()) || !self.is_candidate(&response)
        {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        // If reading the body fails, there is no text to keep.
        let text = body.collect().await.map(http_body_util::Collected::to_bytes).ok();
        if let Some(text) = text {
            let known = || LINES.iter().any(|line| is_line(&text, line));
            let without_a_body =
                text.is_empty() && (!head || !parts.headers.contains_key(CONTENT_LENGTH));
            if !(without_a_body || self.every_text || known()) {
                return Response::from_parts(parts, Body::from(text));
            }
        }
        for field in [CONTENT_TYPE, CONTENT_LENGTH, TRANSFER_ENCODING] {
            parts.headers.remove(field);
        }
        let mut error = Error::new(status, "");
        for (name, value) in &parts.headers {
            error = error.with_header(name.clone(), HeaderValue::clone(value));
        }
        let mut rendered = error.into_response();
        // Layers leave values for the steps around them, such as the reason of a refusal.
        parts.extensions.extend(std::mem::take(rendered.extensions_mut()));
        *rendered.extensions_mut() = parts.extensions;
        rendered
    }
}

/// Whether the text is the line, with or without a cause or a quoted name after it. A `*` in the line is a text of the client.
fn is_line(text: &[u8], line: &str) -> bool {
    if let Some((start, end)) = line.split_once('*') {
        let is_end = |rest: &[u8]| rest.windows(end.len()).any(|found| found == end.as_bytes());
        return text.strip_prefix(start.as_bytes()).is_some_and(is_end);
    }
    text.strip_prefix(line.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b": ") || rest.starts_with(b" `"))
}

/// A longer text is not an error message, and is not read.
const LONGEST_TEXT: u64 = 64 * 1024;

/// The lines of tower-http 0.7, axum-core 0.5 and axum 0.8 with multer 3. Those of axum quote what the client sent.
const LINES: &[&str] = &[
    "length limit exceeded",
    "Service panicked",
    "Unsupported content-encoding",
    "Failed to buffer the request body",
    "Request body didn't contain valid UTF-8",
    "Failed to parse the request body as JSON",
    "Failed to deserialize the JSON body into the target type",
    "Expected request with `Content-Type: application/json`",
    "Failed to deserialize form",
    "Failed to deserialize form body",
    "Failed to deserialize query string",
    "Form requests must have `Content-Type: application/x-www-form-urlencoded`",
    "Invalid `boundary` for `multipart/form-data` request",
    "Error parsing `multipart/form-data` request",
    "Request payload is too large",
    "unknown field received",
    "field \"*\" received with incomplete data",
    "field \"*\" exceeded the size limit: ",
    "failed to decode field's raw header name",
    "failed to decode field's raw header value",
    "stream size exceeded limit",
    "failed to read headers",
    "failed to read stream",
    "failed to decode Content-Type",
    "failed to read field complete headers",
    "incomplete multipart stream",
    "Invalid URL",
    "Invalid UTF-8 in",
    "Unsupported type",
    "Missing request extension",
    "No matched path found",
    "No paths parameters found for matched route",
    "The matched route is not nested",
    "Wrong number of path arguments for",
    "Request method must be `GET`",
    "Request method must be `CONNECT`",
    "Connection header did not include 'upgrade'",
    "`Upgrade` header did not include 'websocket'",
    "`:protocol` pseudo-header did not include 'websocket'",
    "`Sec-WebSocket-Version` header did not include '13'",
    "`Sec-WebSocket-Key` header missing",
    "WebSocket request couldn't be upgraded since no upgrade state was present",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Request, StatusCode};
    use serde_json::Value;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;
    use tower_http::limit::RequestBodyLimitLayer;
    use tower_http::timeout::TimeoutLayer;
    use tower_http::validate_request::ValidateRequestHeaderLayer;

    use super::*;
    use crate::Chain;

    async fn send(chain: &crate::ChainService, req: Request<Body>) -> (u16, String, String) {
        let response = chain.clone().oneshot(req).await.unwrap();
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE).map_or("", |v| v.to_str().unwrap()).to_owned();
        let text = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), kind, String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_of_layers_have_the_one_shape() {
        async fn panics() -> &'static str {
            panic!("on purpose")
        }
        let timeout =
            TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(1));
        let chain = Chain::new()
            .use_(ProblemDetails::new())
            .use_(CatchPanicLayer::new())
            .use_(timeout)
            .use_(RequestBodyLimitLayer::new(4))
            .use_(ValidateRequestHeaderLayer::accept("text/plain"))
            .at("/text", |c| c.post(async |text: String| text))
            .at("/slow", |c| c.get(std::future::pending::<&'static str>))
            .at("/panic", |c| c.get(panics))
            .build();
        let post = |body: &'static str| Request::post("/text").body(Body::from(body)).unwrap();
        let mut declared = post("12345");
        declared.headers_mut().insert(CONTENT_LENGTH, "5".parse().unwrap());
        let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
        let mut accept = get("/slow");
        accept.headers_mut().insert("accept", "image/png".parse().unwrap());
        for (req, status) in [
            (declared, 413),
            (post("12345"), 413),
            (get("/slow"), 408),
            (get("/panic"), 500),
            (accept, 406),
        ] {
            let path = req.uri().to_string();
            let (found, kind, text) = send(&chain, req).await;
            assert_eq!((found, &*kind), (status, "application/problem+json"), "{path} {text}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["status"], status);
        }
    }

    #[tokio::test]
    async fn refusals_of_axum_have_the_one_shape() {
        let router = axum::Router::new().route("/", axum::routing::post(async |text: String| text));
        let chain = Chain::new().use_(ProblemDetails::new()).service("/", router).build();
        let req = Request::post("/").body(Body::from(&b"\xff"[..])).unwrap();
        let (status, kind, _) = send(&chain, req).await;
        assert_eq!((status, &*kind), (400, "application/problem+json"));
    }

    #[tokio::test]
    async fn refusals_of_axum_repeat_nothing_that_was_submitted() {
        use axum::extract::multipart::MultipartError;
        use axum::extract::{Form, Json, Multipart, Path, Query, WebSocketUpgrade};
        use axum::routing::{get, post};

        #[derive(serde::Deserialize)]
        struct User {
            #[allow(dead_code, reason = "only read")]
            id: u8,
        }
        async fn parts(mut form: Multipart) -> Result<&'static str, MultipartError> {
            while let Some(part) = form.next_field().await? {
                part.bytes().await?;
            }
            Ok("fine")
        }
        let part =
            |rest: &str| format!("--B\r\nContent-Disposition: form-data; name=\"CANARY\"{rest}");
        let many = "x".repeat(3 << 20);
        let router = axum::Router::new()
            .route("/json", post(async |_: Json<User>| "fine"))
            .route("/form", post(async |_: Form<User>| "fine").get(async |_: Form<User>| "fine"))
            .route("/query", get(async |_: Query<User>| "fine"))
            .route("/path/{id}", get(async |_: Path<u8>| "fine"))
            .route("/paths/{id}/{other}", get(async |_: Path<u8>| "fine"))
            .route("/ws", get(async |_: WebSocketUpgrade| "fine"))
            .route("/pairs/{id}", get(async |_: Path<Vec<(String, Vec<u8>)>>| "fine"))
            .route("/multipart", post(parts));
        let chain = Chain::new().use_(ProblemDetails::new()).service("/", router).build();
        let long = "CANARY".repeat(1000);
        let (json, form) = ("application/json", "application/x-www-form-urlencoded");
        let boundary = "multipart/form-data; boundary=B";
        for (method, path, kind, body) in [
            ("POST", "/json", json, "{\"id\":\"CANARY\"}".to_owned()),
            ("POST", "/json", json, format!("{{\"id\":\"{long}\"}}")),
            ("POST", "/json", json, "CANARY".to_owned()),
            ("POST", "/json", "text/CANARY", "{}".to_owned()),
            ("POST", "/form", form, format!("id={long}")),
            ("POST", "/form", json, "id=1".to_owned()),
            ("GET", "/form?id=CANARY", form, String::new()),
            ("GET", "/query?id=CANARY", "", String::new()),
            ("GET", "/path/CANARY", "", String::new()),
            ("GET", "/path/%ff", "", String::new()),
            ("GET", "/paths/1/CANARY", "", String::new()),
            ("GET", "/ws", "", String::new()),
            ("GET", "/pairs/CANARY", "", String::new()),
            ("POST", "/multipart", "multipart/form-data", String::new()),
            ("POST", "/multipart", boundary, String::new()),
            ("POST", "/multipart", boundary, "CANARY".to_owned()),
            ("POST", "/multipart", boundary, part("")),
            ("POST", "/multipart", boundary, part("\r\n\r\nCANARY")),
            ("POST", "/multipart", boundary, part("\r\nCANARY\r\n\r\n1\r\n--B--\r\n")),
            ("POST", "/multipart", boundary, part("\r\nCANARY: \0\r\n\r\n1\r\n--B--\r\n")),
            ("POST", "/multipart", boundary, part(&format!("\r\n\r\n{many}\r\n--B--\r\n"))),
        ] {
            let mut req = Request::builder().method(method).uri(path);
            if !kind.is_empty() {
                req = req.header(CONTENT_TYPE, kind);
            }
            let req = req.body(Body::from(body)).unwrap();
            let (status, kind, text) = send(&chain, req).await;
            // A path with other parameters than the handler takes is a mistake of the program.
            let is_expected = (400..500).contains(&status) || path.starts_with("/pa");
            assert!(is_expected, "{path} {status} {text}");
            assert_eq!(kind, "application/problem+json", "{path} {text}");
            assert!(!text.contains("CANARY"), "{path} {text}");
        }
    }

    #[tokio::test]
    async fn what_a_handler_writes_is_left_alone() {
        let handlers = |step: ProblemDetails| {
            Chain::new()
                .use_(step)
                .at("/text", |c| c.get(async || (StatusCode::NOT_FOUND, "No such user")))
                .at("/own", |c| {
                    c.get(async || (StatusCode::BAD_REQUEST, "length limit exceeded by far"))
                })
                .at("/json", |c| {
                    c.get(async || {
                        (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "application/json")], "{}")
                    })
                })
                .at("/fine", |c| c.get(async || ""))
                .at("/long", |c| c.get(async || (StatusCode::BAD_REQUEST, "x".repeat(65_537))))
                .build()
        };
        let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
        let chain = handlers(ProblemDetails::new());
        for (path, status, text) in [
            ("/text", 404, "No such user"),
            ("/own", 400, "length limit exceeded by far"),
            ("/json", 404, "{}"),
            ("/fine", 200, ""),
        ] {
            let (found, _, body) = send(&chain, get(path)).await;
            assert_eq!((found, &*body), (status, text), "{path}");
        }
        let chain = handlers(ProblemDetails::new().every_text());
        assert_eq!(send(&chain, get("/text")).await.1, "application/problem+json");
        assert_eq!(send(&chain, get("/json")).await.1, "application/json");
        assert_eq!(send(&chain, get("/long")).await.2.len(), 65_537);
    }

    #[tokio::test]
    async fn header_fields_and_extensions_of_the_refusal_are_kept() {
        #[derive(Clone, Debug, PartialEq)]
        struct Reason(u8);
        let chain = Chain::new()
            .use_(ProblemDetails::new())
            .get(async || {
                let mut refusal = StatusCode::UNAUTHORIZED.into_response();
                refusal.headers_mut().insert("www-authenticate", HeaderValue::from_static("Basic"));
                refusal.extensions_mut().insert(Reason(7));
                refusal
            })
            .build();
        let response = chain.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Basic");
        assert_eq!(response.extensions().get(), Some(&Reason(7)));
        assert!(Error::of(&response).is_some());
    }
}
