//! Entity tags for dynamic responses.
//!
//! # What it does
//!
//! [`ETag`] adds an `ETag`, computed from the body, to each response to GET and HEAD that is a 200 with a body of known length. If the client has
//! that version already, it answers 304 without a body. An `ETag` that the handler sets is kept and compared. Responses with a body of unknown
//! length, such as a stream, and those to other methods and with other statuses, are not changed.
//!
//! A body is read into memory before it is tagged. If it arrives in pieces but has a known length, such as that of a file or of a response from
//! another server, the response waits until the body is complete. [`up_to`](ETag::up_to) bounds such a body; a handler that sets a tag itself
//! avoids the wait.
//!
//! # Example
//!
//! ```
//! use tower_chain::{Chain, ETag};
//!
//! let chain = Chain::new().use_(ETag::new()).get(async || "hello");
//! # let _ = chain.build();
//! ```
//!
//! # Example: strong tags, and only for small bodies
//!
//! ```
//! use tower_chain::{Chain, ETag};
//!
//! let chain = Chain::new().use_(ETag::new().strong().up_to(64 * 1024)).get(async || "hello");
//! # let _ = chain.build();
//! ```
//!
//! # What the client sees
//!
//! | cause | status | fields | body |
//! | --- | --- | --- | --- |
//! | new to the client | 200 | `ETag` | unchanged |
//! | `If-None-Match` has the tag, or is `*` | 304 | `ETag`, and those of the response that do not describe its body | none |
//! | `If-Modified-Since`, without `If-None-Match`, is not before the `Last-Modified` of the handler | 304 | the same | none |
//! | `If-Match` has neither the tag nor `*` | 412 | `ETag` | problem+json |
//! | `If-Unmodified-Since`, without `If-Match`, is before the `Last-Modified` of the handler | 412 | `ETag` | problem+json |
//!
//! `If-Match` compares strongly: a weak tag never matches. A 304 to a request with `Accept-Encoding` has `Vary: Accept-Encoding`, as the 200 has
//! behind a layer that compresses. A date must be in the form that RFC 9110 requires to be sent (`Sun, 06 Nov 1994 08:49:37 GMT`); other dates are
//! ignored.
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! Inside a layer that compresses. The tag is weak by default, which makes it valid for the compressed body as well.
//!
//! # Sources
//!
//! RFC 9110, 8.8.3 (ETag), 13.1.1 (If-Match), 13.1.2 (If-None-Match), 13.1.3 (If-Modified-Since), 13.1.4 (If-Unmodified-Since), 13.2.2, 15.4.5 (304). The tag is a part of a SHA-256 digest.

use axum_core::response::IntoResponse;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};

use crate::declare::{Answer, Declaration, Field};
use crate::step::Refusal;
use crate::{Body, Endpoint, Error, Middleware, Next, Response};

/// A step that adds entity tags, and answers 304 if the client has the same version. See the [module](self).
#[derive(Clone, Copy, Debug)]
pub struct ETag {
    strong: bool,
    up_to: u64,
}

impl ETag {
    /// The defaults.
    pub fn new() -> Self {
        Self { strong: false, up_to: 1024 * 1024 }
    }

    /// Makes strong tags, which mean that two bodies are equal byte by byte. Use them only if no layer around this step changes the body.
    /// Defaults to weak tags.
    #[must_use]
    pub fn strong(mut self) -> Self {
        self.strong = true;
        self
    }

    /// Adds no tag to bodies with more bytes than this. Defaults to 1 MiB.
    #[must_use]
    pub fn up_to(mut self, bytes: u64) -> Self {
        self.up_to = bytes;
        self
    }

    fn tag(self, body: &[u8]) -> Option<HeaderValue> {
        let mut tag = String::from(if self.strong { "\"" } else { "W/\"" });
        // 128 bits are enough to distinguish versions.
        for byte in &Sha256::digest(body)[..16] {
            tag.push_str(&format!("{byte:02x}"));
        }
        tag.push('"');
        tag.try_into().ok()
    }
}

impl Default for ETag {
    fn default() -> Self {
        Self::new()
    }
}

