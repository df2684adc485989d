//! Assertions that print the request and the response.

use std::fmt::{Debug, Display};
use std::ops::RangeBounds;

use http::StatusCode;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use serde::Serialize;
use serde_json::Value;

use super::response::TestResponse;

impl TestResponse {
    /// Asserts the status.
    #[track_caller]
    pub fn assert_status(&self, status: impl PartialEq<StatusCode> + Debug) -> &Self {
        if status != self.status {
            self.fail(format_args!("expected the status {status:?}, but it is {}", self.status));
        }
        self
    }

    /// Asserts that the status is in a range, such as `200..300`.
    #[track_caller]
    pub fn assert_status_in(&self, range: impl RangeBounds<u16> + Debug) -> &Self {
        if !range.contains(&self.status.as_u16()) {
            self.fail(format_args!("expected a status in {range:?}, but it is {}", self.status));
        }
        self
    }

    /// Asserts that the status is one of 200 to 299.
    #[track_caller]
    pub fn assert_success(&self) -> &Self {
        self.assert_status_in(200..300)
    }

    /// Asserts that the response has a header once, with this value.
    #[track_caller]
    pub fn assert_header(&self, name: &str, value: impl AsRef<[u8]>) -> &Self {
        let value = value.as_ref();
        let all: Vec<_> = self.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        if all != [value] {
            let value = String::from_utf8_lossy(value);
            self.fail(match all.len() {
                0 => format!("expected `{name}: {value}`, but there is no `{name}`"),
                1 => format!(
                    "expected `{name}: {value}`, but it is `{}`",
                    String::from_utf8_lossy(all[0])
                ),
                n => format!("expected `{name}: {value}` once, but there are {n} of `{name}`"),
            });
        }
        self
    }

    /// Asserts that one of the values of a header contains this text.
    #[track_caller]
    pub fn assert_header_contains(&self, name: &str, text: &str) -> &Self {
        let mut all = self.headers.get_all(name).iter();
        if !all.any(|value| String::from_utf8_lossy(value.as_bytes()).contains(text)) {
            self.fail(format_args!("expected a `{name}` that contains `{text}`"));
        }
        self
    }

    /// Asserts that the response has a header, once or more.
    #[track_caller]
    pub fn assert_header_exists(&self, name: &str) -> &Self {
        if !self.headers.contains_key(name) {
            self.fail(format_args!("expected a header `{name}`, but there is none"));
        }
        self
    }

    /// Asserts that the response does not have a header.
    #[track_caller]
    pub fn assert_header_absent(&self, name: &str) -> &Self {
        if self.headers.contains_key(name) {
            self.fail(format_args!("expected no header `{name}`, but there is one"));
        }
        self
    }

    /// Asserts how many fields of this name the response has.
    #[track_caller]
    pub fn assert_header_count(&self, name: &str, count: usize) -> &Self {
        let have = self.headers.get_all(name).iter().count();
        if have != count {
            self.fail(format_args!(
                "expected {count} of the header `{name}`, but there are {have}"
            ));
        }
        self
    }

    /// Asserts that the response has a trailer once, with this value.
    #[track_caller]
    pub fn assert_trailer(&self, name: &str, value: impl AsRef<[u8]>) -> &Self {
        let value = value.as_ref();
        let trailers = self.trailers.iter().flat_map(|trailers| trailers.get_all(name));
        let all: Vec<_> = trailers.map(HeaderValue::as_bytes).collect();
        if all != [value] {
            let value = String::from_utf8_lossy(value);
            self.fail(format_args!("expected the trailer `{name}: {value}` once"));
        }
        self
    }

    /// Asserts the media type, without its parameters: `application/json` matches `application/json; charset=utf-8`.
    #[track_caller]
    pub fn assert_content_type(&self, kind: &str) -> &Self {
        let have = self.media_type();
        if !have.is_some_and(|have| have.eq_ignore_ascii_case(kind)) {
            self.fail(format_args!(
                "expected the content type {kind}, but it is {}",
                have.unwrap_or("missing")
            ));
        }
        self
    }

    pub(super) fn media_type(&self) -> Option<&str> {
        let value = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        Some(value.split(';').next().unwrap_or(value).trim_matches([' ', '\t']))
    }

    /// Asserts the body as text.
    #[track_caller]
    pub fn assert_text(&self, text: &str) -> &Self {
        if self.text() != text {
            self.fail(format_args!("expected the text {text:?}, but it is {:?}", self.text()));
        }
        self
    }

    /// Asserts that the body is text that contains this.
    #[track_caller]
    pub fn assert_text_contains(&self, text: &str) -> &Self {
        if !self.text().contains(text) {
            self.fail(format_args!("expected a text that contains {text:?}"));
        }
        self
    }

    /// Asserts the body.
    #[track_caller]
    pub fn assert_bytes(&self, bytes: impl AsRef<[u8]>) -> &Self {
        self.whole();
        let bytes = bytes.as_ref();
        if self.body != bytes {
            self.fail(format_args!(
                "expected a body of {} bytes, but it is a different one of {}",
                bytes.len(),
                self.body.len()
            ));
        }
        self
    }

