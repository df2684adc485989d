//! Errors while a request is served, and the responses for them.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum_core::BoxError;
use axum_core::response::IntoResponse;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::LengthLimitError;

use crate::extract::FieldError;
use crate::json_text::{is_json, push_json_string};
use crate::{Body, Response};

/// Why a request failed: a status, a text for the client, and a cause that is never sent.
///
/// Any [`std::error::Error`] converts into it by `?`. It is then a 500, or a 413 if the cause is a body that is longer than its limit, or what an
/// [`ErrorStatus`] among its causes states. Use [`Error::new`] for every other status. As a response it is
/// `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)):
///
/// ```json
/// {"type":"about:blank","title":"Not Found","status":404,"detail":"User not found"}
/// ```
///
/// If the status is 500 or above, neither the cause nor the detail is sent. They are logged through [`tracing`] at level `ERROR`.
///
/// The response carries the error: [`Chain::on_error`](crate::Chain::on_error) can render it in another way, and a middleware can read it with
/// [`Error::of`].
///
/// # Example
///
/// ```
/// use tower_chain::{Error, StatusCode};
///
/// async fn user(id: u32) -> Result<String, Error> {
///     let text = std::fs::read_to_string("/etc/hostname")?; // an io::Error: 500
///     if id == 0 {
///         return Err(Error::new(StatusCode::NOT_FOUND, "User not found"));
///     }
///     Ok(text)
/// }
/// # let _ = user(0);
/// ```
#[derive(Clone)]
pub struct Error(Arc<ErrorInner>);