impl Middleware for ETag {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        if *next.method() != Method::GET && *next.method() != Method::HEAD {
            return next.run().await;
        }
        let conditions = Conditions::of(next.headers());
        let mut response = next.run().await;
        if response.status() != StatusCode::OK {
            return response;
        }
        if !response.headers().contains_key(ETAG) {
            match response.body().size_hint().exact() {
                Some(length) if length <= self.up_to => {}
                _ => return response,
            }
            let (mut parts, body) = response.into_parts();
            // In most responses the body is in memory already.
            let bytes = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) => return Error::from(error).into_response(),
            };
            // A handler for HEAD only has no body to tag.
            if let Some(tag) = self.tag(&bytes).filter(|_| !bytes.is_empty()) {
                parts.headers.insert(ETAG, tag);
            }
            response = Response::from_parts(parts, Body::from(bytes));
        }
        conditions.apply(response)
    }

    fn declare(&self, to: &mut Declaration) {
        to.only_for([Method::GET, Method::HEAD])
            .adds(Field::new("etag", "Identifies this version of the content").optional())
            .reads(Field::new("if-none-match", "Tags of versions that the client has").optional())
            .reads(Field::new("if-match", "Tags of versions that the client accepts").optional())
            .answers(Answer::new(StatusCode::NOT_MODIFIED, "The client has this version"))
            .answers(Answer::problem(
                StatusCode::PRECONDITION_FAILED,
                "The content has another version than the client accepts",
            ));
    }
}

/// The conditions of a request (RFC 9110, 13.1).
struct Conditions {
    if_match: Vec<HeaderValue>,
    if_none_match: Vec<HeaderValue>,
    if_modified_since: Option<Date>,
    if_unmodified_since: Option<Date>,
    accepts_encodings: bool,
}

impl Conditions {
    fn of(headers: &HeaderMap) -> Self {
        let values = |name: HeaderName| headers.get_all(name).iter().cloned().collect();
        Self {
            if_match: values(IF_MATCH),
            if_none_match: values(IF_NONE_MATCH),
            if_modified_since: Date::of(headers, IF_MODIFIED_SINCE),
            if_unmodified_since: Date::of(headers, IF_UNMODIFIED_SINCE),
            accepts_encodings: headers.contains_key(ACCEPT_ENCODING),
        }
    }

    /// In the order of RFC 9110, 13.2.2. Without a tag or a date there is nothing to compare.
    fn apply(&self, response: Response) -> Response {
        let tag = response.headers().get(ETAG);
        let modified = Date::of(response.headers(), LAST_MODIFIED);
        let fails = match (self.if_match.is_empty(), tag) {
            (false, Some(tag)) => !self.if_match.iter().any(|list| has(list, tag, true)),
            (false, None) => false,
            (true, _) => {
                self.if_unmodified_since.zip(modified).is_some_and(|(date, own)| own > date)
            }
        };
        if fails {
            let error = Error::new(StatusCode::PRECONDITION_FAILED, "This is another version now");
            let error = match tag {
                Some(tag) => error.with_header(ETAG, tag.clone()),
                None => error,
            };
            return Refusal::new("ETag", "precondition").mark(error);
        }
        let is_known = match (self.if_none_match.is_empty(), tag) {
            (false, Some(tag)) => self.if_none_match.iter().any(|list| has(list, tag, false)),
            (false, None) => false,
            (true, _) => {
                self.if_modified_since.zip(modified).is_some_and(|(date, own)| own <= date)
            }
        };
        match is_known {
            true => not_modified(response, self.accepts_encodings),
            false => response,
        }
    }
}

/// The year, the month, the day and the time of day (RFC 9110, 5.6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Date([u16; 6]);

