//! HTML forms.

use std::future::Future;

use axum_core::extract::FromRequest;
use http::header::ACCEPT;
use http::{HeaderValue, Method, StatusCode};
use serde_core::de::DeserializeOwned;

use crate::extract::body::refuse_encoded;
use crate::extract::input::{RawInput, RawKind};
use crate::extract::media_type::ContentType;
use crate::extract::typed_input::Input;
use crate::extract::{Document, Location, form_data, read_body};
use crate::{Error, Request};

/// Data from an HTML form.
///
/// It is read from a body of the type `application/x-www-form-urlencoded`, up to [its limit](crate::extract::MaxBody), or from the query of a GET
/// or HEAD request. It must be the last argument of a handler.
///
/// A field that is a list accepts a name that occurs once or several times; with `#[serde(default)]` the name may also be missing. An empty value
/// is `None` for an optional number. The value `on` of a checkbox is `true`, also after the `false` of a hidden field with the same name. `NaN`
/// and `inf` are not accepted as numbers. A form has at most 20,000 pairs; see
/// [`InvalidInput::max_values`](crate::extract::InvalidInput::max_values).
///
/// Brackets in names (`tags[]`, `address[city]`) are read with [`BracketSyntax`](crate::extract::BracketSyntax) only.
///
/// A number or bool can't be in a flattened field or in an internally tagged enum: serde reads the text before it knows the type. This is a mistake in the
/// program, a 500 whose reason is logged. An untagged enum has such a value as a text, if it has a variant for texts.
///
/// | cause | status |
/// | --- | --- |
/// | no content type, or another one | 415, with `Accept` |
/// | compressed, without a layer that decompresses | 415, with `Accept-Encoding` |
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

    fn read(req: &mut Request) -> impl Future<Output = Result<RawInput, Error>> + Send {
        read_form(req)
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

/// Reads the input. Unlike `Form::read`, it is compiled once for all types.
async fn read_form(req: &mut Request) -> Result<RawInput, Error> {
    if [Method::GET, Method::HEAD].contains(req.method()) {
        let source = RawInput::query(req.uri().clone()).with_brackets(req.extensions());
        return Ok(source.under((&*req).into()));
    }
    if !ContentType::is_form_body(req.headers()) {
        let detail = "The content type must be application/x-www-form-urlencoded, in UTF-8";
        return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
            .with_header(ACCEPT, FORM_URLENCODED));
    }
    refuse_encoded(req.headers())?;
    let source = RawInput::body(read_body(req).await?).with_brackets(req.extensions());
    Ok(source.under((&*req).into()))
}

const FORM_URLENCODED: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
