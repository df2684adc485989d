//! HTML forms.

use axum_core::extract::FromRequest;
use http::header::ACCEPT;
use http::{HeaderValue, Method, StatusCode};
use serde_core::de::DeserializeOwned;

use crate::extract::input::{RawInput, RawKind};
use crate::extract::media_type::{Charset, ContentType};
use crate::extract::typed_input::Input;
use crate::extract::{Document, Location, form_data, read_body};
use crate::{Error, Request};

/// Data from an HTML form.
///
/// It is read from a body of the type `application/x-www-form-urlencoded`, up to [its limit](crate::extract::MaxBody), or from the query of a GET
/// or HEAD request. It must be the last argument of a handler.
///
/// A field that is a list accepts a name that occurs once or several times; with `#[serde(default)]` the name may also be missing. An empty value
/// is `None` for an optional number. The value `on` of a checkbox is `true`. `NaN` and `inf` are not accepted as numbers. A form has at most
/// 20,000 pairs; see [`InvalidInput::max_values`](crate::extract::InvalidInput::max_values).
///
/// | cause | status |
/// | --- | --- |
/// | no content type, or another one | 415, with `Accept` |
/// | body above the limit, too many pairs | 413, with the limit |
/// | not UTF-8 when decoded | 400 |
/// | not of the expected form | 422, with `errors`; 400 for a GET or HEAD request |
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::{Chain, Form};
///
/// #[derive(Deserialize)]
/// struct Login {
///     name: String,
///     password: String,
/// }
///
/// let chain = Chain::new().post(async |Form(login): Form<Login>| login.name);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form<T>(pub T);

super::transparent!(Form);

impl<T: DeserializeOwned + Send> Input for Form<T> {
    super::data_of!(T);
    const LOCATION: Location = Location::Body;

    async fn read(req: &mut Request) -> Result<RawInput, Error> {
        if [Method::GET, Method::HEAD].contains(req.method()) {
            return Ok(RawInput::query(req.uri().clone()).under((&*req).into()));
        }
        let is_form = ContentType::is_exactly(req.headers(), "application/x-www-form-urlencoded")
            || ContentType::of(req.headers()).is_some_and(|found| {
                found.is("application", "x-www-form-urlencoded") && found.charset != Charset::Other
            });
        if !is_form {
            let detail = "The content type must be application/x-www-form-urlencoded, in UTF-8";
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
                .with_header(ACCEPT, FORM_URLENCODED));
        }
        Ok(RawInput::body(read_body(req).await?).under((&*req).into()))
    }

    fn parse(source: &RawInput) -> Result<Self, Error> {
        let (location, status) = match source.kind {
            RawKind::Query(_) => (Location::Query, StatusCode::BAD_REQUEST),
            _ => (Location::Body, StatusCode::UNPROCESSABLE_ENTITY),
        };
        form_data::parse(location, status, source).map(Self)
    }

    fn document(source: &RawInput) -> Option<Document<'_>> {
        form_data::document::<T>(source)
    }
}

super::from_body!(Form);

const FORM_URLENCODED: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
