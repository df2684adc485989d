//! A source of credentials in a request, and how it is read.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::{Terms, TokenSourceError};
use crate::Request;
use crate::challenge::Challenge;
use crate::declare::Scheme;
use crate::extract::ClientUri;

/// A source of tokens in a request.
///
/// A request may use one source of a step. Tokens in two sources are a 400, because a later step could read the other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSource(SourceKind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum SourceKind {
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
    /// `Sec-WebSocket-Protocol: <prefix><token>`.
    Subprotocol(String),
}

impl TokenSource {
    /// `Authorization: Bearer <token>` ([RFC 6750, 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)). The default.
    pub fn bearer() -> Self {
        Self(SourceKind::Scheme("Bearer".to_owned()))
    }

    /// `Authorization: <scheme> <token>`. The scheme is compared without regard to case; the token must be a `token68`
    /// ([RFC 9110, 11.2](https://www.rfc-editor.org/rfc/rfc9110#section-11.2)).
    ///
    /// # Errors
    ///
    /// If the scheme is not valid, or is `Basic` or `DPoP`, which have constructors of their own.
    pub fn scheme(scheme: impl Into<String>) -> Result<Self, TokenSourceError> {
        let scheme = scheme.into();
        Challenge::new(scheme.clone())?;
        if ["Basic", "DPoP"].iter().any(|own| scheme.eq_ignore_ascii_case(own)) {
            return Err(TokenSourceError::Scheme { scheme });
        }
        // Two spellings of a scheme are one source.
        let bearer = scheme.eq_ignore_ascii_case("Bearer");
        Ok(if bearer { Self::bearer() } else { Self(SourceKind::Scheme(scheme)) })
    }

    /// `Authorization: <token>`, without a scheme, as some small APIs use it. A value with a space is read as a scheme and its credentials.
    pub fn bare() -> Self {
        Self(SourceKind::Bare)
    }