struct ErrorInner {
    status: StatusCode,
    type_uri: Cow<'static, str>,
    title: Option<Cow<'static, str>>,
    detail: Cow<'static, str>,
    /// Further members of the problem object: name, and value as JSON text.
    members: Vec<(Cow<'static, str>, String)>,
    field_errors: Vec<FieldError>,
    headers: HeaderMap,
    source: Option<Arc<BoxError>>,
    /// An error that a hook renders again is logged only once.
    logged: AtomicBool,
}

impl Error {
    /// An error with a status and a text that the client may read.
    ///
    /// The text is sent as `detail`, unless the status is 500 or above. Put no secret and nothing that the client submitted into it.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(ErrorInner {
            status,
            type_uri: Cow::Borrowed("about:blank"),
            title: None,
            detail: detail.into(),
            members: Vec::new(),
            field_errors: Vec::new(),
            headers: HeaderMap::new(),
            source: None,
            logged: AtomicBool::new(false),
        }))
    }

    /// A 500 whose text is only logged.
    pub(crate) fn internal(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    /// A 500 with its cause, or a 413 or 408 if the cause is a body that was too long or too slow.
    pub(crate) fn from_source(source: BoxError) -> Self {
        let stated = causes(&*source).find_map(|cause| cause.downcast_ref::<ErrorStatus>());
        let error = match stated {
            Some(stated) => stated.to_error(),
            None if is_length_limit(&*source) => body_too_large(),
            None if is_body_timeout(&*source) => body_timeout(),
            None => Self::internal(""),
        };
        error.with_source(source)
    }

    /// Adds the cause. It is logged if the status is 500 or above, and never sent.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.with(|inner| inner.source = Some(Arc::new(source.into())))
    }

    /// Adds a header field to the response, such as `WWW-Authenticate`. A second value for a name is appended.
    ///
    /// # Example
    ///
    /// ```
    /// use http::header::{HeaderValue, RETRY_AFTER};
    /// use tower_chain::{Error, StatusCode};
    ///
    /// let error = Error::new(StatusCode::SERVICE_UNAVAILABLE, "Back soon")
    ///     .with_header(RETRY_AFTER, HeaderValue::from_static("60"));
    /// assert_eq!(error.headers()["retry-after"], "60");
    /// ```
    #[must_use]
    pub fn with_header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.with(|inner| {
            inner.headers.append(name, value);
        })
    }

    /// Sets the `type` member, a URI that identifies the kind of problem. Defaults to `about:blank`.
    #[must_use]
    pub fn with_type(self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.with(|inner| inner.type_uri = uri.into())
    }

    /// Sets the `title` member. Defaults to the reason phrase of the status in RFC 9110.
    #[must_use]
    pub fn with_title(self, title: impl Into<Cow<'static, str>>) -> Self {
        self.with(|inner| inner.title = Some(title.into()))
    }

    /// Replaces the text for the client, as a translation does. See [`new`](Self::new).
    #[must_use]
    pub fn with_detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.with(|inner| inner.detail = detail.into())
    }

    /// Adds an extension member to the problem object, or replaces the one with this name. `json` is sent unchanged.
    ///
    /// The member is left out, and an error is logged, if `json` is not exactly one JSON value (put quotes around a text), or if the name is one
    /// of `type`, `title`, `status`, `detail` and `instance`, which have a meaning of their own (RFC 9457, 3.1).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Error, StatusCode};
    ///
    /// let error = Error::new(StatusCode::CONFLICT, "Stale version").with_member("current", "7");
    /// # let _ = error;
    /// ```
    #[must_use]
    pub fn with_member(self, name: impl Into<Cow<'static, str>>, json: impl Into<String>) -> Self {
        let (name, json) = (name.into(), json.into());
        if STANDARD_MEMBERS.contains(&&*name) {
            tracing::error!(%name, "a problem has no extension member of this name: use another one");
            return self;
        }
        if !is_json(&json) {
            tracing::error!(%name, "a member of a problem is left out: its value is not JSON");
            return self;
        }
        self.with(|inner| match inner.members.iter_mut().find(|(own, _)| *own == name) {
            Some((_, value)) => *value = json,
            None => inner.members.push((name, json)),
        })
    }

    fn with(mut self, change: impl FnOnce(&mut ErrorInner)) -> Self {
        // The error is shared if a response carries it.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
            return self;
        }
        let mut inner = ErrorInner {
            status: self.0.status,
            type_uri: self.0.type_uri.clone(),
            title: self.0.title.clone(),
            detail: self.0.detail.clone(),
            members: self.0.members.clone(),
            field_errors: self.0.field_errors.clone(),
            headers: self.0.headers.clone(),
            source: self.0.source.clone(),
            logged: AtomicBool::new(self.0.logged.load(Ordering::Relaxed)),
        };
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The text for the client.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The `title` member: the one that was set, or the reason phrase of the status in RFC 9110.
    pub fn title(&self) -> &str {
        match (&self.0.title, self.0.status) {
            (Some(title), _) => title,
            // `http` has the phrases of older RFCs for these.
            (None, StatusCode::PAYLOAD_TOO_LARGE) => "Content Too Large",
            (None, StatusCode::UNPROCESSABLE_ENTITY) => "Unprocessable Content",
            (None, status) => status.canonical_reason().unwrap_or("Error"),
        }
    }

    /// The `type` member.
    pub fn type_uri(&self) -> &str {
        &self.0.type_uri
    }

    /// The header fields of the response, such as a challenge.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The extension members, as names and JSON texts.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.members.iter().map(|(name, json)| (&**name, json.as_str()))
    }

    /// The errors of single fields, if input was refused because of them. They are also in the member `errors`.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Error, IntoResponse, StatusCode};
    ///
    /// async fn render(error: Error) -> (StatusCode, String) {
    ///     let line = |field: &tower_chain::extract::FieldError| format!("{}: {}", field.pointer(), field.detail());
    ///     let lines: Vec<_> = error.field_errors().iter().map(line).collect();
    ///     (error.status(), lines.join("\n"))
    /// }
    ///
    /// let chain = tower_chain::Chain::new().on_error(render);
    /// # let _ = chain;
    /// ```
    pub fn field_errors(&self) -> &[FieldError] {
        &self.0.field_errors
    }

    /// The cause, if there is one. Log it, but do not send it.
    pub fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.source.as_deref().map(|source| &**source)
    }

    /// The error that a response carries, also if a hook has rendered it.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Error, Next, Response};
    ///
    /// async fn report(next: Next<'_>) -> Response {
    ///     let response = next.run().await;
    ///     if let Some(cause) = Error::of(&response).and_then(Error::source) {
    ///         println!("{cause}");
    ///     }
    ///     response
    /// }
    /// # let _ = tower_chain::from_fn(report);
    /// ```
    pub fn of(response: &Response) -> Option<&Self> {
        response.extensions().get::<Carried>().map(|carried| &carried.error)
    }

    /// The error in the extensions of a response.
    #[cfg(feature = "test-util")]
    pub(crate) fn of_extensions(extensions: &http::Extensions) -> Option<&Self> {
        extensions.get::<Carried>().map(|carried| &carried.error)
    }

    /// The error that a response carries, if no `on_error` hook has rendered it yet.
    pub(crate) fn unrendered(response: &Response) -> Option<Self> {
        let carried = response.extensions().get::<Carried>()?;
        (!carried.rendered).then(|| carried.error.clone())
    }

    /// Marks a response as this error, rendered by a hook.
    pub(crate) fn mark_rendered(self, response: &mut Response) {
        response.extensions_mut().insert(Carried { error: self, rendered: true });
    }

    fn problem(&self) -> String {
        let mut json = String::with_capacity(96 + self.0.detail.len());
        json.push_str("{\"type\":");
        push_json_string(&mut json, self.type_uri());
        json.push_str(",\"title\":");
        push_json_string(&mut json, self.title());
        json.push_str(",\"status\":");
        json.push_str(self.0.status.as_str());
        if !self.0.status.is_server_error() && !self.0.detail.is_empty() {
            json.push_str(",\"detail\":");
            push_json_string(&mut json, &self.0.detail);
        }
        for (name, value) in self.members() {
            json.push(',');
            push_json_string(&mut json, name);
            json.push(':');
            json.push_str(value);
        }
        json.push('}');
        json
    }
}

