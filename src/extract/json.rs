//! JSON bodies.

use std::borrow::Cow;
use std::future::Future;
use std::io::{self, Write};

use axum_core::extract::{FromRequest, OptionalFromRequest};
use axum_core::response::IntoResponse;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body::Body as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::extract::body::refuse_encoded;
use crate::extract::budget::Budget;
use crate::extract::failure::field_error;
use crate::extract::input::RawInput;
use crate::extract::media_type::ContentType;
use crate::extract::objects::Objects;
use crate::extract::typed_input::Input;
use crate::extract::{Document, FieldError, Location, TextAsJson, read_body};
use crate::{Body, Error, Request, Response};

/// Data from a JSON body, and a response with a JSON body.
///
/// As an extractor it accepts `application/json` and every type with the suffix `+json`, with the charset UTF-8 or none. It reads the body up to
/// [its limit](crate::extract::MaxBody) and must be the last argument of a handler. A byte order mark before the text is skipped. Lists and
/// objects may be nested up to 127 deep.
///
/// `Option<Json<T>>` is `None` if there is neither a content type nor a body.
///
/// | cause | status | code in `errors` |
/// | --- | --- | --- |
/// | no content type, or another one (see [`TextAsJson`]) | 415, with `Accept` | |
/// | compressed, without a layer that decompresses | 415, with `Accept-Encoding` | |
/// | body above the limit; more than 500,000 values ([`InvalidInput::max_values`](crate::extract::InvalidInput::max_values)) | 413, with the limit | |
/// | empty, cut off, not JSON, text after it, not UTF-8, nested too deep | 400 | |
/// | value of another type; a list for a struct, at any depth | 422 | `type` |
/// | value out of range | 422 | `value` |
/// | field missing, given twice, not known | 422 | `missing`, `duplicate`, `unknown` |
/// | enum value that does not exist | 422 | `choice` |
/// | any other error of the type | 422 | `invalid` |
///
/// A struct inside of an untagged or internally tagged enum, or of a flattened field, may be a list of its fields: serde has read
/// it into a buffer, and does not use this extractor for it.
///
/// A number that is not finite in its type, such as `1e39` for an `f32`, is refused, but not inside of these.
///
/// As a response it is `application/json`; a value that can't be serialized is a 500.
///
/// # Example
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tower_chain::{Chain, Json};
///
/// #[derive(Deserialize, Serialize)]
/// struct User {
///     name: String,
/// }
///
/// let chain = Chain::new().post(async |Json(user): Json<User>| Json(user));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

super::transparent!(Json);

impl<T: DeserializeOwned> Json<T> {
    /// Parses JSON, as the extractor does with a body.
    ///
    /// # Errors
    ///
    /// 400 if the text is not JSON, 422 if it is not a `T`.
    pub fn from_slice(text: &[u8]) -> Result<Self, Error> {
        read(text, &RawInput::body(Bytes::new()), Budget::unlimited()).map(Self)
    }
}

fn read<T: DeserializeOwned>(text: &[u8], source: &RawInput, budget: Budget) -> Result<T, Error> {
    let text = without_mark(text);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let data = T::deserialize(Objects::new(&mut reader, &budget));
    match data.and_then(|data| reader.end().map(|()| data)) {
        _ if budget.is_exceeded() => Err(source.too_many_values()),
        Ok(data) => Ok(data),
        Err(error) => Err(explain(text, source, &error, path_of_error::<T>)),
    }
}

/// Parses the text again, and returns the error with its path.
type PathOfError = fn(&[u8], &Budget) -> Option<serde_path_to_error::Error<serde_json::Error>>;

fn path_of_error<T: DeserializeOwned>(
    text: &[u8],
    budget: &Budget,
) -> Option<serde_path_to_error::Error<serde_json::Error>> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize::<_, T>(Objects::new(&mut reader, budget)).err()
}

/// Reads the body. Unlike `Json::read`, it is compiled once for all types.
async fn read_text(req: &mut Request) -> Result<RawInput, Error> {
    if !ContentType::is_json_body(req.headers()) && !TextAsJson::allows((&*req).into()) {
        let detail = "The content type must be application/json, in UTF-8";
        return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
            .with_header(ACCEPT, APPLICATION_JSON));
    }
    refuse_encoded(req.headers())?;
    Ok(RawInput::body(read_body(req).await?).under((&*req).into()))
}

fn budget(source: &RawInput) -> Budget {
    match source.max_values() {
        Some(max) => Budget::new(max, source.bytes().len()),
        None => Budget::counted(source.value_limit().saturating_mul(NOT_VALIDATED)),
    }
}

