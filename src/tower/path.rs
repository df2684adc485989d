//! Tower services at a path of a chain.

use axum_core::response::IntoResponse;
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use axum_core::BoxError;
use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body::Body as HttpBody;
use tower::{Service, ServiceExt};

use crate::extract::ClientUri;
use crate::probe::Site;
use crate::route::error::CallSite;
use crate::route::listing::short_name;
use crate::route::pattern::rest_after;
use crate::route::prefix::could_leave;
use crate::route::registrar::{Registrar, Settings, depth};
use crate::step::end::Parent;
use crate::step::fold::{Assembly, Branch};
use crate::step::tail::{BoxTail, CurrentScope, Cx, Tail};
use crate::tower::service::into_response;
use crate::{Error, Request, Response};

/// A service at a path of a chain, before the chain is built.
pub(crate) struct ServicePath<S, B> {
    path: String,
    location: CallSite,
    tail: ServiceTail<S, B>,
}

impl<S, B> ServicePath<S, B> {
    pub(crate) fn new(path: &str, location: CallSite, service: S) -> Self {
        let tail = ServiceTail { service, prefix: 0, site: Site::CHAIN, body: PhantomData };
        Self { path: path.to_owned(), location, tail }
    }
}

impl<S, B> Branch for ServicePath<S, B>
where
    ServiceTail<S, B>: Tail,
{
    fn register(&mut self, registrar: &mut Registrar) {
        self.tail.prefix = depth(&registrar.absolute(&self.path));
        registrar.enter(&self.path, Settings::default(), self.location);
        self.tail.site = Site::step(registrar.service(short_name::<S>(), self.location));
        registrar.leave();
    }

    fn assemble(self: Box<Self>, _: Parent, _: &Assembly<'_>) -> BoxTail {
        BoxTail(Arc::new(self.tail))
    }
}

/// A service at a path of a built chain. It always answers, so it has no [`Parent`] to continue in.
struct ServiceTail<S, B> {
    service: S,
    /// The number of segments that are removed from the path before the service receives it. Set when it is registered.
    prefix: usize,
    /// Set when it is registered.
    site: Site,
    body: PhantomData<fn() -> B>,
}

impl<S, B> Tail for ServiceTail<S, B>
where
    S: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn call(&self, req: &mut Request, cx: &Cx<'_>) -> Response {
        let service = || async move {
            // The service receives the path after its own; seen from there, no segment is before it.
            let scope = CurrentScope { depth: 0, ..cx.scope };
            Cx { scope, ..*cx }.show_match(req);
            let mut req = mem::take(req);
            let uri = mem::take(req.uri_mut());
            if self.prefix > 0 {
                ClientUri::keep(&uri, req.extensions_mut());
            }
            let Some(uri) = relative_uri(uri, self.prefix) else {
                let detail = "The path has dot segments that lead out of its scope";
                return Error::new(StatusCode::BAD_REQUEST, detail).into_response();
            };
            *req.uri_mut() = uri;
            into_response(self.service.clone().oneshot(req).await)
        };
        self.site.probe(&cx.built.routes, service).await
    }
}

/// The URI that a service receives: without the first segments of the path. `None` if some reader could resolve the path
/// to one outside of these segments.
fn relative_uri(uri: Uri, segments: usize) -> Option<Uri> {
    if could_leave(uri.path(), segments) {
        return None;
    }
    if segments == 0 {
        return Some(uri);
    }
    let rest = rest_after(uri.path(), segments);
    let rest = match uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(rest.try_into().ok()?);
    Uri::from_parts(parts).ok()
}
