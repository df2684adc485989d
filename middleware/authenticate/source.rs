//! Where in a request credentials are looked for, and how they are read.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::AuthenticateError;
use crate::{Challenge, Request};

/// Where in a request a secret token is looked for.
///
/// Of all the sources of an [`Authenticate`](super::Authenticate) a request may use one: a second one is refused with 400, because
/// what stands behind this step could look at the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// `Authorization: <scheme> <token68>`.
    Scheme(String),
    /// `Authorization: <token>`.
    Bare,
    /// `Authorization: Basic <base64>`.
    Basic,
    Header(HeaderName),
    Cookie(String),
    Query(String),
    Form(String),
}

impl Source {
    /// `Authorization: Bearer <token>` ([RFC 6750, 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)). The default.
    pub fn bearer() -> Self {
        Self(Kind::Scheme("Bearer".to_owned()))
    }

    /// `Authorization: <scheme> <token>`. The scheme is compared without regard to case; the token must be a `token68`
    /// ([RFC 9110, 11.2](https://www.rfc-editor.org/rfc/rfc9110#section-11.2)).
    ///
    /// # Errors
    ///
    /// If the scheme is no token, or is `Basic`, for which [`Authenticate::basic`](super::Authenticate::basic) is there.
    pub fn scheme(scheme: impl Into<String>) -> Result<Self, AuthenticateError> {
        let scheme = scheme.into();
        Challenge::new(scheme.clone())?;
        if scheme.eq_ignore_ascii_case("Basic") {
            return Err(AuthenticateError::Scheme { scheme });
        }
        // Two spellings of a scheme are one source.
        let bearer = scheme.eq_ignore_ascii_case("Bearer");
        Ok(if bearer { Self::bearer() } else { Self(Kind::Scheme(scheme)) })
    }

    /// `Authorization: <token>`, without a scheme, as many a small API has it. What holds a blank is read as a scheme and its credentials.
    pub fn bare() -> Self {
        Self(Kind::Bare)
    }

