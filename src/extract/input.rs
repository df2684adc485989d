//! Extractors of data, as validation sees them.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, StatusCode, Uri};

use crate::extract::{FieldError, Location};
use crate::route::routes::Matched;
use crate::{Error, Request};

/// An extractor around data of a type: `Json<T>` around `T`.
///
/// `Valid<E>` takes any of them. To have one of your own validated, implement it together with [`BodyInput`] or [`HeadInput`].
///
/// # Example
///
/// ```
/// use tower_chain::extract::{BodyInput, FieldError, Head, Input, Location, Source, read_body};
/// use tower_chain::{Chain, Error, Request, StatusCode, Valid};
///
/// /// A body of `key=value` lines.
/// struct Lines<T>(T);
///
/// #[derive(validator::Validate)]
/// struct User {
///     #[validate(email)]
///     email: String,
/// }
///
/// impl Input for Lines<User> {
///     type Data = User;
///     const LOCATION: Location = Location::Body;
///
///     async fn read(req: &mut Request) -> Result<Source, Error> {
///         let bytes = read_body(req).await?;
///         Ok(Source::body(bytes).under(Head::from(&*req)))
///     }
///
///     fn parse(source: &Source) -> Result<Self, Error> {
///         let text = String::from_utf8_lossy(source.bytes());
///         match text.lines().find_map(|line| line.strip_prefix("email=")) {
///             Some(email) => Ok(Self(User { email: email.to_owned() })),
///             None => {
///                 let missing = FieldError::new(Self::LOCATION, "missing", "Must be there").at("email");
///                 Err(source.refuse(StatusCode::UNPROCESSABLE_ENTITY, "The input is not valid", vec![missing]))
///             }
///         }
///     }
///
///     fn data(&self) -> &User {
///         &self.0
///     }
///
///     fn into_data(self) -> User {
///         self.0
///     }
/// }
///
/// impl BodyInput for Lines<User> {}
///
/// let chain = Chain::new().post(async |Valid(Lines(user)): Valid<Lines<User>>| user.email);
/// # let _ = chain.build();
/// ```
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

    /// The names that the fields of the data have for the client, at the end of a path of such names, in the order of the type; `None` if they
    /// can't be told.
    fn fields(path: &[&str]) -> Option<&'static [&'static str]> {
        let _ = path;
        None
    }

    /// Whether the source is a text that `Json` or `Form` could read. Then a name that is not among
    /// [`fields`](Self::fields), as those of a flattened field, is looked for in what was submitted, and told.
    ///
    /// Defaults to no: what looks like a name in another text may be anything.
    fn is_named() -> bool {
        false
    }

    /// Whether the names at the end of such a path are, or may be, the client's own, as the keys of a map are. They are not told back.
    ///
    /// Defaults to no. An input of one's own says it where its data has maps.
    fn has_free_names(path: &[&str]) -> bool {
        let _ = path;
        false
    }
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
    fn find(head: Head<'_>) -> Result<Source, Error>;
}

