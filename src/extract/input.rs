//! The part of a request that an input is parsed from, and the settings for errors in it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, StatusCode, Uri};

#[cfg(any(feature = "form", feature = "query"))]
use crate::extract::BracketSyntax;
use crate::extract::{ClientAddr, FieldError};
use crate::route::routes::Matched;
use crate::{Error, Request};

/// The head of a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head<'a> {
    /// The request target.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The values of earlier steps.
    pub extensions: &'a Extensions,
}

impl<'a> Head<'a> {
    /// The head with these parts, for tests of a [`HeadInput`](crate::extract::HeadInput) and for hosts that have no [`Parts`].
    pub fn new(uri: &'a Uri, headers: &'a HeaderMap, extensions: &'a Extensions) -> Self {
        Self { uri, headers, extensions }
    }
}

impl<'a> From<&'a Parts> for Head<'a> {
    fn from(parts: &'a Parts) -> Self {
        Self { uri: &parts.uri, headers: &parts.headers, extensions: &parts.extensions }
    }
}

impl<'a> From<&'a Request> for Head<'a> {
    fn from(req: &'a Request) -> Self {
        Self { uri: req.uri(), headers: req.headers(), extensions: req.extensions() }
    }
}

/// The part of a request that an [`Input`](crate::extract::Input) is parsed from, and the settings for errors in it.
#[derive(Clone)]
pub struct RawInput {
    pub(crate) kind: RawKind,
    style: Option<Arc<Style>>,
    #[cfg(any(feature = "form", feature = "query"))]
    brackets: Option<BracketSyntax>,
    #[cfg(all(feature = "form", feature = "json"))]
    is_form: bool,
    is_validated: bool,
    /// Whether it has many values, although it is short.
    has_many: bool,
    client: Option<ClientAddr>,
    /// The most values for now.
    most_here: Option<usize>,
}

#[derive(Clone)]
pub(crate) enum RawKind {
    Bytes(Bytes),
    Query(Option<PathAndQuery>),
    Path(Matched),
    /// The data was made in another way.
    Made,
}

/// Stored only if something is set. Other requests don't allocate.
struct Style {
    settings: InvalidInput,
    headers: HeaderMap,
}

impl RawInput {
    /// Input of more bytes than this is validated on a thread for blocking work.
    pub const LONG: usize = 4 * 1024;

    /// The most values that are validated on a thread that serves requests: each of them takes about a microsecond if it breaks a rule. A JSON text of
    /// [`LONG`](Self::LONG) bytes has no more, but each of its structs may have many fields that were not sent.
    #[doc(hidden)]
    pub const MOST_HERE: usize = Self::LONG / 2;

    fn new(kind: RawKind) -> Self {
        Self {
            kind,
            style: None,
            #[cfg(any(feature = "form", feature = "query"))]
            brackets: None,
            #[cfg(all(feature = "form", feature = "json"))]
            is_form: false,
            is_validated: false,
            has_many: false,
            client: None,
            most_here: None,
        }
    }

    /// The bytes of a body.
    pub fn body(bytes: impl Into<Bytes>) -> Self {
        Self::new(RawKind::Bytes(bytes.into()))
    }

    /// The query of a URI.
    pub fn query(uri: Uri) -> Self {
        Self::new(RawKind::Query(uri.into_parts().path_and_query))
    }

    pub(crate) fn path(matched: Matched) -> Self {
        Self::new(RawKind::Path(matched))
    }

    pub(crate) fn made() -> Self {
        Self::new(RawKind::Made)
    }

    pub(crate) fn is_made(&self) -> bool {
        matches!(self.kind, RawKind::Made)
    }

    /// Uses the [`InvalidInput`] that was provided for the request, and remembers its client: much input of one client does not delay the validation
    /// of another's.
    #[must_use]
    pub fn under(mut self, head: Head<'_>) -> Self {
        // Also of a short input, which may have many values and is then validated elsewhere.
        self.client = ClientAddr::of(head.headers, head.extensions);
        self.style = head.extensions.get::<InvalidInput>().map(|settings| {
            Arc::new(Style { settings: settings.clone(), headers: head.headers.clone() })
        });
        self
    }

