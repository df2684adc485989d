//! Extractors of data, as validation sees them.

use std::future::Future;

use bytes::Bytes;
use http::{Extensions, Uri};

use crate::extract::Location;
use crate::route::Matched;
use crate::{Error, Request};

/// An extractor around data of a type: `Json<T>` around `T`.
///
/// `Valid<E>` takes any of them. To have one of your own validated, implement it together with [`BodyInput`] or [`HeadInput`].
pub trait Input: Sized + Send {
    /// What is extracted.
    type Data;

    /// Where it comes from.
    const LOCATION: Location;

    /// Finds what the data is made from. A body is read, and an empty one is left.
    ///
    /// # Errors
    ///
    /// What the extractor refuses before it looks at the data: the media type, the length.
    fn read(req: &mut Request) -> impl Future<Output = Result<Source, Error>> + Send;

    /// Makes the data.
    ///
    /// # Errors
    ///
    /// What the extractor refuses.
    fn parse(source: &Source) -> Result<Self, Error>;

    /// The data.
    fn data(&self) -> &Self::Data;

    /// The data, out of the extractor.
    fn into_data(self) -> Self::Data;
}

/// An [`Input`] from the body, which must be the last argument of a handler.
pub trait BodyInput: Input {}

/// An [`Input`] from the head of a request, which may be any argument of a handler.
pub trait HeadInput: Input {
    /// Finds what the data is made from, as [`Input::read`] does.
    ///
    /// # Errors
    ///
    /// What the extractor refuses before it looks at the data.
    fn find(uri: &Uri, extensions: &Extensions) -> Result<Source, Error>;
}

/// The part of a request that an [`Input`] is made from. Cheap to clone.
#[derive(Clone)]
pub struct Source(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Body(Bytes),
    Query(Uri),
    Path(Matched),
}

impl Source {
    /// The bytes of a body.
    pub fn body(bytes: Bytes) -> Self {
        Self(Kind::Body(bytes))
    }

    /// The query of a URI.
    pub fn query(uri: Uri) -> Self {
        Self(Kind::Query(uri))
    }

    /// The body, if the data is made from one. A middleware puts it back.
    pub fn to_body(&self) -> Option<Bytes> {
        match &self.0 {
            Kind::Body(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// The bytes of the body or of the query; empty for parameters of the path.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kind::Body(bytes) => bytes,
            Kind::Query(uri) => uri.query().unwrap_or_default().as_bytes(),
            Kind::Path(_) => b"",
        }
    }
}

/// What the client submitted is left out.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::Body(_) => "Source::Body",
            Kind::Query(_) => "Source::Query",
            Kind::Path(_) => "Source::Path",
        })
    }
}
