//! Where in a request credentials are looked for.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

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
    Header(HeaderName),
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
        Ok(Self(Kind::Scheme(scheme)))
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
            Ok(header) if header != AUTHORIZATION && header != http::header::COOKIE => {
                Ok(Self(Kind::Header(header)))
            }
            _ => Err(AuthenticateError::Header { name: name.to_owned() }),
        }
    }

    /// The header `X-API-Key`.
    pub(super) fn api_key() -> Self {
        Self(Kind::Header(HeaderName::from_static("x-api-key")))
    }

    /// What a client that sent nothing is asked for.
    pub(super) fn challenge(&self, realm: &str) -> Challenge {
        let challenge = match &self.0 {
            Kind::Scheme(scheme) => {
                Challenge::new(scheme.clone()).and_then(|c| c.param("realm", realm))
            }
            Kind::Bare => Challenge::new("Bearer").and_then(|c| c.param("realm", realm)),
            Kind::Header(name) => Challenge::new("ApiKey")
                .and_then(|c| c.param("realm", realm)?.param("header", name.as_str())),
        };
        // The scheme was checked when the source was made, the realm when it was set.
        challenge.unwrap_or_else(|_| Challenge::bearer())
    }

    /// What stands in the request at this place.
    pub(super) fn find<'a>(&self, req: &'a Request) -> Result<Option<&'a str>, Malformed> {
        match &self.0 {
            Kind::Scheme(wanted) => match authorization(req.headers())? {
                Some(Authorization { scheme, credentials })
                    if scheme.eq_ignore_ascii_case(wanted) =>
                {
                    match credentials {
                        Some(token) if is_token68(token) => Ok(Some(token)),
                        _ => Err(Malformed("The credentials are not a token")),
                    }
                }
                _ => Ok(None),
            },
            Kind::Bare => match authorization(req.headers())? {
                // Without credentials behind it, what reads as a scheme is the token.
                Some(Authorization { scheme, credentials: None }) => Ok(Some(scheme)),
                _ => Ok(None),
            },
            Kind::Header(name) => match single(req.headers(), name)? {
                Some(value) if !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic()) => {
                    Ok(Some(value))
                }
                Some(_) => Err(Malformed("The header of the key is malformed")),
                None => Ok(None),
            },
        }
    }

    /// Marks what stands there, so that it is neither logged nor kept in a compression table.
    pub(super) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        let name = match &self.0 {
            Kind::Scheme(_) | Kind::Bare => &AUTHORIZATION,
            Kind::Header(name) => name,
        };
        if let http::header::Entry::Occupied(mut entry) = headers.entry(name) {
            entry.iter_mut().for_each(|value: &mut HeaderValue| value.set_sensitive(true));
        }
    }
}

/// Credentials that can't be read. The text is for the client and holds nothing of what it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// The `Authorization` field, taken apart (RFC 9110, 11.4).
#[derive(Debug, PartialEq, Eq)]
struct Authorization<'a> {
    scheme: &'a str,
    credentials: Option<&'a str>,
}

fn authorization(headers: &HeaderMap) -> Result<Option<Authorization<'_>>, Malformed> {
    let Some(value) = single(headers, &AUTHORIZATION)? else { return Ok(None) };
    let malformed = Malformed("The header `Authorization` is malformed");
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
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
        return Err(Malformed("A header of the credentials is repeated"));
    }
    value.to_str().map(Some).map_err(|_| Malformed("A header of the credentials is malformed"))
}

/// RFC 9110, 11.2: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_token68(text: &str) -> bool {
    let token = text.trim_end_matches('=');
    !token.is_empty()
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}