impl Date {
    /// `None` if there is no such field, more than one, or a date in another form.
    fn of(headers: &HeaderMap, name: HeaderName) -> Option<Self> {
        let mut values = headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        Self::parse(value.to_str().ok()?)
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once(", ")?;
        let parts: Vec<&str> = rest.split([' ', ':']).collect();
        let [day, month, year, hour, minute, second, "GMT"] = parts[..] else { return None };
        let number = |text: &str, length: usize, max: u16| {
            let digits = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|number| digits && *number <= max)
        };
        let month = MONTHS.iter().position(|name| *name == month)?;
        Some(Self([
            number(year, 4, 9999)?,
            u16::try_from(month).ok()?,
            number(day, 2, 31)?,
            number(hour, 2, 23)?,
            number(minute, 2, 59)?,
            number(second, 2, 60)?,
        ]))
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Whether a list has the tag, or is `*`. In a strong comparison a weak tag is not equal to any (RFC 9110, 8.8.3.2).
fn has(list: &HeaderValue, tag: &HeaderValue, strong: bool) -> bool {
    // A tag may have bytes beyond ASCII.
    let (mut list, tag) = (list.as_bytes(), tag.as_bytes());
    if list.trim_ascii() == b"*" {
        return true;
    }
    let (opaque, weak) = match tag.strip_prefix(b"W/") {
        Some(opaque) => (opaque, true),
        None => (tag, false),
    };
    let [b'"', opaque @ .., b'"'] = opaque else { return false };
    // A tag may contain commas. So the list is read from quote to quote.
    let quote = |text: &[u8]| text.iter().position(|byte| *byte == b'"');
    while let Some(start) = quote(list) {
        let (before, rest) = (&list[..start], &list[start + 1..]);
        let Some(end) = quote(rest) else { return false };
        if rest[..end] == *opaque && !(strong && (weak || before.ends_with(b"W/"))) {
            return true;
        }
        list = &rest[end + 1..];
    }
    false
}

fn not_modified(mut response: Response, accepts_encodings: bool) -> Response {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = Body::empty();
    let headers: &mut HeaderMap = response.headers_mut();
    for field in [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, TRANSFER_ENCODING]
    {
        headers.remove(field);
    }
    // A layer that compresses adds this to a 200, and not to a response without a body (RFC 9110, 15.4.5).
    let varies = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    };
    if accepts_encodings && !headers.get_all(VARY).iter().any(varies) {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::{Chain, ChainService};

    fn chain(step: ETag) -> ChainService {
        let stream = async || {
            let frames = futures_util::stream::iter([Ok::<_, std::io::Error>("hello")]);
            Body::from_stream(frames)
        };
        Chain::new()
            .use_(step)
            .at("/", |c| c.get(async || "hello").post(async || "hello"))
            .at("/own", |c| c.get(async || ([(ETAG, "\"v1,2\"")], "hello")))
            .at("/missing", |c| c.get(async || (StatusCode::NOT_FOUND, "hello")))
            .at("/stream", |c| c.get(stream))
            .build()
    }

    async fn send(chain: &ChainService, method: Method, path: &str, known: &str) -> Response {
        let req = Request::builder().method(method).uri(path);
        let req = if known.is_empty() { req } else { req.header(IF_NONE_MATCH, known) };
        chain.clone().oneshot(req.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_known_version_is_not_sent_again() {
        let chain = chain(ETag::new());
        let first = send(&chain, Method::GET, "/", "").await;
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        assert_eq!(tag, "W/\"2cf24dba5fb0a30e26e83b2ac5b9e29e\"");
        let strong = tag.trim_start_matches("W/").to_owned();
        for (method, path, known, status) in [
            (Method::GET, "/", tag.as_str(), 304),
            (Method::HEAD, "/", &tag, 304),
            (Method::GET, "/", &strong, 304),
            (Method::GET, "/", &format!("\"x\", {tag}"), 304),
            (Method::GET, "/", "*", 304),
            (Method::GET, "/", "\"x\"", 200),
            (Method::GET, "/", "\"2cf24", 200),
            (Method::POST, "/", &tag, 200),
            (Method::GET, "/missing", "*", 404),
            (Method::GET, "/stream", "*", 200),
            (Method::GET, "/own", "\"a\", W/\"v1,2\"", 304),
            (Method::GET, "/own", "\"v1\"", 200),
        ] {
            let response = send(&chain, method.clone(), path, known).await;
            assert_eq!(response.status(), status, "{method} {path} {known}");
            if status == 304 {
                assert!(response.headers().contains_key(ETAG));
                assert!(!response.headers().contains_key(CONTENT_TYPE));
                assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
            }
        }
        assert!(!send(&chain, Method::GET, "/stream", "").await.headers().contains_key(ETAG));
        assert!(!send(&chain, Method::POST, "/", "").await.headers().contains_key(ETAG));
    }

    #[tokio::test]
    async fn if_match_is_compared_strongly_and_comes_first() {
        let chain = |step: ETag| {
            Chain::new()
                .use_(step)
                .at("/", |c| c.get(async || "hello"))
                .at("/own", |c| c.get(async || ([(ETAG, "\"v1\"")], "hello")))
                .at("/stream", |c| {
                    c.get(async || {
                        Body::from_stream(
                            futures_util::stream::empty::<Result<&str, std::io::Error>>(),
                        )
                    })
                })
                .build()
        };
        let (weak, strong) = (chain(ETag::new()), chain(ETag::new().strong()));
        let tag = "\"2cf24dba5fb0a30e26e83b2ac5b9e29e\"";
        for (chain, path, if_match, if_none_match, status) in [
            (&strong, "/", tag, "", 200),
            (&strong, "/", "\"x\", \"2cf24dba5fb0a30e26e83b2ac5b9e29e\"", "", 200),
            (&strong, "/", "*", "", 200),
            (&strong, "/", "\"x\"", "", 412),
            (&strong, "/", "W/\"2cf24dba5fb0a30e26e83b2ac5b9e29e\"", "", 412),
            (&weak, "/", tag, "", 412),
            (&weak, "/", "*", "", 200),
            (&strong, "/", tag, tag, 304),
            (&strong, "/", "\"x\"", tag, 412),
            (&strong, "/own", "\"v1\"", "", 200),
            (&strong, "/own", "\"v2\"", "", 412),
            // Without a tag there is nothing to compare.
            (&strong, "/stream", "\"x\"", "", 200),
        ] {
            let mut req = Request::get(path).header(IF_MATCH, if_match);
            if !if_none_match.is_empty() {
                req = req.header(IF_NONE_MATCH, if_none_match);
            }
            let req = req.body(Body::empty()).unwrap();
            let response = chain.clone().oneshot(req).await.unwrap();
            assert_eq!(response.status(), status, "{path} {if_match} {if_none_match}");
            if status == 412 {
                assert!(response.headers().contains_key(ETAG));
                assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            }
        }
    }

    #[tokio::test]
    async fn dates_are_compared_if_there_are_no_tags_to_compare() {
        let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
        let chain = Chain::new()
            .use_(ETag::new().strong())
            .get(move || async move { ([(LAST_MODIFIED, modified)], "hello") })
            .build();
        let (earlier, later) = ("Sun, 06 Nov 1994 08:49:36 GMT", "Mon, 05 Dec 1994 00:00:00 GMT");
        let tag = "\"2cf24dba5fb0a30e26e83b2ac5b9e29e\"";
        for (fields, status) in [
            (&[(IF_UNMODIFIED_SINCE, modified)][..], 200),
            (&[(IF_UNMODIFIED_SINCE, later)], 200),
            (&[(IF_UNMODIFIED_SINCE, earlier)], 412),
            (&[(IF_UNMODIFIED_SINCE, earlier), (IF_MATCH, tag)], 200),
            (&[(IF_UNMODIFIED_SINCE, later), (IF_MATCH, "\"x\"")], 412),
            (&[(IF_MODIFIED_SINCE, modified)], 304),
            (&[(IF_MODIFIED_SINCE, later)], 304),
            (&[(IF_MODIFIED_SINCE, earlier)], 200),
            (&[(IF_MODIFIED_SINCE, later), (IF_NONE_MATCH, "\"x\"")], 200),
            (&[(IF_MODIFIED_SINCE, earlier), (IF_NONE_MATCH, tag)], 304),
            (&[(IF_UNMODIFIED_SINCE, earlier), (IF_NONE_MATCH, tag)], 412),
            (&[(IF_UNMODIFIED_SINCE, "yesterday")], 200),
            (&[(IF_UNMODIFIED_SINCE, "Sun Nov  6 08:49:36 1994")], 200),
            (&[(IF_UNMODIFIED_SINCE, earlier), (IF_UNMODIFIED_SINCE, earlier)], 200),
            (&[(IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 24:00:00 GMT")], 200),
            (&[(IF_MODIFIED_SINCE, "Sun, 6 Nov 2094 08:49:37 GMT")], 200),
            (&[(IF_MODIFIED_SINCE, "Sun, +6 Nov 2094 08:49:37 GMT")], 200),
            (&[(IF_MODIFIED_SINCE, "Sun, 06 Nov 2094 08:49:37 CET")], 200),
        ] {
            let mut req = Request::get("/").body(Body::empty()).unwrap();
            for (name, value) in fields {
                req.headers_mut().append(name, value.parse().unwrap());
            }
            let response = chain.clone().oneshot(req).await.unwrap();
            assert_eq!(response.status(), status, "{fields:?}");
        }
    }

    #[tokio::test]
    async fn a_304_varies_as_the_compressed_200_does() {
        let vary = |response: &Response| -> Vec<String> {
            let values = response.headers().get_all(VARY).iter();
            values.map(|value| value.to_str().unwrap().to_ascii_lowercase()).collect()
        };
        let chain = Chain::new()
            .use_(tower_http::compression::CompressionLayer::new())
            .use_(ETag::new())
            .at("/", |c| c.get(async || "hello".repeat(100)))
            .at("/own", |c| c.get(async || ([(VARY, "origin, Accept-Encoding")], "hello")))
            .build();
        for path in ["/", "/own"] {
            let get = || Request::get(path).header(ACCEPT_ENCODING, "gzip");
            let fresh = get().body(Body::empty()).unwrap();
            let fresh = chain.clone().oneshot(fresh).await.unwrap();
            let tag = fresh.headers()[ETAG].clone();
            let known = get().header(IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
            let known = chain.clone().oneshot(known).await.unwrap();
            assert_eq!(known.status(), 304);
            assert_eq!(vary(&known), vary(&fresh), "{path}");
            assert_eq!(vary(&known).len(), 1, "{path}");
        }
        assert!(vary(&send(&chain, Method::GET, "/", "*").await).is_empty());
    }

    /// A tag may have bytes beyond ASCII (RFC 9110, 8.8.3).
    #[tokio::test]
    async fn tags_are_compared_byte_by_byte() {
        let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
        for (own, field, list, status) in [
            (&b"\"\xe9,\""[..], IF_MATCH, &b"\"\xe9,\""[..], 200),
            (b"\"\xe9\"", IF_MATCH, b"\"a\" , W/\"\xe9\",\"\xe9\"", 200),
            (b"\"\xe9\"", IF_MATCH, b"W/\"\xe9\"", 412),
            (b"\"\xe9\"", IF_MATCH, b"\"\xe8\"", 412),
            (b"\"\xe9\"", IF_MATCH, b"\t* ", 200),
            (b"W/\"\xe9\"", IF_MATCH, b"\"\xe9\"", 412),
            (b"W/\"\xe9\"", IF_NONE_MATCH, b"\"\xe9\"", 304),
            (b"\"\xe9\"", IF_NONE_MATCH, b"\"x\", W/\"\xe9\"", 304),
            (b"\"\xe9\"", IF_NONE_MATCH, b"\"\xe9", 200),
            (b"\xe9", IF_NONE_MATCH, b"\xe9", 200),
            (b"\"", IF_NONE_MATCH, b"\"", 200),
            (b"\"\"", IF_NONE_MATCH, b"\"\"", 304),
        ] {
            let own = value(own);
            let tagged = move || std::future::ready(([(ETAG, own.clone())], "hello"));
            let chain = Chain::new().use_(ETag::new()).get(tagged).build();
            let req = Request::get("/").header(field, value(list)).body(Body::empty()).unwrap();
            assert_eq!(chain.oneshot(req).await.unwrap().status(), status, "{list:?}");
        }
    }

    #[tokio::test]
    async fn head_has_the_tag_of_get() {
        let chain = chain(ETag::new());
        let get = send(&chain, Method::GET, "/", "").await;
        let head = send(&chain, Method::HEAD, "/", "").await;
        assert_eq!(get.headers()[ETAG], head.headers()[ETAG]);
    }

    #[tokio::test]
    async fn strength_and_size_can_be_set() {
        let strong = send(&chain(ETag::new().strong()), Method::GET, "/", "").await;
        assert!(strong.headers()[ETAG].to_str().unwrap().starts_with('"'));
        let small = send(&chain(ETag::new().up_to(4)), Method::GET, "/", "").await;
        assert!(!small.headers().contains_key(ETAG));
    }
}