    /// Uses the [`BracketSyntax`] that was provided for the request.
    #[cfg(any(feature = "form", feature = "query"))]
    pub(crate) fn with_brackets(mut self, extensions: &Extensions) -> Self {
        self.brackets = extensions.get().copied();
        self
    }

    #[cfg(any(feature = "form", feature = "query"))]
    pub(crate) fn bracket_syntax(&self) -> Option<BracketSyntax> {
        self.brackets
    }

    /// The largest index of an item in brackets, if they have a meaning.
    pub(crate) fn max_index(&self) -> Option<usize> {
        #[cfg(any(feature = "form", feature = "query"))]
        return self.brackets.map(BracketSyntax::index);
        #[cfg(not(any(feature = "form", feature = "query")))]
        None
    }

    /// Marks a form, where the body may also be JSON.
    #[cfg(all(feature = "form", feature = "json"))]
    pub(crate) fn for_form(mut self) -> Self {
        self.is_form = true;
        self
    }

    #[cfg(all(feature = "form", feature = "json"))]
    pub(crate) fn is_form(&self) -> bool {
        self.is_form
    }

    /// Marks data that will be validated. [`max_values`](Self::max_values) then bounds it, and [`Input::parse`](crate::extract::Input::parse) refuses more.
    #[must_use]
    pub fn for_validation(mut self) -> Self {
        self.is_validated = true;
        self
    }

    /// How many values the data may have, if it will be validated: see [`InvalidInput::max_values`].
    ///
    /// An [`Input`](crate::extract::Input) of your own counts the items of lists and maps, and the fields of the structs in them, and refuses more with
    /// [`too_many_values`](Self::too_many_values).
    pub fn max_values(&self) -> Option<usize> {
        self.is_validated.then(|| self.value_limit())
    }

    pub(crate) fn value_limit(&self) -> usize {
        self.most_here.unwrap_or(usize::MAX).min(self.configured_limit())
    }

    fn configured_limit(&self) -> usize {
        self.style.as_ref().and_then(|style| style.settings.max_values).unwrap_or(MAX_VALUES)
    }

    /// Bounds the number of values further, for as long as the input is parsed on a thread that serves requests.
    #[doc(hidden)]
    pub fn set_most_here(&mut self, most: Option<usize>) {
        self.most_here = most;
    }

    /// Whether parsing and validating may take so long that it must not block the threads that serve requests.
    #[doc(hidden)]
    pub fn is_long(&self) -> bool {
        self.has_many || self.bytes().len() > Self::LONG
    }

    /// Marks short input with many values.
    pub(crate) fn set_long(&mut self) {
        self.has_many = true;
    }

    /// Whether the input was refused because it has more values than may be validated on this thread.
    #[doc(hidden)]
    pub fn is_too_much_here(&self, error: &Error) -> bool {
        let too_many = [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::URI_TOO_LONG];
        self.most_here.is_some_and(|most| most < self.configured_limit())
            && too_many.contains(&error.status())
    }

    /// The client; `None` if the host provides no address of the peer.
    pub fn client(&self) -> Option<ClientAddr> {
        self.client
    }

    /// The refusal of data with more values than it may have: 413 with the member `limit`, or 414 for a query (RFC 9110, 15.5.14 and 15.5.15).
    pub fn too_many_values(&self) -> Error {
        let status = match self.kind {
            RawKind::Query(_) => StatusCode::URI_TOO_LONG,
            _ => StatusCode::PAYLOAD_TOO_LARGE,
        };
        let error = Error::new(status, "The input has too many values");
        self.translated(error.with_member("limit", self.value_limit().to_string()))
    }