/// Reads an input and goes on with it.
#[allow(clippy::manual_async_fn, reason = "in an `async fn` the request would have two rooms")]
pub(crate) fn take<E: Input, T>(
    mut req: Request,
    then: impl FnOnce(E, Source) -> Result<T, Error> + Send,
) -> impl Future<Output = Result<T, Error>> + Send {
    async move {
        let source = E::read(&mut req).await?;
        then(E::parse(&source)?, source)
    }
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head<'a> {
    /// What is asked for.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// What earlier steps left.
    pub extensions: &'a Extensions,
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

/// The part of a request that an [`Input`] is made from, and how mistakes in it are refused.
#[derive(Clone)]
pub struct Source {
    pub(crate) kind: Kind,
    style: Option<Arc<Style>>,
}

#[derive(Clone)]
pub(crate) enum Kind {
    Bytes(Bytes),
    Query(Option<PathAndQuery>),
    Path(Matched),
}

/// Kept only where something is set, so that an ordinary request pays nothing.
struct Style {
    settings: InvalidInput,
    headers: HeaderMap,
}

impl Source {
    /// The bytes of a body.
    pub fn body(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Bytes(bytes.into()), style: None }
    }

    /// The query of a URI.
    pub fn query(uri: Uri) -> Self {
        Self { kind: Kind::Query(uri.into_parts().path_and_query), style: None }
    }

    pub(crate) fn path(matched: Matched) -> Self {
        Self { kind: Kind::Path(matched), style: None }
    }

    /// Takes over the [`InvalidInput`] that is in force for the request.
    #[must_use]
    pub fn under(mut self, head: Head<'_>) -> Self {
        self.style = head.extensions.get::<InvalidInput>().map(|settings| {
            Arc::new(Style { settings: settings.clone(), headers: head.headers.clone() })
        });
        self
    }

    /// The body, if the data is made from one. A middleware puts it back.
    pub fn to_body(&self) -> Option<Bytes> {
        match &self.kind {
            Kind::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// The bytes of the body or of the query; empty for parameters of the path.
    pub fn bytes(&self) -> &[u8] {
        match &self.kind {
            Kind::Bytes(bytes) => bytes,
            Kind::Query(asked) => {
                asked.as_ref().and_then(PathAndQuery::query).unwrap_or_default().as_bytes()
            }
            Kind::Path(_) => b"",
        }
    }

    /// The step of a pointer that stands for a key which the client has chosen: `*`, unless [`InvalidInput::tell_keys`] is set.
    pub fn key<'k>(&self, key: &'k str) -> &'k str {
        let told = self.style.as_ref().is_some_and(|style| style.settings.tell_keys);
        if told && key.len() <= MAX_KEY { key } else { "*" }
    }

    /// The refusal that lists `errors`, as [`InvalidInput`] has it: up to 100 of them, each once. Where there are more, the member `more` is
    /// `true`.
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
            // Values under different keys may have the same error.
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
        if more { refusal.with_member("more", "true") } else { refusal }
    }
}

/// What the client submitted is left out.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Bytes(_) => "Source(bytes)",
            Kind::Query(_) => "Source(query)",
            Kind::Path(_) => "Source(path)",
        })
    }
}

/// How input that has not the expected form, or breaks a rule, is refused: provide it, and the extractors after it keep to it.
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
    translate: Option<Translate>,
}

type Translate = Arc<dyn Fn(&FieldError, &HeaderMap) -> Option<String> + Send + Sync>;

impl InvalidInput {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers with 400 where the text can be read but its content is at fault. Defaults to 422 (RFC 9110, 15.5.21).
    #[must_use]
    pub fn bad_request(mut self) -> Self {
        self.bad_request = true;
        self
    }

    /// Names the keys of maps in pointers: `/prices/EUR/amount`. Defaults to `*` in their place, since a client has chosen them, and what a
    /// client submits is not told back. A key of more than 128 bytes is `*` all the same.
    #[must_use]
    pub fn tell_keys(mut self) -> Self {
        self.tell_keys = true;
        self
    }

    /// Sets the texts for people: `translate` sees each error and the header fields of the request, and gives back another
    /// text, or `None` to keep the one that is there. Defaults to English.
    #[must_use]
    pub fn translate<F>(mut self, translate: F) -> Self
    where
        F: Fn(&FieldError, &HeaderMap) -> Option<String> + Send + Sync + 'static,
    {
        self.translate = Some(Arc::new(translate));
        self
    }
}

impl fmt::Debug for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidInput")
            .field("bad_request", &self.bad_request)
            .field("tell_keys", &self.tell_keys)
            .field("translate", &self.translate.is_some())
            .finish()
    }
}

/// The name that the client uses for the field `name` of the struct at `path` inside `E`, if the two differ in case and separators alone.
pub fn wire_name<E: Input>(path: &[&str], name: &str) -> Option<&'static str> {
    same_name(name, E::fields(path)?)
}

/// The one among `names` that is `name`, or differs from it in case and separators alone.
pub fn same_name<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    if let Some(found) = names.iter().find(|candidate| **candidate == name) {
        return Some(found);
    }
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let wanted = plain(name);
    let mut found = names.iter().filter(|candidate| plain(candidate) == wanted);
    match (found.next(), found.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// Errors that a refusal lists.
const MAX_ERRORS: usize = 100;

/// Bytes of a key that is told.
const MAX_KEY: usize = 128;
