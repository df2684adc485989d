//! Entity tags for responses that are made on the spot.
//!
//! # What it does
//!
//! [`ETag`] gives each response to GET and HEAD that is a 200 with a body of known length an `ETag`, made of the body, and answers 304
//! without a body where the client has that version already. A handler's own `ETag` is kept, and compared. Bodies of unknown length, as those
//! of streams are, other methods and other statuses pass unchanged.
//!
//! To be tagged, a body is collected first. One that comes piece by piece and yet tells its length, such as that of a file or of an answer from
//! another server, is held back until it is there: [`up_to`](ETag::up_to) bounds it, and a tag that the handler sets spares it.
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
//! # Example: strong tags, and small bodies alone
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
//! | new to the client | 200 | `ETag` | as it was |
//! | `If-None-Match` names the tag, or is `*` | 304 | `ETag`, and those of the response that describe no body | none |
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! Inside a layer that compresses. The tag is weak by default, so that it stays true for the compressed body, too.
//!
//! # Sources
//!
//! RFC 9110, 8.8.3 (ETag), 13.1.2 (If-None-Match), 15.4.5 (304); SHA-256 makes the tag.

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};

use crate::{Body, Endpoint, Error, Middleware, Next, Response};

/// A step that tags responses, and answers 304 for those that the client has. See the [module](self).
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

    /// Makes strong tags, which say that two bodies are the same byte by byte: only where no layer outside changes the body. Defaults to weak
    /// ones.
    #[must_use]
    pub fn strong(mut self) -> Self {
        self.strong = true;
        self
    }

    /// Leaves bodies with more bytes than this untagged. Defaults to 1 MiB.
    #[must_use]
    pub fn up_to(mut self, bytes: u64) -> Self {
        self.up_to = bytes;
        self
    }

    fn tag(self, body: &[u8]) -> Option<HeaderValue> {
        let mut tag = String::from(if self.strong { "\"" } else { "W/\"" });
        // 128 bits are enough to tell versions apart.
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
        let wanted: Vec<HeaderValue> =
            next.headers().get_all(IF_NONE_MATCH).iter().cloned().collect();
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
            // Mostly it is there already. A stream that told its length is waited for, whole.
            let bytes = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) => {
                    return axum_core::response::IntoResponse::into_response(Error::from(error));
                }
            };
            // A handler of HEAD alone has no body to tag.
            if let Some(tag) = self.tag(&bytes).filter(|_| !bytes.is_empty()) {
                parts.headers.insert(ETAG, tag);
            }
            response = Response::from_parts(parts, Body::from(bytes));
        }
        match response.headers().get(ETAG) {
            Some(tag) if wanted.iter().any(|list| names(list, tag)) => not_modified(response),
            _ => response,
        }
    }
}

/// Whether an `If-None-Match` names the tag: weak comparison (RFC 9110, 8.8.3.2).
fn names(list: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(mut list), Ok(tag)) = (list.to_str(), tag.to_str()) else { return false };
    if list.trim() == "*" {
        return true;
    }
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let tag = opaque(tag);
    // A tag may have commas in it, so that the list is read from quote to quote.
    while let Some((_, rest)) = list.split_once('"') {
        let Some((candidate, rest)) = rest.split_once('"') else { return false };
        if tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(candidate) {
            return true;
        }
        list = rest;
    }
    false
}

fn not_modified(mut response: Response) -> Response {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = Body::empty();
    let headers: &mut HeaderMap = response.headers_mut();
    for field in [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, TRANSFER_ENCODING]
    {
        headers.remove(field);
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