    /// A header of its own, such as `X-API-Key`. Its whole value is the token.
    ///
    /// # Errors
    ///
    /// If it isn't the name of a header, or is `Authorization` or `Cookie`, for which there are sources.
    pub fn header(name: &str) -> Result<Self, AuthenticateError> {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(header) if header != AUTHORIZATION && header != COOKIE => {
                Ok(Self(Kind::Header(header)))
            }
            _ => Err(AuthenticateError::Header { name: name.to_owned() }),
        }
    }

    /// A cookie whose name begins with `__Host-`, which browsers take only with `Secure`, `Path=/` and without `Domain`, so that no other host
    /// can set it ([RFC 6265bis, 4.1.3.2](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-the-__host-prefix)).
    ///
    /// Where a browser adds the credentials by itself, other sites can make it send requests. So a request with an unsafe method,
    /// or for an upgrade such as to a WebSocket, is refused with 403 unless it comes from the same origin or from a
    /// [trusted one](super::Authenticate::trusted_origin).
    /// Set the cookie with `HttpOnly` and `SameSite=Lax` or `Strict` as well.
    ///
    /// # Errors
    ///
    /// If the name doesn't begin with `__Host-`, or isn't the name of a cookie.
    pub fn cookie(name: impl Into<String>) -> Result<Self, AuthenticateError> {
        let name = name.into();
        match name.strip_prefix("__Host-") {
            Some(rest) if !rest.is_empty() => Self::unprefixed_cookie(name),
            _ => Err(AuthenticateError::Cookie { name }),
        }
    }

    /// A cookie of any name, which a neighbouring host may have set. Otherwise as [`cookie`](Self::cookie).
    ///
    /// # Errors
    ///
    /// If it isn't the name of a cookie.
    pub fn unprefixed_cookie(name: impl Into<String>) -> Result<Self, AuthenticateError> {
        let name = name.into();
        match Challenge::new(name.clone()) {
            Ok(_) => Ok(Self(Kind::Cookie(name))),
            Err(_) => Err(AuthenticateError::Cookie { name }),
        }
    }

    /// A parameter of the query, such as `access_token` ([RFC 6750, 2.3](https://www.rfc-editor.org/rfc/rfc6750#section-2.3)).
    ///
    /// Addresses end up in logs, histories and `Referer`: use it only for clients that can't send headers. The parameter is taken out of the URI
    /// that is passed on, and the response gets `Cache-Control: no-store` and `Referrer-Policy: no-referrer`.
    ///
    /// # Errors
    ///
    /// If the name is empty.
    pub fn query(name: impl Into<String>) -> Result<Self, AuthenticateError> {
        let name = name.into();
        if name.is_empty() { Err(AuthenticateError::Sources) } else { Ok(Self(Kind::Query(name))) }
    }

    /// A field of a form in the body, such as `access_token` ([RFC 6750, 2.2](https://www.rfc-editor.org/rfc/rfc6750#section-2.2)).
    ///
    /// The body of every request with the type `application/x-www-form-urlencoded` is then read before it is known who is calling, up to
    /// [`form_limit`](super::Authenticate::form_limit). It is passed on as it was.
    ///
    /// # Errors
    ///
    /// If the name is empty.
    pub fn form(name: impl Into<String>) -> Result<Self, AuthenticateError> {
        let name = name.into();
        if name.is_empty() { Err(AuthenticateError::Sources) } else { Ok(Self(Kind::Form(name))) }
    }

    /// The header `X-API-Key`.
    pub(super) fn api_key() -> Self {
        Self(Kind::Header(HeaderName::from_static("x-api-key")))
    }

    /// `Authorization: Basic`.
    pub(super) fn basic() -> Self {
        Self(Kind::Basic)
    }

    pub(super) fn is_cookie(&self) -> bool {
        matches!(self.0, Kind::Cookie(_))
    }

    pub(super) fn is_form(&self) -> bool {
        matches!(self.0, Kind::Form(_))
    }

    /// The name of the parameter, if it is one of the query.
    pub(super) fn query_name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Query(name) => Some(name),
            _ => None,
        }
    }

    /// The scheme of the challenge. Those of OAuth tell what was wrong with the credentials.
    pub(super) fn challenge_scheme(&self) -> &str {
        match &self.0 {
            Kind::Scheme(scheme) => scheme,
            Kind::Bare | Kind::Query(_) | Kind::Form(_) => "Bearer",
            Kind::Basic => "Basic",
            Kind::Header(_) => "ApiKey",
            Kind::Cookie(_) => "Cookie",
        }
    }

    /// What a client that sent nothing is asked for.
    pub(super) fn challenge(&self, realm: &str, resource_metadata: Option<&str>) -> Challenge {
        let challenge = Challenge::new(self.challenge_scheme()).and_then(|challenge| {
            let challenge = challenge.param("realm", realm)?;
            match &self.0 {
                // RFC 7617, 2.1.
                Kind::Basic => challenge.param("charset", "UTF-8"),
                Kind::Header(name) => challenge.param("header", name.as_str()),
                Kind::Cookie(name) => challenge.param("cookie-name", name),
                _ if self.challenge_scheme() == "Bearer" => match resource_metadata {
                    Some(url) => challenge.param("resource_metadata", url),
                    None => Ok(challenge),
                },
                _ => Ok(challenge),
            }
        });
        // The parts were checked when the source was made and when the realm was set.
        challenge.unwrap_or_else(|_| Challenge::bearer())
    }

    /// What stands in the request at this place.
    pub(super) fn find<'a>(
        &self,
        req: &'a Request,
        form: Option<&'a str>,
    ) -> Result<Option<Credentials<'a>>, Malformed> {
        let token = match &self.0 {
            Kind::Scheme(wanted) => match authorization(req.headers())? {
                Some(Authorization { scheme, credentials })
                    if scheme.eq_ignore_ascii_case(wanted) =>
                {
                    match credentials {
                        Some(token) if is_token68(token) => Some(Cow::Borrowed(token)),
                        _ => return Err(Malformed("The credentials are not a token")),
                    }
                }
                _ => None,
            },
            Kind::Bare => match authorization(req.headers())? {
                // Without credentials behind it, what reads as a scheme is the token.
                Some(Authorization { scheme, credentials: None }) => Some(Cow::Borrowed(scheme)),
                _ => None,
            },
            Kind::Basic => match authorization(req.headers())? {
                Some(Authorization { scheme, credentials })
                    if scheme.eq_ignore_ascii_case("Basic") =>
                {
                    return login(credentials.unwrap_or_default()).map(Some);
                }
                _ => None,
            },
            Kind::Header(name) => single(req.headers(), name)?.map(Cow::Borrowed),
            Kind::Cookie(name) => cookie(req.headers(), name)?.map(Cow::Borrowed),
            Kind::Query(name) => match req.uri().query() {
                Some(query) => parameter(query, name)?,
                None => None,
            },
            Kind::Form(name) => match form {
                Some(form) => parameter(form, name)?,
                None => None,
            },
        };
        let Some(token) = token else { return Ok(None) };
        let readable = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.is_empty() || token.len() > LONGEST || !readable {
            return Err(Malformed("The credentials are malformed"));
        }
        Ok(Some(Credentials::Token(token)))
    }

    /// Marks what stands there, so that it is neither logged nor kept in a compression table.
    pub(super) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        let name = match &self.0 {
            Kind::Scheme(_) | Kind::Bare | Kind::Basic => &AUTHORIZATION,
            Kind::Header(name) => name,
            Kind::Cookie(_) => &COOKIE,
            Kind::Query(_) | Kind::Form(_) => return,
        };
        if let http::header::Entry::Occupied(mut entry) = headers.entry(name) {
            entry.iter_mut().for_each(|value: &mut HeaderValue| value.set_sensitive(true));
        }
    }
}