    /// A header, such as `X-API-Key`. Its whole value is the token.
    ///
    /// # Errors
    ///
    /// If it is not a header name, or is `Authorization`, `Cookie` or `Sec-WebSocket-Protocol`, which have sources of their own.
    pub fn header(name: &str) -> Result<Self, TokenSourceError> {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(header) if ![AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL].contains(&header) => {
                Ok(Self(SourceKind::Header(header)))
            }
            _ => Err(TokenSourceError::Header { name: name.to_owned() }),
        }
    }

    /// A cookie whose name begins with `__Host-`. Browsers accept it only with `Secure`, with `Path=/` and without `Domain`, so no other host can set
    /// it ([RFC 6265bis, 4.1.3.2](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-the-__host-prefix)).
    ///
    /// A browser adds cookies by itself, also to requests that another site causes. A request with an unsafe method, or for an upgrade such as to a
    /// WebSocket, is therefore a 403 unless it comes from the same origin or from a trusted one (`trusted_origin` of the step). Also set the cookie with
    /// `HttpOnly`, and with `SameSite=Lax` or `Strict`.
    ///
    /// # Errors
    ///
    /// If the name does not begin with `__Host-`, or is not a cookie name.
    pub fn cookie(name: impl Into<String>) -> Result<Self, TokenSourceError> {
        let name = name.into();
        match name.strip_prefix("__Host-") {
            Some(rest) if !rest.is_empty() => Self::unprefixed_cookie(name),
            _ => Err(TokenSourceError::Cookie { name }),
        }
    }

    /// A cookie of any name, which another host of the same domain may have set. Otherwise the same as [`cookie`](Self::cookie).
    ///
    /// # Errors
    ///
    /// If it is not a cookie name.
    pub fn unprefixed_cookie(name: impl Into<String>) -> Result<Self, TokenSourceError> {
        let name = name.into();
        match Challenge::new(name.clone()) {
            Ok(_) => Ok(Self(SourceKind::Cookie(name))),
            Err(_) => Err(TokenSourceError::Cookie { name }),
        }
    }

    /// A parameter of the query, such as `access_token` ([RFC 6750, 2.3](https://www.rfc-editor.org/rfc/rfc6750#section-2.3)).
    ///
    /// URIs are stored in logs, in histories and in `Referer`, so use it only for clients that can't send headers. The parameter is removed from the URI
    /// for the next steps, and the response gets `Cache-Control: no-store` and `Referrer-Policy: no-referrer`.
    ///
    /// # Errors
    ///
    /// If the name is empty.
    pub fn query(name: impl Into<String>) -> Result<Self, TokenSourceError> {
        let name = name.into();
        if name.is_empty() {
            Err(TokenSourceError::Name { name })
        } else {
            Ok(Self(SourceKind::Query(name)))
        }
    }

    /// A field of a form in the body, such as `access_token` ([RFC 6750, 2.2](https://www.rfc-editor.org/rfc/rfc6750#section-2.2)).
    ///
    /// The body of every request with the type `application/x-www-form-urlencoded` is then read before the caller is known, up to the `form_limit` of
    /// the step. The next steps receive the same body.
    ///
    /// # Errors
    ///
    /// If the name is empty.
    pub fn form(name: impl Into<String>) -> Result<Self, TokenSourceError> {
        let name = name.into();
        if name.is_empty() {
            Err(TokenSourceError::Name { name })
        } else {
            Ok(Self(SourceKind::Form(name)))
        }
    }

    /// An entry of `Sec-WebSocket-Protocol` that begins with a prefix, such as `bearer.`, for browsers, whose WebSocket API can't set other headers:
    ///
    /// ```js
    /// new WebSocket(url, ["chat", "bearer." + token])
    /// ```
    ///
    /// The entry is removed from the header for the next steps, so none selects it as the protocol. Another site does not know the token, so the check
    /// of a cookie is not needed.
    ///
    /// # Errors
    ///
    /// If the prefix is not a token ([RFC 6455, 4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1)).
    pub fn subprotocol(prefix: impl Into<String>) -> Result<Self, TokenSourceError> {
        let name = prefix.into();
        match Challenge::new(name.clone()) {
            Ok(_) => Ok(Self(SourceKind::Subprotocol(name))),
            Err(_) => Err(TokenSourceError::Name { name }),
        }
    }

    /// The scheme for a description. `None` for a source that a description can't name: a field of a form, or a subprotocol.
    pub(super) fn scheme_of(&self, format: Option<&str>) -> Option<Scheme> {
        Some(match &self.0 {
            SourceKind::Scheme(scheme) if scheme == "Bearer" => {
                Scheme::Bearer(format.map(str::to_owned))
            }
            SourceKind::Scheme(scheme) => Scheme::Http(scheme.clone()),
            SourceKind::Bare => Scheme::Header("authorization".to_owned()),
            SourceKind::Basic => Scheme::Basic,
            SourceKind::Header(name) => Scheme::Header(name.as_str().to_owned()),
            SourceKind::Cookie(name) => Scheme::Cookie(name.clone()),
            SourceKind::Query(name) => Scheme::Query(name.clone()),
            SourceKind::Form(_) | SourceKind::Subprotocol(_) => return None,
        })
    }

    /// The header `X-API-Key`.
    #[cfg(feature = "authenticate")]
    pub(crate) fn api_key() -> Self {
        Self(SourceKind::Header(HeaderName::from_static("x-api-key")))
    }

    /// `Authorization: Basic`.
    #[cfg(feature = "authenticate")]
    pub(crate) fn basic() -> Self {
        Self(SourceKind::Basic)
    }

    /// `Authorization: DPoP <token>`, which comes with a proof.
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    pub(crate) fn dpop() -> Self {
        Self(SourceKind::Scheme("DPoP".to_owned()))
    }

    pub(super) fn is_cookie(&self) -> bool {
        matches!(self.0, SourceKind::Cookie(_))
    }

    pub(super) fn is_form(&self) -> bool {
        matches!(self.0, SourceKind::Form(_))
    }

    /// The scheme of the challenge. Only those of OAuth have error codes.
    fn challenge_scheme(&self) -> &str {
        match &self.0 {
            SourceKind::Scheme(scheme) => scheme,
            SourceKind::Bare
            | SourceKind::Query(_)
            | SourceKind::Form(_)
            | SourceKind::Subprotocol(_) => "Bearer",
            SourceKind::Basic => "Basic",
            SourceKind::Header(_) => "ApiKey",
            SourceKind::Cookie(_) => "Cookie",
        }
    }

    /// The challenge for a request without credentials.
    pub(super) fn challenge(&self, terms: &Terms) -> Challenge {
        let scheme = self.challenge_scheme();
        let challenge = Challenge::new(scheme).and_then(|challenge| {
            let challenge = challenge.param("realm", &terms.realm)?;
            let challenge = match &self.0 {
                // RFC 7617, 2.1.
                SourceKind::Basic => challenge.param("charset", "UTF-8")?,
                SourceKind::Header(name) => challenge.param("header", name.as_str())?,
                SourceKind::Cookie(name) => challenge.param("cookie-name", name)?,
                _ => challenge,
            };
            let challenge = match &terms.resource_metadata {
                Some(url) if matches!(scheme, "Bearer" | "DPoP") => {
                    challenge.param("resource_metadata", url)?
                }
                _ => challenge,
            };
            let challenge = match &terms.scope {
                Some(scope) if matches!(scheme, "Bearer" | "DPoP") => {
                    challenge.param("scope", scope)?
                }
                _ => challenge,
            };
            match &terms.algorithms {
                Some(names) if scheme == "DPoP" => challenge.param("algs", names),
                _ => Ok(challenge),
            }
        });
        // All parts were checked when the source was created and when the terms were set.
        challenge.unwrap_or_else(|_| Challenge::bearer())
    }

    /// Finds the credentials in this source.
    pub(super) fn find<'a>(
        &self,
        req: &'a Request,
        form: Option<&'a str>,
        longest: usize,
    ) -> Result<Option<Credentials<'a>>, Malformed> {
        let token = match &self.0 {
            SourceKind::Scheme(scheme) => match behind(scheme, req.headers())? {
                Some(token) => {
                    if token.len() > longest {
                        return Err(TOO_LONG);
                    }
                    let token = Some(token).filter(|token| is_token68(token));
                    let token = token.and_then(|token| std::str::from_utf8(token).ok());
                    let token = token.ok_or(Malformed("The credentials are not a token"))?;
                    return Ok(Some(Credentials::Token(Cow::Borrowed(token))));
                }
                None => None,
            },
            SourceKind::Bare => match authorization(req.headers())? {
                // Without credentials after it, the word is the token and not a scheme.
                Some((scheme, None)) => text(scheme)?.map(Cow::Borrowed),
                _ => None,
            },
            SourceKind::Basic => match behind("Basic", req.headers())? {
                Some(encoded) => {
                    if encoded.len() > longest {
                        return Err(TOO_LONG);
                    }
                    return login(encoded).map(Some);
                }
                None => None,
            },
            SourceKind::Header(name) => match single(req.headers(), name)? {
                Some(value) => text(value)?.map(Cow::Borrowed),
                None => None,
            },
            SourceKind::Cookie(name) => cookie(req.headers(), name)?.map(Cow::Borrowed),
            SourceKind::Query(name) => match req.uri().query() {
                Some(query) => parameter(query, name)?,
                None => None,
            },
            SourceKind::Form(name) => match form {
                Some(form) => parameter(form, name)?,
                None => None,
            },
            SourceKind::Subprotocol(prefix) => {
                subprotocol(req.headers(), prefix)?.map(Cow::Borrowed)
            }
        };
        let Some(token) = token else { return Ok(None) };
        if token.len() > longest {
            return Err(TOO_LONG);
        }
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Malformed("The credentials are malformed"));
        }
        Ok(Some(Credentials::Token(token)))
    }

    /// Marks the credentials as sensitive: `Debug` does not show them, and HTTP/2 does not index them.
    pub(super) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        let name = match &self.0 {
            SourceKind::Scheme(_) | SourceKind::Bare | SourceKind::Basic => &AUTHORIZATION,
            SourceKind::Header(name) => name,
            SourceKind::Cookie(_) => &COOKIE,
            SourceKind::Subprotocol(_) => &SEC_WEBSOCKET_PROTOCOL,
            SourceKind::Query(_) | SourceKind::Form(_) => return,
        };
        let Some(value) = headers.get_mut(name) else { return };
        value.set_sensitive(true);
        // Only these headers may have several values. `entry` may make the map grow, so it is called only for them.
        if matches!(self.0, SourceKind::Cookie(_) | SourceKind::Subprotocol(_))
            && let http::header::Entry::Occupied(mut entry) = headers.entry(name)
        {
            entry.iter_mut().for_each(|value: &mut HeaderValue| value.set_sensitive(true));
        }
    }

    /// Removes the token from the request for the next steps. Returns whether it was in the URI.
    pub(super) fn strip(&self, req: &mut Request) -> bool {
        match &self.0 {
            SourceKind::Query(name) => {
                let strip = |uri: &mut Uri| {
                    if let Some(stripped) = without_parameter(uri, name) {
                        *uri = stripped;
                    }
                };
                strip(req.uri_mut());
                ClientUri::rewrite(req.extensions_mut(), strip);
                true
            }
            SourceKind::Subprotocol(prefix) => {
                without_subprotocol(req.headers_mut(), prefix);
                false
            }
            _ => false,
        }
    }
}

