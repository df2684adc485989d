//! A response with its whole body.

use std::fmt;

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cookie::TestCookie;
use super::exchange::{self, Sent};
use super::transport::BodyError;
use crate::Error;

/// A response with its whole body.
///
/// Assertions return the response, so they can be chained. One that fails panics at the line of the test, with the request and the response.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, Json, TestClient};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let client = TestClient::new(Chain::new().get(async || Json(["Ann", "Bob"])).build());
/// let response = client.get("/").send().await;
/// response.assert_status(200).assert_content_type("application/json").assert_json_at("/1", "Bob");
/// let names: Vec<String> = response.json();
/// assert_eq!(names.len(), 2);
/// # }
/// ```
#[derive(Clone)]
pub struct TestResponse {
    pub(super) sent: Sent,
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) extensions: Extensions,
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) body_error: Option<BodyError>,
}

impl TestResponse {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first value of a header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The extensions of the response. Empty over TCP.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The [`Error`] from which this response was made, with its cause, which the client doesn't see. `None` over TCP.
    pub fn error(&self) -> Option<&Error> {
        Error::of_extensions(&self.extensions)
    }

    /// The method and the URI of the last request, after all redirects.
    pub fn asked(&self) -> (&Method, &Uri) {
        (&self.sent.method, &self.sent.uri)
    }

    /// The body, or the part before [`body_error`](Self::body_error).
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// Why the body is incomplete.
    pub fn body_error(&self) -> Option<&BodyError> {
        self.body_error.as_ref()
    }

    /// The trailers.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8, or incomplete.
    #[track_caller]
    pub fn text(&self) -> &str {
        self.whole();
        match std::str::from_utf8(&self.body) {
            Ok(text) => text,
            Err(error) => {
                self.fail(format_args!("expected a text, but the body is not UTF-8: {error}"))
            }
        }
    }

    /// The body, decoded from JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON, or not a `T`. [`try_json`](Self::try_json) returns an error instead.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        self.whole();
        match self.try_json() {
            Ok(value) => value,
            Err(error) => self.fail(format_args!(
                "expected JSON that is a `{}`: {error}",
                std::any::type_name::<T>()
            )),
        }
    }

    /// The body, decoded from JSON.
    ///
    /// # Errors
    ///
    /// If it is not JSON, or not a `T`.
    pub fn try_json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The value at a JSON Pointer (RFC 6901) of the body.
    ///
    /// # Panics
    ///
    /// If the body is not JSON, or has no such value.
    #[track_caller]
    pub fn json_at(&self, pointer: &str) -> Value {
        match self.json::<Value>().pointer(pointer) {
            Some(value) => value.clone(),
            None => self.fail(format_args!("expected a value at `{pointer}`, but there is none")),
        }
    }

    /// A cookie that the response sets.
    ///
    /// # Panics
    ///
    /// If it sets no cookie of this name, or several.
    #[track_caller]
    pub fn cookie(&self, name: &str) -> TestCookie {
        let mut all = self.cookies().into_iter().filter(|cookie| cookie.name() == name);
        match (all.next(), all.next()) {
            (Some(cookie), None) => cookie,
            (None, _) => self.fail(format_args!("expected the cookie `{name}`, but it isn't set")),
            _ => self.fail(format_args!("expected the cookie `{name}` once, but it is set twice")),
        }
    }

    /// All cookies that the response sets.
    pub fn cookies(&self) -> Vec<TestCookie> {
        TestCookie::all(&self.headers)
    }

    /// Whether a document declares the response. The error names what it lacks.
    #[cfg(feature = "openapi")]
    pub(super) fn declared(&self, contract: &crate::openapi::Contract) -> Result<(), String> {
        let (method, uri) = self.asked();
        contract.check(method, uri.path(), self.status, &self.headers, &self.body)
    }

    #[track_caller]
    pub(super) fn whole(&self) {
        if let Some(error) = &self.body_error {
            self.fail(format_args!("expected a complete body, but {error}"));
        }
    }

    /// Fails the test with the whole exchange.
    #[track_caller]
    pub(super) fn fail(&self, what: impl fmt::Display) -> ! {
        panic!("{what}\n\n{self}")
    }
}

/// Shows the request and the response, with headers and bodies.
impl fmt::Display for TestResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sent.fmt(f)?;
        exchange::received(f, self.status, &self.headers, self.error())?;
        exchange::body(f, '<', &self.body)?;
        if let Some(error) = &self.body_error {
            writeln!(f, "  ({error})")?;
        }
        match &self.trailers {
            Some(trailers) => exchange::trailers(f, '<', trailers),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TestResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