/// What a request brings. It has no `Debug`, so that it can't be logged.
pub(super) enum Credentials<'a> {
    Token(Cow<'a, str>),
    /// User and password with a colon between them, and where that stands.
    Login(String, usize),
}

impl Credentials<'_> {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Token(token) => token.as_bytes(),
            Self::Login(login, _) => login.as_bytes(),
        }
    }

    pub(super) fn into_owned(self) -> Credentials<'static> {
        match self {
            Self::Token(token) => Credentials::Token(Cow::Owned(token.into_owned())),
            Self::Login(login, colon) => Credentials::Login(login, colon),
        }
    }
}

/// Credentials that can't be read. The text is for the client and holds nothing of what it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// The `Authorization` field, taken apart (RFC 9110, 11.4).
struct Authorization<'a> {
    scheme: &'a str,
    credentials: Option<&'a str>,
}

fn authorization(headers: &HeaderMap) -> Result<Option<Authorization<'_>>, Malformed> {
    let Some(value) = single(headers, &AUTHORIZATION)? else { return Ok(None) };
    let malformed = Malformed("The header `Authorization` is malformed");
    if value.contains('\t') {
        return Err(malformed);
    }
    match value.split_once(' ') {
        Some((scheme, rest)) => {
            let credentials = rest.trim_start_matches(' ');
            if scheme.is_empty() || credentials.is_empty() {
                return Err(malformed);
            }
            Ok(Some(Authorization { scheme, credentials: Some(credentials) }))
        }
        None if value.is_empty() => Err(malformed),
        None => Ok(Some(Authorization { scheme: value, credentials: None })),
    }
}

/// The one value of a header, if there is one.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Malformed> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Malformed("A header with credentials is repeated"));
    }
    value.to_str().map(Some).map_err(|_| Malformed("A header with credentials is malformed"))
}

/// RFC 9110, 11.2: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_token68(text: &str) -> bool {
    let token = text.trim_end_matches('=');
    !token.is_empty()
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

/// RFC 7617, 2: base64 of user, colon and password, in UTF-8 and without control characters. The first colon splits them.
fn login(encoded: &str) -> Result<Credentials<'static>, Malformed> {
    let malformed = Malformed("The credentials are not a user and a password");
    if encoded.len() > LONGEST {
        return Err(malformed);
    }
    let decoded = STANDARD.decode(encoded).map_err(|_| malformed)?;
    let login = String::from_utf8(decoded).map_err(|_| malformed)?;
    match login.find(':') {
        Some(colon) if !login.contains(char::is_control) => Ok(Credentials::Login(login, colon)),
        _ => Err(malformed),
    }
}

/// The value of a cookie. HTTP/2 may split the cookies into several fields (RFC 9113, 8.2.3).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Malformed> {
    let mut found = None;
    for field in headers.get_all(COOKIE) {
        for pair in field.as_bytes().split(|byte| *byte == b';') {
            let pair = pair.trim_ascii();
            let Some(value) =
                pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
            else {
                continue;
            };
            if found.is_some() {
                return Err(Malformed("A cookie with credentials is repeated"));
            }
            // RFC 6265, 4.1.1: the value may stand in double quotes.
            let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            let value = std::str::from_utf8(quoted.unwrap_or(value)).ok();
            let value = value.filter(|value| !value.contains(['"', ',', '\\']));
            found = Some(value.ok_or(Malformed("A cookie with credentials is malformed"))?);
        }
    }
    Ok(found)
}

/// The value of a parameter in a query or in a form.
fn parameter<'a>(encoded: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
    let mut found = None;
    for pair in encoded.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !is_named(key, name) {
            continue;
        }
        if found.is_some() {
            return Err(Malformed("A parameter with credentials is repeated"));
        }
        // A plus is a blank here, and no token holds one.
        let value = percent_decode_str(value).decode_utf8().ok();
        found = Some(
            value
                .filter(|_| !pair.contains('+'))
                .ok_or(Malformed("A parameter with credentials is malformed"))?,
        );
    }
    Ok(found)
}

fn is_named(key: &str, name: &str) -> bool {
    key == name || percent_decode_str(key).eq(name.bytes())
}

/// The URI without a parameter of its query.
pub(super) fn without_parameter(uri: &Uri, name: &str) -> Option<Uri> {
    let query = uri.query()?;
    let kept: Vec<_> = query
        .split('&')
        .filter(|pair| !is_named(pair.split_once('=').map_or(*pair, |(key, _)| key), name))
        .collect();
    let path_and_query = if kept.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{}", uri.path(), kept.join("&"))
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// In bytes. Longer credentials are refused unread.
const LONGEST: usize = 8 * 1024;