    /// The body, if the input is one. A middleware puts it back.
    pub fn to_body(&self) -> Option<Bytes> {
        match &self.kind {
            RawKind::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// The bytes of the body or of the query; empty for path parameters.
    pub fn bytes(&self) -> &[u8] {
        match &self.kind {
            RawKind::Bytes(bytes) => bytes,
            RawKind::Query(asked) => {
                asked.as_ref().and_then(PathAndQuery::query).unwrap_or_default().as_bytes()
            }
            RawKind::Path(_) | RawKind::Made => b"",
        }
    }

    /// The step of a JSON Pointer for a key that the client has chosen: `*`, unless [`InvalidInput::tell_keys`] is set.
    pub fn key<'k>(&self, key: &'k str) -> &'k str {
        let told = self.style.as_ref().is_some_and(|style| style.settings.tell_keys);
        if told && key.len() <= MAX_KEY { key } else { "*" }
    }

    /// The refusal that lists `errors` according to [`InvalidInput`]: up to 100 of them, without duplicates. If there are more, the member
    /// `more` is `true`.
    pub fn refuse(
        &self,
        status: StatusCode,
        detail: impl Into<Cow<'static, str>>,
        errors: Vec<FieldError>,
    ) -> Error {
        let mut status = status;
        let mut more = false;
        let mut listed: Vec<FieldError> = Vec::with_capacity(errors.len().min(MAX_ERRORS));
        for error in errors {
            more = listed.len() == MAX_ERRORS;
            if more {
                break;
            }
            // Values of different keys may have equal errors, since the keys are not shown.
            if !listed.contains(&error) {
                listed.push(error);
            }
        }
        if let Some(style) = &self.style {
            if style.settings.bad_request && status == StatusCode::UNPROCESSABLE_ENTITY {
                status = StatusCode::BAD_REQUEST;
            }
            if let Some(translate) = &style.settings.translate {
                for error in &mut listed {
                    if let Some(detail) = translate(error, &style.headers) {
                        *error = error.clone().with_detail(detail);
                    }
                }
            }
        }
        let refusal = FieldError::refuse(status, detail, &listed);
        self.translated(if more { refusal.with_member("more", "true") } else { refusal })
    }

    /// The refusal with the texts of [`InvalidInput::translate_problem`].
    pub fn translated(&self, refusal: Error) -> Error {
        let Some(style) = &self.style else { return refusal };
        match &style.settings.translate_problem {
            Some(translate) => translate(refusal, &style.headers),
            None => refusal,
        }
    }
}

/// Leaves out the submitted data.
impl fmt::Debug for RawInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RawKind::Bytes(_) => "RawInput(bytes)",
            RawKind::Query(_) => "RawInput(query)",
            RawKind::Path(_) => "RawInput(path)",
            RawKind::Made => "RawInput(made)",
        })
    }
}

/// How to refuse input that does not have the expected form, or breaks a rule. Provide it to the extractors and steps after it.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::{Chain, Json};
/// use tower_chain::extract::InvalidInput;
///
/// #[derive(Deserialize)]
/// struct User {
///     name: String,
/// }
///
/// let invalid = InvalidInput::new().bad_request().translate(|error, headers| {
///     let german = headers.get("accept-language")?.to_str().ok()?.starts_with("de");
///     (german && error.code() == "missing").then(|| "Fehlt".to_owned())
/// });
/// let chain = Chain::new().provide(invalid).post(async |Json(user): Json<User>| user.name);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Default)]
pub struct InvalidInput {
    bad_request: bool,
    tell_keys: bool,
    max_values: Option<usize>,
    translate: Option<Translate>,
    translate_problem: Option<TranslateProblem>,
}

type Translate = Arc<dyn Fn(&FieldError, &HeaderMap) -> Option<String> + Send + Sync>;

type TranslateProblem = Arc<dyn Fn(Error, &HeaderMap) -> Error + Send + Sync>;

impl InvalidInput {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses well-formed input with invalid content with 400. Defaults to 422 (RFC 9110, 15.5.21).
    #[must_use]
    pub fn bad_request(mut self) -> Self {
        self.bad_request = true;
        self
    }

    /// Whether [`bad_request`](Self::bad_request) is set.
    pub(crate) fn is_bad_request(&self) -> bool {
        self.bad_request
    }