impl FieldError {
    /// A refusal that lists these errors in its member `errors`.
    pub fn refuse(
        status: StatusCode,
        detail: impl Into<Cow<'static, str>>,
        errors: &[Self],
    ) -> Error {
        let mut json = String::from("[");
        for (i, error) in errors.iter().enumerate() {
            if i > 0 {
                json.push(',');
            }
            error.push(&mut json);
        }
        json.push(']');
        Error::new(status, detail).with(|inner| {
            inner.members.push(("errors".into(), json));
            inner.field_errors = errors.to_vec();
        })
    }
}

#[derive(Clone)]
struct Carried {
    error: Error,
    rendered: bool,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if self.0.status.is_server_error() && !self.0.logged.swap(true, Ordering::Relaxed) {
            let source = self.0.source.as_ref().map(tracing::field::display);
            tracing::error!(status = self.0.status.as_u16(), detail = %self.0.detail, source, "request failed");
        }
        let mut response = Response::new(Body::from(self.problem()));
        *response.status_mut() = self.0.status;
        response.headers_mut().clone_from(&self.0.headers);
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
        response.extensions_mut().insert(Carried { error: self, rendered: false });
        response
    }
}

impl<E> From<E> for Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    fn from(source: E) -> Self {
        Self::from_source(Box::new(source))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.status)?;
        if !self.0.detail.is_empty() {
            write!(f, ": {}", self.0.detail)?;
        }
        Ok(())
    }
}

/// The cause is left out: it may contain secrets, and it is logged elsewhere.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("status", &self.0.status)
            .field("detail", &self.0.detail)
            .finish_non_exhaustive()
    }
}

/// The refusal of a body that is longer than its limit: 413 (RFC 9110, 15.5.14).
pub(crate) fn body_too_large() -> Error {
    Error::new(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large")
}

/// The refusal of a body that a client sends too slowly: 408 (RFC 9110, 15.5.9).
pub(crate) fn body_timeout() -> Error {
    Error::new(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time")
}

/// Whether the cause is that the body of a request was cut off at a limit. A body of another origin, such as the response of another server,
/// is not a [`Body`].
pub(crate) fn is_length_limit(cause: &(dyn StdError + 'static)) -> bool {
    causes(cause).any(|cause| cause.is::<axum_core::Error>())
        && causes(cause).any(|cause| cause.is::<LengthLimitError>())
}

/// Whether the cause is that the body of a request did not arrive in time.
pub(crate) fn is_body_timeout(cause: &(dyn StdError + 'static)) -> bool {
    let is_timeout = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
    causes(cause).any(|cause| cause.is::<axum_core::Error>())
        && causes(cause).any(|cause| cause.downcast_ref().is_some_and(is_timeout))
}

/// The response that an error of your own becomes by `?`: return it as the [source](std::error::Error::source) of the error.
///
/// # Example
///
/// ```
/// use std::fmt;
///
/// use tower_chain::respond::ErrorStatus;
/// use tower_chain::{Error, StatusCode};
///
/// #[derive(Debug)]
/// struct SoldOut;
///
/// impl fmt::Display for SoldOut {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         f.write_str("no ticket is left")
///     }
/// }
///
/// impl std::error::Error for SoldOut {
///     fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
///         const STATUS: &ErrorStatus = &ErrorStatus::new(StatusCode::CONFLICT, "Sold out");
///         Some(STATUS)
///     }
/// }
///
/// fn buy() -> Result<(), Error> {
///     Err(SoldOut)?
/// }
/// assert_eq!(buy().unwrap_err().status(), 409);
/// ```
#[derive(Clone, Debug)]
pub struct ErrorStatus {
    status: StatusCode,
    detail: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

impl ErrorStatus {
    /// A status, and a text that the client may read, unless the status is 500 or above.
    pub const fn new(status: StatusCode, detail: &'static str) -> Self {
        Self { status, detail, headers: &[] }
    }

    /// Sets header fields of the response, such as a challenge. Defaults to none. A name or a value that is not valid in HTTP is left out.
    #[must_use]
    pub const fn headers(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { status: self.status, detail: self.detail, headers }
    }

    fn to_error(&self) -> Error {
        let error = Error::new(self.status, self.detail);
        self.headers.iter().fold(error, |error, (name, value)| {
            match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                (Ok(name), Ok(value)) => error.with_header(name, value),
                _ => error,
            }
        })
    }
}

impl fmt::Display for ErrorStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail)
    }
}

impl StdError for ErrorStatus {}

fn causes<'a>(
    cause: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(cause), |&cause| {
        // `io::Error::source` skips the error that it was made from, and returns the source of that one.
        match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        }
    })
}

