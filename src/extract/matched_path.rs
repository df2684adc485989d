//! The pattern that a request matched.

use std::ops::Deref;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::Extensions;
use http::request::Parts;

use crate::route::routes::Matched;
use crate::{Endpoint, Error, Middleware, Next, Response};

/// The whole pattern that the path of the request matched, such as `/users/{id}`.
///
/// Use it as the name of the route in metrics and traces: unlike the path, it has few values.
///
/// A handler for any path has no pattern: use `Option<MatchedPath>` there. Without `Option` it is a 500, a mistake in the program.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, extract::MatchedPath};
///
/// let chain = Chain::new()
///     .at("/users/{id}", |c| c.get(async |path: MatchedPath| path.as_str().to_owned()));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatchedPath(Arc<str>);

impl MatchedPath {
    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pattern in the extensions of a request or a response, for layers of other crates. `None` if no pattern matched.
    ///
    /// A layer inside a chain finds it in the request. A layer around a chain finds it in the response, if the chain has the step
    /// [`on_responses`](Self::on_responses).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, MatchedPath, Request};
    /// use tower_http::trace::TraceLayer;
    ///
    /// let trace = TraceLayer::new_for_http().make_span_with(|req: &Request| {
    ///     let route = MatchedPath::of(req.extensions());
    ///     tracing::info_span!("request", http.route = route.as_deref())
    /// });
    /// let chain = Chain::new().always(trace).at("/users/{id}", |c| c.get(async || "Ann"));
    /// # let _ = chain.build();
    /// ```
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let of_response = || extensions.get::<Self>().cloned();
        let matched = extensions.get::<Matched>();
        matched.map(|matched| Self(Arc::from(matched.pattern()))).or_else(of_response)
    }

    /// A step that puts the pattern into the extensions of each response, for layers around the chain. Add it with
    /// [`always`](crate::Chain::always), as the first step. It costs an allocation for each request.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower::Layer;
    /// use tower_chain::{Chain, MatchedPath, Response};
    /// use tower_http::trace::TraceLayer;
    /// use tracing::Span;
    ///
    /// let chain = Chain::new()
    ///     .always(MatchedPath::on_responses())
    ///     .at("/users/{id}", |c| c.get(async || "Ann"))
    ///     .build();
    /// let trace = TraceLayer::new_for_http().on_response(|response: &Response, _: Duration, _: &Span| {
    ///     let route = MatchedPath::of(response.extensions());
    ///     println!("{} {}", response.status(), route.as_deref().unwrap_or("-"));
    /// });
    /// let service = trace.layer(chain);
    /// # let _ = service;
    /// ```
    pub fn on_responses() -> MatchedPathOnResponses {
        MatchedPathOnResponses(())
    }
}

/// The step that [`MatchedPath::on_responses`] returns.
#[derive(Clone, Copy, Debug)]
pub struct MatchedPathOnResponses(());

impl Middleware for MatchedPathOnResponses {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let route = next.current_route();
        let mut response = next.run().await;
        // A chain inside this one may have left its own pattern, which lacks the prefix of this chain.
        match route.pattern() {
            Some(pattern) => {
                response.extensions_mut().insert(MatchedPath(Arc::from(pattern)));
            }
            None => {
                response.extensions_mut().remove::<MatchedPath>();
            }
        }
        response
    }
}

impl Deref for MatchedPath {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for MatchedPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::of(&parts.extensions).ok_or_else(|| {
            Error::internal("a handler that answers on any path has no `MatchedPath`")
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for MatchedPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        Ok(Self::of(&parts.extensions))
    }
}
