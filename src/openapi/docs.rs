//! Routes that serve the document of the chain that they are in.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use axum_core::response::IntoResponse;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::document::OpenApi;
use super::info::Info;
use super::replies::DescribeResponse;
use crate::declare::operation::{Reply, Schemas};
use crate::{Body, ChainService, Error, Response};

/// Serves the document of a chain from inside of the chain, as JSON and as a page.
///
/// The document exists only after the chain is built, so [`publish`](Self::publish) is called with the built chain. A clone serves the same
/// document. Both responses have an `ETag`; a client that has the current document gets a 304.
///
/// The page is complete without scripts, and without content of other origins. Its `Content-Security-Policy` allows only its own style.
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::openapi::{Docs, Info};
///
/// let docs = Docs::new(Info::new("Greetings", "1.0"));
/// let api = Chain::new()
///     .documented()
///     .at("/openapi.json", |c| c.get(docs.json()))
///     .at("/docs", |c| c.get(docs.page()))
///     .at("/hello", |c| c.get(async || "hello"))
///     .build();
/// docs.publish(&api);
/// # let _ = api;
/// ```
#[derive(Clone, Debug)]
pub struct Docs {
    info: Arc<Info>,
    published: Arc<OnceLock<Published>>,
}

#[derive(Debug)]
struct Published {
    json: File,
    page: File,
}

#[derive(Debug)]
struct File {
    content: Bytes,
    tag: HeaderValue,
}

impl Docs {
    /// A document with this title and version.
    pub fn new(info: Info) -> Self {
        Self { info: Arc::new(info), published: Arc::default() }
    }

    /// Writes the document of a built chain, which the routes then serve. Only the first call has an effect.
    pub fn publish(&self, api: &ChainService) {
        self.published.get_or_init(|| {
            let document = api.openapi(&self.info);
            Published { json: File::new(document.to_json()), page: File::new(document.to_page()) }
        });
    }

    /// A handler that serves the document as JSON. Before [`publish`](Self::publish) it answers 500.
    pub fn json(&self) -> impl Fn(HeaderMap) -> Serving + Clone + Send + Sync + use<> {
        let published = self.published.clone();
        move |headers| {
            Serving(serve(published.get().map(|published| &published.json), JSON, &headers))
        }
    }

    /// A handler that serves the document as a page. Before [`publish`](Self::publish) it answers 500.
    pub fn page(&self) -> impl Fn(HeaderMap) -> Serving + Clone + Send + Sync + use<> {
        let published = self.published.clone();
        move |headers| {
            let mut served =
                serve(published.get().map(|published| &published.page), HTML, &headers);
            if let Ok(policy) = HeaderValue::from_str(&OpenApi::page_policy()) {
                served.0.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            }
            served.0.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            Serving(served)
        }
    }
}

impl File {
    fn new(content: String) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let tag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
        Self { content: content.into(), tag }
    }
}

/// The future of the handlers of [`Docs`].
#[doc(hidden)]
#[derive(Debug)]
pub struct Serving(Served);

impl Future for Serving {
    type Output = Served;

    fn poll(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Served> {
        std::task::Poll::Ready(std::mem::replace(&mut self.0, Served(Response::default())))
    }
}

/// The response of the handlers of [`Docs`].
#[derive(Debug)]
pub struct Served(Response);

impl IntoResponse for Served {
    fn into_response(self) -> Response {
        self.0
    }
}

impl DescribeResponse for Served {
    fn describe(_: &mut Schemas) -> Vec<Reply> {
        let tagged = |reply: Reply| reply.header("etag").header("cache-control");
        vec![
            tagged(
                Reply::new(StatusCode::OK, "The description of this API").content("*/*", json!({})),
            ),
            tagged(Reply::new(StatusCode::NOT_MODIFIED, "The client has the current description")),
            Reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "The description is not published"),
        ]
    }
}

fn serve(file: Option<&File>, kind: HeaderValue, headers: &HeaderMap) -> Served {
    let Some(File { content, tag }) = file else {
        return Served(
            Error::internal("`Docs::publish` was not called with the built chain").into_response(),
        );
    };
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|tags| {
        let mut tags = tags.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.any(|own| own == b"*" || own.strip_prefix(b"W/").unwrap_or(own) == tag.as_bytes())
    });
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Response::new(Body::from(content.clone())),
    };
    let fields = response.headers_mut();
    if !known {
        fields.insert(CONTENT_TYPE, kind);
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    fields.insert(ETAG, tag.clone());
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Served(response)
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