/// The text after a byte order mark.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Parses the text again to find out where it fails. To track the path costs too much for valid input.
#[cold]
fn explain(
    text: &[u8],
    source: &RawInput,
    error: &serde_json::Error,
    path_of_error: PathOfError,
) -> Error {
    match error.classify() {
        Category::Eof if text.trim_ascii().is_empty() => {
            malformed(source, "The body is empty, where JSON is expected")
        }
        Category::Eof => malformed(source, "The body ends too early: it is not complete JSON"),
        // serde_json counts these as syntax.
        Category::Syntax if error.to_string().starts_with("recursion limit exceeded") => {
            malformed(source, "The body has lists and objects that are more than 127 deep")
        }
        Category::Syntax if !error.to_string().starts_with("number out of range") => {
            let (line, column) = (error.line(), error.column());
            malformed(
                source,
                format!("The body is not valid JSON, see line {line} column {column}"),
            )
        }
        Category::Data | Category::Syntax | Category::Io => {
            let budget = Budget::traced();
            let error = match path_of_error(text, &budget) {
                Some(found) => {
                    let message = found.inner().to_string();
                    let trace = budget.into_trace();
                    field_error(source, Location::Body, found.path(), &trace, &message)
                }
                None => FieldError::new(Location::Body, "invalid", "Is not valid"),
            };
            wrong_form(source, error)
        }
    }
}

#[cold]
fn malformed(source: &RawInput, detail: impl Into<Cow<'static, str>>) -> Error {
    source.translated(Error::new(StatusCode::BAD_REQUEST, detail))
}

#[cold]
fn wrong_form(source: &RawInput, error: FieldError) -> Error {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    source.refuse(status, "The body does not have the expected form", vec![error])
}

impl<T: DeserializeOwned + Send> Input for Json<T> {
    super::data_of!(T);
    const LOCATION: Location = Location::Body;

    fn read(req: &mut Request) -> impl Future<Output = Result<RawInput, Error>> + Send {
        read_text(req)
    }

    fn parse(source: &RawInput) -> Result<Self, Error> {
        read(source.bytes(), source, budget(source)).map(Self)
    }

    fn document(source: &RawInput) -> Option<Document<'_>> {
        if source.is_made() {
            return Some(Document::made::<T>());
        }
        let text = without_mark(source.bytes());
        let mut document = Document::json(text, source.value_limit())?;
        let budget = Budget::traced();
        let mut reader = serde_json::Deserializer::from_slice(text);
        let _ = T::deserialize(Objects::new(&mut reader, &budget));
        document.declared = budget.into_trace().declared;
        Some(document)
    }
}

super::from_body!(Json);

impl<S: Sync, T: DeserializeOwned + Send> OptionalFromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(mut req: Request, _: &S) -> Result<Option<Self>, Error> {
        if !req.headers().contains_key(CONTENT_TYPE) && req.body().is_end_stream() {
            return Ok(None);
        }
        Self::parse(&Self::read(&mut req).await?).map(Some)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut text = JsonText::default();
        let written = serde_json::to_writer(&mut text, &self.0);
        text.response(written)
    }
}

/// The serialized text. While it is short it is on the stack, and is then allocated once, with its final length.
struct JsonText {
    short: [u8; SHORT],
    /// More than `SHORT` once the text is in `long`.
    length: usize,
    long: Vec<u8>,
}

impl Default for JsonText {
    fn default() -> Self {
        Self { short: [0; SHORT], length: 0, long: Vec::new() }
    }
}

impl JsonText {
    #[inline]
    fn response(&mut self, written: serde_json::Result<()>) -> Response {
        match written {
            Ok(()) => {
                let mut response = Response::new(Body::from(self.take_bytes()));
                response.headers_mut().insert(CONTENT_TYPE, APPLICATION_JSON);
                response
            }
            Err(error) => Error::from(error).into_response(),
        }
    }

    fn take_bytes(&mut self) -> Bytes {
        match self.short.get(..self.length) {
            Some(short) => Bytes::copy_from_slice(short),
            None => Bytes::from(std::mem::take(&mut self.long)),
        }
    }

    #[cold]
    fn lengthen(&mut self, part: &[u8]) {
        if let Some(short) = self.short.get(..self.length) {
            self.long.reserve(4 * SHORT);
            self.long.extend_from_slice(short);
            self.length = SHORT + 1;
        }
        self.long.extend_from_slice(part);
    }
}

impl Write for JsonText {
    #[inline]
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.write_all(part).map(|()| part.len())
    }

    /// Most parts are one or two characters, and their length is known after inlining.
    #[inline(always)]
    fn write_all(&mut self, part: &[u8]) -> io::Result<()> {
        match self.short.get_mut(self.length..).and_then(|room| room.get_mut(..part.len())) {
            Some(room) => {
                room.copy_from_slice(part);
                self.length += part.len();
            }
            None => self.lengthen(part),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const SHORT: usize = 256;
const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Without validation a value takes less memory, and input may have this many times as many values.
const NOT_VALIDATED: usize = 25;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
