//! The URI that the client sent.

use std::convert::Infallible;

use axum_core::extract::FromRequestParts;
use http::request::Parts;
use http::{Extensions, Uri};

/// The URI that the client sent, where the URI of the request is only a part of it.
///
/// A host that removes the prefix under which it runs a chain must insert the whole URI in the extensions of each request. Steps
/// that compare the URI with what a client has signed, such as `Dpop`, read it there. Paths are always matched against the URI of the request.
///
/// A chain inserts it for its [services](crate::Chain::service). axum inserts `OriginalUri` for what is nested, which is read and written with the
/// feature `axum`. Another host that removes a prefix, or a layer that rewrites the path, must insert it itself:
///
/// ```
/// use tower_chain::Request;
/// use tower_chain::extract::ClientUri;
///
/// fn rewrite(mut req: Request) -> Request {
///     let client = ClientUri::of(req.uri(), req.extensions()).clone();
///     if let Some(path) = client.path().strip_prefix("/old").and_then(|path| path.parse().ok()) {
///         *req.uri_mut() = path;
///     }
///     req.extensions_mut().insert(ClientUri(client));
///     req
/// }
/// # let _ = rewrite;
/// ```
///
/// As an argument of a handler it is the URI that was inserted, or else the URI of the request.
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::extract::ClientUri;
///
/// let inner = Chain::new()
///     .at("/me", |c| c.get(async |ClientUri(uri): ClientUri| uri.to_string()))
///     .build();
/// // `GET /v1/me` answers `/v1/me`, though the inner chain matches `/me`.
/// let chain = Chain::new().service("/v1", inner);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientUri(pub Uri);

impl ClientUri {
    /// The URI that the client sent, of a request with this URI and these extensions.
    pub fn of<'r>(uri: &'r Uri, extensions: &'r Extensions) -> &'r Uri {
        if let Some(Self(uri)) = extensions.get() {
            return uri;
        }
        #[cfg(feature = "axum")]
        if let Some(axum::extract::OriginalUri(uri)) = extensions.get() {
            return uri;
        }
        uri
    }

    /// Inserts the URI of the client, before the URI of the request changes. A URI that is there already is kept.
    pub(crate) fn keep(uri: &Uri, extensions: &mut Extensions) {
        let client = Self::of(uri, extensions).clone();
        #[cfg(feature = "axum")]
        if extensions.get::<axum::extract::OriginalUri>().is_none() {
            extensions.insert(axum::extract::OriginalUri(client.clone()));
        }
        extensions.insert(Self(client));
    }

    /// Changes the URI of the client wherever it is, for example to remove a secret from it.
    #[cfg(any(feature = "authenticate", feature = "jwt", feature = "jwt-rust-crypto"))]
    pub(crate) fn rewrite(extensions: &mut Extensions, change: impl Fn(&mut Uri)) {
        if let Some(Self(uri)) = extensions.get_mut() {
            change(uri);
        }
        #[cfg(feature = "axum")]
        if let Some(axum::extract::OriginalUri(uri)) = extensions.get_mut() {
            change(uri);
        }
    }
}

impl<S: Sync> FromRequestParts<S> for ClientUri {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(Self::of(&parts.uri, &parts.extensions).clone()))
    }
}
