//! The head of a request.

use http::{Extensions, HeaderMap, Method, Request, Uri};

use crate::extract::ClientUri;

/// The parts of a request that are `Sync`. Its body is not.
#[derive(Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    pub(crate) fn method(&self) -> &'a Method {
        self.method
    }

    pub(crate) fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The URI that the client sent.
    pub(crate) fn client_uri(&self) -> &'a Uri {
        ClientUri::of(self.uri, self.extensions)
    }

    pub(crate) fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    pub(crate) fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}
