//! Path parameters and query together.

use axum_core::extract::FromRequestParts;
use http::request::Parts;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde_core::de::DeserializeOwned;

use crate::extract::input::{Head, RawInput};
use crate::extract::typed_input::{HeadInput, Input};
use crate::extract::{Document, Location, Query, form_data};
use crate::route::routes::Matched;
use crate::{Error, Request};

/// Data from the parameters of the matched path and the query together, as `req.query` has them in Next.js.
///
/// A path parameter replaces the parameters of the query with the same name. The data is read as by [`Query`], and errors have the location
/// `query`.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::{Chain, extract::Params};
///
/// #[derive(Deserialize)]
/// struct Find {
///     user: u64,
///     #[serde(default)]
///     tag: Vec<String>,
/// }
///
/// let chain = Chain::new()
///     .at("/users/{user}", |c| c.get(async |Params(find): Params<Find>| find.tag.join(" ")));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<T>(pub T);

super::transparent!(Params);

impl<T: DeserializeOwned + Send> Input for Params<T> {
    super::data_of!(T);
    const LOCATION: Location = Location::Query;

    async fn read(req: &mut Request) -> Result<RawInput, Error> {
        Self::find((&*req).into())
    }

    fn parse(source: &RawInput) -> Result<Self, Error> {
        Query::parse(source).map(|Query(data)| Self(data))
    }

    fn document(source: &RawInput) -> Option<Document<'_>> {
        form_data::document::<T>(source)
    }
}

impl<T: DeserializeOwned + Send> HeadInput for Params<T> {
    fn find(head: Head<'_>) -> Result<RawInput, Error> {
        let Some(matched) = head.extensions.get::<Matched>() else {
            return Query::<T>::find(head);
        };
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let params: Vec<_> = matched.params().collect();
        let mut pairs: Vec<String> = params
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        for pair in head.uri.query().unwrap_or_default().split('&') {
            let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
            let name = percent_decode(name.as_bytes()).decode_utf8_lossy().into_owned();
            if !pair.is_empty() && !params.iter().any(|(param, _)| *param == name) {
                pairs.push(pair.to_owned());
            }
        }
        Ok(RawInput::body(pairs.join("&")).with_brackets(head.extensions).under(head))
    }
}

super::from_head!(Params);
