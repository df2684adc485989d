//! The rest of the path after a mount.

use std::convert::Infallible;
use std::ops::Deref;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use crate::route::pattern::rest_after;
use crate::route::routes::Matched;

/// The rest of the path after the path of the chain that the handler is in: `/7` for `/users/7`, in a chain that is mounted at `/users`.
///
/// A mount does not change the URI itself. The rest of the path begins with a slash, and is percent-encoded as the client sent it. In the
/// outermost chain it is the whole path.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, extract::RestPath};
///
/// let files = Chain::new()
///     .at("/{*file}", |c| c.get(async |uri: http::Uri| uri.path().to_owned()))
///     .get(async |path: RestPath| path.to_string());
/// let chain = Chain::new().mount("/files", files);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RestPath(String);

impl Deref for RestPath {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for RestPath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let depth = parts.extensions.get::<Matched>().map_or(0, Matched::depth);
        Ok(Self(rest_after(parts.uri.path(), depth).to_owned()))
    }
}