    /// Shows the keys of maps in pointers: `/prices/EUR/amount`. Defaults to `*` in their place, since the client has chosen them, and submitted
    /// data is not sent back. A key of more than 128 bytes is always `*`.
    #[must_use]
    pub fn tell_keys(mut self) -> Self {
        self.tell_keys = true;
        self
    }

    /// Refuses input with more values than this: JSON that is validated, and forms and queries in any case. Defaults to 20,000.
    ///
    /// Each field of a struct counts as one value, whether it was sent or not, and so does each item of a list, each member of a map, and each
    /// pair of a form or a query. Inside of a struct that is nested in two or more structs, each value counts once for each of those. An object
    /// whose fields serde does not declare, because it has flattened fields or is a variant of an untagged enum, counts as 16 fields. An input
    /// of a mebibyte may have structs up to 16 deep in each other, a shorter one more.
    ///
    /// The bound is there because a validation engine keeps every error until it has found all of them. A field that breaks a rule takes about
    /// 1 KiB of memory, even if it was not sent: 20,000 of them take about 20 MiB while the request is refused. Input above the limit is
    /// refused while it is parsed, with 413, or with 414 for a query.
    ///
    /// JSON that is not validated may have 25 times as many values.
    ///
    /// Input of more than 4 KiB, or with more than 2,048 values, is validated on a thread for blocking work, one input per core at a time, if there is a
    /// tokio runtime. One client has at most half of these turns.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    /// use tower_chain::extract::{InvalidInput, MaxBody};
    ///
    /// // An import of up to 100,000 rows with four fields.
    /// let chain = Chain::new()
    ///     .provide(MaxBody::bytes(16 << 20))
    ///     .provide(InvalidInput::new().max_values(500_000));
    /// # let _ = chain;
    /// ```
    #[must_use]
    pub fn max_values(mut self, values: usize) -> Self {
        self.max_values = Some(values);
        self
    }

    /// Sets the human-readable texts: `translate` receives each error and the header fields of the request, and returns another text, or `None` to
    /// keep the text. Defaults to English.
    #[must_use]
    pub fn translate<F>(mut self, translate: F) -> Self
    where
        F: Fn(&FieldError, &HeaderMap) -> Option<String> + Send + Sync + 'static,
    {
        self.translate = Some(Arc::new(translate));
        self
    }

    /// Sets the title and the detail of a refusal: `translate` receives the refusal and the header fields of the request, and returns it with other
    /// texts. It applies to input that was read: that is not well-formed, not of the expected form, or too much. Use
    /// [`Chain::on_error`](crate::Chain::on_error) for all other errors. Defaults to English.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::extract::InvalidInput;
    ///
    /// let invalid = InvalidInput::new().translate_problem(|error, headers| {
    ///     match headers.get("accept-language") {
    ///         Some(language) if language.as_bytes().starts_with(b"de") => {
    ///             error.with_title("Ungültige Eingabe").with_detail("Bitte prüfen Sie die Felder")
    ///         }
    ///         _ => error,
    ///     }
    /// });
    /// # let _ = invalid;
    /// ```
    #[must_use]
    pub fn translate_problem<F>(mut self, translate: F) -> Self
    where
        F: Fn(Error, &HeaderMap) -> Error + Send + Sync + 'static,
    {
        self.translate_problem = Some(Arc::new(translate));
        self
    }
}

impl fmt::Debug for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidInput")
            .field("bad_request", &self.bad_request)
            .field("tell_keys", &self.tell_keys)
            .field("max_values", &self.max_values)
            .field("translate", &self.translate.is_some())
            .field("translate_problem", &self.translate_problem.is_some())
            .finish()
    }
}

/// The most errors that a refusal lists.
const MAX_ERRORS: usize = 100;

/// The default of [`InvalidInput::max_values`].
const MAX_VALUES: usize = 20_000;

/// The most bytes of a key that is shown.
const MAX_KEY: usize = 128;