/// The members that RFC 9457 defines.
const STANDARD_MEMBERS: [&str; 5] = ["type", "title", "status", "detail", "instance"];

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_status_title_and_detail() {
        let error = Error::new(StatusCode::NOT_FOUND, "a \"quoted\"\nline");
        assert_eq!(
            error.problem(),
            r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"a \"quoted\"\u000aline"}"#
        );
    }

    #[test]
    fn a_server_error_shows_neither_cause_nor_detail() {
        let error = Error::from(std::io::Error::other("password is hunter2"));
        assert_eq!(
            error.problem(),
            r#"{"type":"about:blank","title":"Internal Server Error","status":500}"#
        );
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }

    #[test]
    fn a_shared_error_keeps_its_cause_when_it_is_changed() {
        let error = Error::from(std::io::Error::other("the cause"));
        let response = error.into_response();
        let carried = Error::of(&response).cloned().expect("a response carries its error");
        let changed = carried.with_title("Changed");
        assert_eq!(changed.source().map(ToString::to_string).as_deref(), Some("the cause"));
    }

    #[test]
    fn members_and_headers_are_added() {
        let response = Error::new(StatusCode::TOO_MANY_REQUESTS, "Slow down")
            .with_type("https://example.org/limits")
            .with_title("Limit reached")
            .with_member("limits", "[1,2]")
            .with_header(http::header::RETRY_AFTER, HeaderValue::from_static("3"))
            .into_response();
        assert_eq!(response.headers()["retry-after"], "3");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(
            Error::of(&response).map(Error::problem).as_deref(),
            Some(
                r#"{"type":"https://example.org/limits","title":"Limit reached","status":429,"detail":"Slow down","limits":[1,2]}"#
            )
        );
    }

    #[test]
    fn a_member_is_one_json_value_and_has_a_name_of_its_own() {
        for (name, json, sent) in [
            ("limit", "7", r#","limit":7"#),
            ("limits", "[1, {\"a\": \"b\"}]", r#","limits":[1, {"a": "b"}]"#),
            ("limit", "seven", ""),
            ("limit", "7,\"admin\":true", ""),
            ("limit", "NaN", ""),
            ("limit", "", ""),
            ("limit", "\"open", ""),
            ("status", "200", ""),
            ("type", "\"x\"", ""),
            ("instance", "\"x\"", ""),
        ] {
            let error = Error::new(StatusCode::NOT_FOUND, "").with_member(name, json);
            let expected =
                format!(r#"{{"type":"about:blank","title":"Not Found","status":404{sent}}}"#);
            assert_eq!(error.problem(), expected, "{name} {json}");
        }
        let twice =
            Error::new(StatusCode::NOT_FOUND, "").with_member("a", "1").with_member("a", "2");
        assert_eq!(twice.members().collect::<Vec<_>>(), [("a", "2")]);
    }

    #[test]
    fn titles_are_those_of_rfc_9110() {
        for (status, title) in [
            (400, "Bad Request"),
            (413, "Content Too Large"),
            (414, "URI Too Long"),
            (415, "Unsupported Media Type"),
            (416, "Range Not Satisfiable"),
            (422, "Unprocessable Content"),
            (599, "Error"),
        ] {
            let error = Error::new(StatusCode::from_u16(status).unwrap(), "");
            assert_eq!(error.title(), title);
        }
    }

    #[test]
    fn the_errors_of_fields_are_a_slice() {
        use crate::extract::Location;
        let errors = [
            FieldError::new(Location::Body, "missing", "Is missing").at("name"),
            FieldError::new(Location::Body, "range", "Is too large")
                .at("age")
                .with_param("max", "9"),
        ];
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let response = FieldError::refuse(status, "Not valid", &errors).into_response();
        let error = Error::of(&response).cloned().unwrap();
        assert_eq!(error.field_errors(), errors);
        assert_eq!(error.clone().with_title("Changed").field_errors(), errors);
        assert_eq!(error.members().map(|(name, _)| name).collect::<Vec<_>>(), ["errors"]);
        assert!(Error::new(status, "").field_errors().is_empty());
    }
}