/// Credentials of a request. Without `Debug`, so they can't be logged.
pub(crate) enum Credentials<'a> {
    Token(Cow<'a, str>),
    /// User and password with a colon between them, and the index of the colon.
    Login(String, usize),
}

impl Credentials<'_> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Token(token) => token.as_bytes(),
            Self::Login(login, _) => login.as_bytes(),
        }
    }

    #[cfg(feature = "authenticate")]
    pub(crate) fn into_owned(self) -> Credentials<'static> {
        match self {
            Self::Token(token) => Credentials::Token(Cow::Owned(token.into_owned())),
            Self::Login(login, colon) => Credentials::Login(login, colon),
        }
    }
}

/// Malformed credentials. The text is for the client, and does not contain anything that the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The scheme of the `Authorization` field, and the credentials after it (RFC 9110, 11.4).
type Authorization<'a> = (&'a [u8], Option<&'a [u8]>);

fn authorization(headers: &HeaderMap) -> Result<Option<Authorization<'_>>, Malformed> {
    single(headers, &AUTHORIZATION)?.map(take_apart).transpose()
}

/// The credentials of this scheme. Empty if there are none, and `None` if the header has another scheme.
fn behind<'a>(scheme: &str, headers: &'a HeaderMap) -> Result<Option<&'a [u8]>, Malformed> {
    let Some(value) = single(headers, &AUTHORIZATION)? else { return Ok(None) };
    // The usual spelling needs no parsing.
    if let Some([b' ', credentials @ ..]) = value.strip_prefix(scheme.as_bytes())
        && credentials.first().is_some_and(|byte| *byte != b' ')
    {
        return Ok(Some(credentials));
    }
    let (found, credentials) = take_apart(value)?;
    let is_it = found.eq_ignore_ascii_case(scheme.as_bytes());
    Ok(is_it.then(|| credentials.unwrap_or_default()))
}