    /// Asserts that there is no body.
    #[track_caller]
    pub fn assert_empty(&self) -> &Self {
        self.whole();
        if !self.body.is_empty() {
            self.fail(format_args!("expected no body, but it has {} bytes", self.body.len()));
        }
        self
    }

    /// Asserts that the body failed while it was read, or is longer than the limit.
    #[track_caller]
    pub fn assert_body_error(&self) -> &Self {
        if self.body_error.is_none() {
            self.fail("expected that the body fails, but it is complete");
        }
        self
    }

    /// Asserts that the body is this JSON value.
    #[track_caller]
    pub fn assert_json(&self, value: &(impl Serialize + ?Sized)) -> &Self {
        let (value, have) = (self.expected(value), self.json_body());
        if have != value {
            self.fail(format_args!("expected the JSON\n  {value}\nbut it is\n  {have}"));
        }
        self
    }

    /// Asserts that the body is JSON that contains all of this value. Objects may have more members; lists must have the same length.
    #[track_caller]
    pub fn assert_json_contains(&self, value: &(impl Serialize + ?Sized)) -> &Self {
        let (value, have) = (self.expected(value), self.json_body());
        if let Some(place) = difference(&value, &have, String::new()) {
            self.fail(format_args!(
                "expected JSON that contains\n  {value}\nbut at `{place}` it differs:\n  {have}"
            ));
        }
        self
    }

    /// Asserts the value at a JSON Pointer (RFC 6901).
    #[track_caller]
    pub fn assert_json_at(&self, pointer: &str, value: impl Serialize) -> &Self {
        let (value, have) = (self.expected(&value), self.json_at(pointer));
        if have != value {
            self.fail(format_args!("expected {value} at `{pointer}`, but it is {have}"));
        }
        self
    }

    /// Asserts a condition of the value at a JSON Pointer: that it is a UUID, is in a range, and so on.
    #[track_caller]
    pub fn assert_json_is(
        &self,
        pointer: &str,
        what: &str,
        holds: impl FnOnce(&Value) -> bool,
    ) -> &Self {
        let have = self.json_at(pointer);
        if !holds(&have) {
            self.fail(format_args!("expected {what} at `{pointer}`, but it is {have}"));
        }
        self
    }

    /// The body as JSON. Its Content-Type must be JSON.
    #[track_caller]
    fn json_body(&self) -> Value {
        let json = |kind: &str| kind == "application/json" || kind.ends_with("+json");
        if !self.media_type().is_some_and(|kind| json(&kind.to_ascii_lowercase())) {
            self.fail("expected a content type of JSON");
        }
        self.json()
    }

    #[track_caller]
    fn expected(&self, value: &(impl Serialize + ?Sized)) -> Value {
        match serde_json::to_value(value) {
            Ok(value) => value,
            Err(error) => {
                self.fail(format_args!("the expected value can't be converted to JSON: {error}"))
            }
        }
    }

    /// Asserts a redirect to this target.
    #[track_caller]
    pub fn assert_redirect(&self, target: &str) -> &Self {
        if !matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            self.fail(format_args!("expected a redirect, but the status is {}", self.status));
        }
        self.assert_header(LOCATION.as_str(), target)
    }

    /// Asserts the methods in `Allow`, in any order.
    #[track_caller]
    pub fn assert_allow<M: Display>(&self, methods: impl IntoIterator<Item = M>) -> &Self {
        let mut expected: Vec<String> = methods.into_iter().map(|m| m.to_string()).collect();
        let mut have: Vec<&str> = self.list("allow");
        expected.sort_unstable();
        have.sort_unstable();
        if have != expected {
            self.fail(format_args!("expected `Allow` to list {expected:?}, but it lists {have:?}"));
        }
        self
    }

    /// Asserts the entity tag, with its quotes.
    #[track_caller]
    pub fn assert_etag(&self, tag: &str) -> &Self {
        self.assert_header(ETAG.as_str(), tag)
    }

    /// The items of a list in a header (RFC 9110, 5.6.1).
    fn list(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let items = values.flat_map(|value| value.split(','));
        items.map(|item| item.trim_matches([' ', '\t'])).filter(|i| !i.is_empty()).collect()
    }
}

/// The JSON Pointer of the first part of `want` that `have` does not contain.
fn difference(want: &Value, have: &Value, place: String) -> Option<String> {
    match (want, have) {
        (Value::Object(want), Value::Object(have)) => want.iter().find_map(|(name, want)| {
            let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
            match have.get(name) {
                Some(have) => difference(want, have, place),
                None => Some(place),
            }
        }),
        (Value::Array(want), Value::Array(have)) if want.len() == have.len() => {
            let mut pairs = want.iter().zip(have).enumerate();
            pairs.find_map(|(i, (want, have))| difference(want, have, format!("{place}/{i}")))
        }
        _ => (want != have).then_some(place),
    }
}
