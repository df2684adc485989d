//! The query string.

use axum_core::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use serde_core::de::DeserializeOwned;

use crate::extract::input::{Head, RawInput};
use crate::extract::typed_input::{HeadInput, Input};
use crate::extract::{Document, Location, form_data};
use crate::{Error, Request};

/// Data from the query string.
///
/// A field that is a list accepts a name that occurs once or several times; with `#[serde(default)]` the name may also be missing. An empty value
/// is `None` for an optional number. `+` is a space. Unknown names are ignored, unless the type has `#[serde(deny_unknown_fields)]`. `NaN` and
/// `inf` are not accepted as numbers.
///
/// Brackets in names (`tags[]`, `address[city]`) are read with [`BracketSyntax`](crate::extract::BracketSyntax) only.
///
/// A number or bool can't be in a flattened field or in an internally tagged enum: serde reads the text before it knows the type. This is a mistake in the
/// program, a 500 whose reason is logged. An untagged enum has such a value as a text, if it has a variant for texts.
///
/// A missing query is the same as an empty one. A query that does not have the expected form is a 400 with the field; see
/// [`Json`](crate::extract::Json) for the codes. A query that is not UTF-8 when decoded is a 400, and one with more than 20,000 pairs a 414.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::{Chain, Query};
///
/// #[derive(Deserialize)]
/// struct Search {
///     q: String,
///     #[serde(default)]
///     tag: Vec<String>,
///     page: Option<u32>,
/// }
///
/// let chain = Chain::new().get(async |Query(search): Query<Search>| search.q);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<T>(pub T);

super::transparent!(Query);

impl<T: DeserializeOwned + Send> Input for Query<T> {
    super::data_of!(T);
    const LOCATION: Location = Location::Query;

    async fn read(req: &mut Request) -> Result<RawInput, Error> {
        Self::find((&*req).into())
    }

    fn parse(source: &RawInput) -> Result<Self, Error> {
        form_data::parse(Location::Query, StatusCode::BAD_REQUEST, source).map(Self)
    }

    fn document(source: &RawInput) -> Option<Document<'_>> {
        form_data::document::<T>(source)
    }
}

impl<T: DeserializeOwned + Send> HeadInput for Query<T> {
    fn find(head: Head<'_>) -> Result<RawInput, Error> {
        Ok(RawInput::query(head.uri.clone()).with_brackets(head.extensions).under(head))
    }
}

super::from_head!(Query);