fn take_apart(value: &[u8]) -> Result<Authorization<'_>, Malformed> {
    let malformed = Malformed("The header `Authorization` is malformed");
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    let credentials = rest.get(blanks..).filter(|credentials| !credentials.is_empty());
    // Without a space it may be a bare token, in which more characters are allowed than in a scheme.
    let written = match credentials {
        Some(_) => scheme.iter().all(|byte| is_tchar(*byte)),
        None => rest.is_empty() && scheme.iter().all(u8::is_ascii_graphic),
    };
    if scheme.is_empty() || !written { Err(malformed) } else { Ok((scheme, credentials)) }
}

/// The only value of a header, if there is one.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Malformed> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match values.next() {
        Some(_) => Err(Malformed("A header with credentials is repeated")),
        None => Ok(Some(value.as_bytes())),
    }
}

fn text(value: &[u8]) -> Result<Option<&str>, Malformed> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii());
    text.map(Some).ok_or(Malformed("A header with credentials is malformed"))
}

/// RFC 9110, 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110, 11.2: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_token68(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let token = text.get(..text.len() - padding).unwrap_or_default();
    // No early exit, so the compiler can vectorize the loop. The range from `-` to `9` is `-./` and the digits.
    let written = token.iter().fold(true, |written, byte| {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let digit = byte.wrapping_sub(b'-') <= b'9' - b'-';
        written & (letter | digit | (*byte == b'+') | (*byte == b'_') | (*byte == b'~'))
    });
    written && !token.is_empty()
}

/// RFC 7617, 2: base64 of user, colon and password, in UTF-8 and without control characters. The first colon splits them.
fn login(encoded: &[u8]) -> Result<Credentials<'static>, Malformed> {
    let malformed = Malformed("The credentials are not a user and a password");
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
            // RFC 6265, 4.1.1: the value may be in double quotes.
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
        // `+` means a space here, which is not allowed in a token.
        let value = percent_decode_str(value).decode_utf8().ok();
        found = Some(
            value
                .filter(|_| !pair.contains('+'))
                .ok_or(Malformed("A parameter with credentials is malformed"))?,
        );
    }
    Ok(found)
}

/// The token among the subprotocols, without its prefix (RFC 6455, 11.3.4: a list, in one field or several).
fn subprotocol<'a>(headers: &'a HeaderMap, prefix: &str) -> Result<Option<&'a str>, Malformed> {
    let mut found = None;
    for field in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        for entry in field.as_bytes().split(|byte| *byte == b',') {
            let Some(token) = entry.trim_ascii().strip_prefix(prefix.as_bytes()) else { continue };
            if found.is_some() {
                return Err(Malformed("A subprotocol with credentials is repeated"));
            }
            let token = std::str::from_utf8(token).ok();
            found = Some(token.ok_or(Malformed("A subprotocol with credentials is malformed"))?);
        }
    }
    Ok(found)
}

/// Removes the token from the subprotocols.
fn without_subprotocol(headers: &mut HeaderMap, prefix: &str) {
    let kept: Vec<Vec<u8>> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.starts_with(prefix.as_bytes()))
        .map(<[u8]>::to_vec)
        .collect();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(&kept.join(&b", "[..]))
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
}

fn is_named(key: &str, name: &str) -> bool {
    key == name || percent_decode_str(key).eq(name.bytes())
}

/// The URI without a parameter of its query.
fn without_parameter(uri: &Uri, name: &str) -> Option<Uri> {
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

/// Refused before it is decoded.
const TOO_LONG: Malformed = Malformed("The credentials are too long");
