//! Redirects.

use axum_core::response::IntoResponse;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{Error, Response};

/// Sends the client elsewhere: to the same origin, unless another is allowed.
///
/// A target that comes from the client, such as `?next=/settings`, can't lead to another site: `//evil.example`, `/\evil.example`,
/// `https://evil.example` and `javascript:` are a 400, and so is a line break. A target of the same origin starts with `/`, `?` or `#`.
///
/// The status is 307 (RFC 9110, 15.4.8), which keeps the method; after a form use [`see_other`](Self::see_other).
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, Redirect};
///
/// let chain = Chain::new()
///     .at("/old", |c| c.get(async || Redirect::to("/new").permanent()))
///     .at("/form", |c| c.post(async || Redirect::to("/thanks").see_other()))
///     .at("/login", |c| {
///         c.get(async || {
///             Redirect::to("https://accounts.example.org/authorize")
///                 .allow_origin("https://accounts.example.org")
///         })
///     });
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Redirect {
    status: StatusCode,
    target: String,
    origins: Vec<String>,
    anywhere: bool,
}

impl Redirect {
    /// To a target of the same origin, for now: 307.
    pub fn to(target: impl Into<String>) -> Self {
        Self {
            status: StatusCode::TEMPORARY_REDIRECT,
            target: target.into(),
            origins: Vec::new(),
            anywhere: false,
        }
    }

    /// To any `http` or `https` URL, for now: 307. Never for a target that comes from the client.
    pub fn anywhere(target: impl Into<String>) -> Self {
        Self { anywhere: true, ..Self::to(target) }
    }

    /// Allows targets of one more origin, such as `https://accounts.example.org`.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// With GET, whatever the method was: 303, for the answer to a form.
    pub fn see_other(mut self) -> Self {
        self.status = StatusCode::SEE_OTHER;
        self
    }

    /// For good, with the same method: 308.
    pub fn permanent(mut self) -> Self {
        self.status = StatusCode::PERMANENT_REDIRECT;
        self
    }

    /// For now, as old clients know it: 302, which turns POST into GET.
    pub fn found(mut self) -> Self {
        self.status = StatusCode::FOUND;
        self
    }

    /// For good, as old clients know it: 301, which turns POST into GET.
    pub fn moved(mut self) -> Self {
        self.status = StatusCode::MOVED_PERMANENTLY;
        self
    }

    fn location(&self) -> Option<HeaderValue> {
        if self.target.chars().any(char::is_control) {
            return None;
        }
        let target = utf8_percent_encode(&self.target, NOT_IN_A_URL).to_string();
        let mut bytes = target.bytes();
        let local = match bytes.next() {
            // Browsers read a backslash as a slash; it was encoded, so that two slashes are all that is left to see to.
            Some(b'/') => !matches!(self.target.as_bytes().get(1), Some(b'/' | b'\\')),
            Some(b'?' | b'#') => true,
            _ => false,
        };
        (local || self.leads_to_an_allowed_origin(&target))
            .then(|| HeaderValue::from_str(&target).ok())
            .flatten()
    }

    fn leads_to_an_allowed_origin(&self, target: &str) -> bool {
        let Some((scheme, authority)) = origin(target) else { return false };
        let web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
        let allowed = |allowed: &String| {
            origin(allowed).is_some_and(|(s, a)| {
                s.eq_ignore_ascii_case(&scheme) && a.eq_ignore_ascii_case(&authority)
            })
        };
        web && (self.anywhere || self.origins.iter().any(allowed))
    }
}

/// Scheme and authority of an absolute URL.
fn origin(url: &str) -> Option<(String, String)> {
    // A fragment is no part of what `Uri` reads.
    let uri: Uri = url.split('#').next()?.parse().ok()?;
    let authority = uri.authority()?;
    // What stands for a port must be one.
    let portless = authority.as_str().rsplit('@').next() == Some(authority.host());
    let readable = portless || authority.port().is_some();
    readable.then(|| Some((uri.scheme_str()?.to_owned(), authority.as_str().to_owned())))?
}

impl IntoResponse for Redirect {
    fn into_response(self) -> Response {
        let Some(location) = self.location() else {
            let detail = "The target of the redirect is not allowed";
            return Error::new(StatusCode::BAD_REQUEST, detail).into_response();
        };
        let mut response = Response::default();
        *response.status_mut() = self.status;
        response.headers_mut().insert(LOCATION, location);
        response
    }
}

/// What stands encoded in a URL; the percent sign is left, so that nothing is encoded twice.
const NOT_IN_A_URL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stay_on_the_same_origin() {
        for (target, expected) in [
            ("/", Some("/")),
            ("/a?b=c#d", Some("/a?b=c#d")),
            ("?page=2", Some("?page=2")),
            ("#top", Some("#top")),
            ("/käse brot", Some("/k%C3%A4se%20brot")),
            ("/a%20b", Some("/a%20b")),
            ("/a\\b", Some("/a%5Cb")),
            ("//evil.example", None),
            ("/\\evil.example", None),
            ("\\\\evil.example", None),
            ("https://evil.example", None),
            ("javascript:alert(1)", None),
            ("evil", None),
            (" /a", None),
            ("", None),
            ("/a\r\nset-cookie: x=1", None),
            ("/\t/evil.example", None),
            ("/a\u{85}", None),
        ] {
            let response = Redirect::to(target).into_response();
            let location = response.headers().get("location").map(|v| v.to_str().unwrap());
            assert_eq!(location, expected, "{target:?}");
            let status = if expected.is_some() { 307 } else { 400 };
            assert_eq!(response.status(), status, "{target:?}");
        }
    }

    #[test]
    fn another_origin_is_allowed_by_name() {
        for (target, allowed) in [
            ("https://a.example/x#y", true),
            ("HTTPS://A.example", true),
            ("https://a.example:444/", false),
            ("http://a.example/", false),
            ("https://a.example@evil.example/", false),
            ("https://a.example.evil.example/", false),
            ("https:a.example", false),
        ] {
            let redirect = Redirect::to(target).allow_origin("https://a.example");
            assert_eq!(redirect.into_response().status() == 307, allowed, "{target}");
        }
        assert_eq!(Redirect::anywhere("https://b.example/").into_response().status(), 307);
        for target in
            ["ftp://b.example/", "https://b.example:x/", "https://b.example:/", "//b.example"]
        {
            assert_eq!(Redirect::anywhere(target).into_response().status(), 400, "{target}");
        }
        for target in ["https://[::1]/", "http://b.example:8080"] {
            assert_eq!(Redirect::anywhere(target).into_response().status(), 307, "{target}");
        }
    }

    #[test]
    fn statuses_are_those_of_redirects() {
        let to = || Redirect::to("/");
        let statuses = [to(), to().see_other(), to().permanent(), to().found(), to().moved()]
            .map(|redirect| redirect.into_response().status().as_u16());
        assert_eq!(statuses, [307, 303, 308, 302, 301]);
    }
}
