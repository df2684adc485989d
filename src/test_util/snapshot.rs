//! A request and its response as a text that is the same in each run.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::exchange::Sent;
use super::response::TestResponse;

impl TestResponse {
    /// The request and the response as a text that is the same in each run, for a snapshot crate such as `insta` or `expect-test`.
    ///
    /// # Example
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_chain::{Chain, Json, TestClient};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let made = async || (http::StatusCode::CREATED, [("x-request-id", "8476a536")], Json(json!({ "name": "Ann", "id": 7 })));
    /// let client = TestClient::new(Chain::new().at("/users", |c| c.post(made)).build());
    ///
    /// let response = client.post("/users").json(&json!({ "name": "Ann" })).bearer("secret").send().await;
    /// let snapshot = response.snapshot().masked_header("x-request-id").masked_json("/id");
    /// assert_eq!(
    ///     snapshot.to_string(),
    ///     r#"POST /users
    /// authorization: [masked]
    /// content-type: application/json
    ///
    /// {
    ///   "name": "Ann"
    /// }
    ///
    /// 201 Created
    /// content-type: application/json
    /// x-request-id: [masked]
    ///
    /// {
    ///   "id": "[masked]",
    ///   "name": "Ann"
    /// }
    /// "#
    /// );
    /// # }
    /// ```
    pub fn snapshot(&self) -> TestSnapshot {
        TestSnapshot {
            sent: self.sent.clone(),
            status: self.status,
            headers: self.headers.clone(),
            body: self.body.clone(),
            trailers: self.trailers.clone(),
            whole: self.body_error.is_none(),
            masked_headers: Vec::new(),
            masked_json: Vec::new(),
        }
    }
}

/// A request and its response as a text that is the same in each run. Made by [`TestResponse::snapshot`].
///
/// Headers are sorted. `content-length`, `transfer-encoding`, `date` and `host` are left out, as they differ between a test in process and over
/// TCP. JSON is indented, with its members sorted. Credentials are masked.
#[derive(Clone)]
#[must_use]
pub struct TestSnapshot {
    sent: Sent,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
    whole: bool,
    masked_headers: Vec<String>,
    masked_json: Vec<String>,
}

impl TestSnapshot {
    /// Masks the value of a header that changes from run to run, in the request and in the response.
    pub fn masked_header(mut self, name: &str) -> Self {
        self.masked_headers.push(name.to_ascii_lowercase());
        self
    }

    /// Masks the value at a JSON Pointer (RFC 6901) in both bodies, if they have it.
    pub fn masked_json(mut self, pointer: &str) -> Self {
        self.masked_json.push(pointer.to_owned());
        self
    }

    fn fields(&self, f: &mut fmt::Formatter<'_>, headers: &HeaderMap) -> fmt::Result {
        let mut fields: Vec<(&HeaderName, &HeaderValue)> =
            headers.iter().filter(|(name, _)| !UNSTABLE.contains(name)).collect();
        // Values of one name keep their order.
        fields.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in fields {
            let masked = self.masked_headers.iter().any(|masked| name == masked.as_str());
            match masked || value.is_sensitive() {
                true => writeln!(f, "{name}: {MASK}")?,
                false => writeln!(f, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?,
            }
        }
        Ok(())
    }

    fn body(&self, f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Ok(mut json) = serde_json::from_slice::<Value>(bytes)
            && matches!(json, Value::Object(_) | Value::Array(_))
        {
            for pointer in &self.masked_json {
                if let Some(value) = json.pointer_mut(pointer) {
                    *value = MASK.into();
                }
            }
            json.sort_all_objects();
            return writeln!(f, "\n{json:#}");
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => writeln!(f, "\n{}", text.trim_end_matches('\n')),
            Err(_) => writeln!(f, "\n({} bytes)", bytes.len()),
        }
    }
}

impl fmt::Display for TestSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // On HTTP/2 the URI is absolute.
        let target = self.sent.uri.path_and_query().map_or("/", |target| target.as_str());
        writeln!(f, "{} {target}", self.sent.method)?;
        self.fields(f, &self.sent.headers)?;
        match &self.sent.body {
            Some(bytes) => self.body(f, bytes)?,
            None => writeln!(f, "\n(a stream)")?,
        }
        writeln!(f, "\n{}", self.status)?;
        self.fields(f, &self.headers)?;
        self.body(f, &self.body)?;
        if !self.whole {
            writeln!(f, "\n(cut off)")?;
        }
        if let Some(trailers) = &self.trailers {
            writeln!(f)?;
            self.fields(f, trailers)?;
        }
        Ok(())
    }
}

impl fmt::Debug for TestSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const MASK: &str = "[masked]";
const UNSTABLE: [HeaderName; 4] = [CONTENT_LENGTH, DATE, HOST, TRANSFER_ENCODING];
