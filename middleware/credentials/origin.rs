//! Detects requests with a cookie that another site caused.

use http::header::{HOST, ORIGIN, UPGRADE};
use http::{HeaderName, Method};

use super::TokenSourceError;
use crate::Request;

/// An origin whose requests may carry the cookie, such as `https://app.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrustedOrigin(String);

impl TrustedOrigin {
    /// RFC 6454, 6.2: scheme, host and port, without a path.
    pub(super) fn new(origin: String) -> Result<Self, TokenSourceError> {
        let authority = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"))
            .filter(|authority| {
                !authority.is_empty() && !authority.contains(['/', '?', '#', '@', '*'])
            })
            .filter(|authority| !authority.contains(|c: char| c.is_ascii_uppercase()))
            .and_then(|authority| authority.parse::<http::uri::Authority>().ok());
        match authority {
            Some(_) => Ok(Self(origin)),
            None => Err(TokenSourceError::TrustedOrigin { origin }),
        }
    }
}

/// Whether another site may have caused the browser to send the request.
///
/// Browsers send the site in `Sec-Fetch-Site`. If it is missing, `Origin` is compared with `Host`. A request without both counts as one of another
/// site.
pub(super) fn is_cross_site(req: &Request, trusted: &[TrustedOrigin]) -> bool {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(req.method())
        || req.method().as_str() == "QUERY";
    if safe && !req.headers().contains_key(UPGRADE) {
        return false;
    }
    let Ok(site) = single(req, &SEC_FETCH_SITE) else { return true };
    let Ok(origin) = single(req, &ORIGIN) else { return true };
    if origin.is_some_and(|origin| trusted.iter().any(|trusted| trusted.0 == origin)) {
        return false;
    }
    match (site, origin) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => !is_own(req, origin),
        (None, None) => true,
    }
}

/// Whether an origin is the host of the request.
fn is_own(req: &Request, origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let asked = match req.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => single(req, &HOST).ok().flatten(),
    };
    asked.is_some_and(|asked| asked.eq_ignore_ascii_case(authority))
}

/// The only value of a header. An error if there are several, or if it is not text.
fn single<'a>(req: &'a Request, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = req.headers().get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
