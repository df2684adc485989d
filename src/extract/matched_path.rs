//! The pattern that a request matched.

use std::ops::Deref;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::Error;
use crate::route::routes::Matched;

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
        of(parts).ok_or_else(|| {
            Error::internal("`MatchedPath` stands in a handler that answers on any path")
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for MatchedPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        Ok(of(parts))
    }
}

fn of(parts: &Parts) -> Option<MatchedPath> {
    parts.extensions.get::<Matched>().map(|matched| MatchedPath(Arc::from(matched.pattern())))
}
