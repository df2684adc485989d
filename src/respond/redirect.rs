//! Redirects.

use axum_core::response::IntoResponse;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{Error, Response};

/// A redirect to a target on the same origin, or on one that is allowed.
///
/// A target that comes from the client, such as `?next=/settings`, can't lead to another site: `//evil.example`, `/\evil.example`,
/// `https://evil.example`, `javascript:` and a line break are a 400. A target on the same origin begins with `/`, `?` or `#`.
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
    /// Redirects to a target on the same origin, temporarily: 307. A target on another origin is a 400, and is logged as an error, without the
    /// target.
    pub fn to(target: impl Into<String>) -> Self {
        Self {
            status: StatusCode::TEMPORARY_REDIRECT,
            target: target.into(),
            origins: Vec::new(),
            anywhere: false,
        }
    }

    /// Redirects to any `http` or `https` URL, temporarily: 307. Never use it for a target that comes from the client.
    pub fn anywhere(target: impl Into<String>) -> Self {
        Self { anywhere: true, ..Self::to(target) }
    }

    /// Allows targets on one more origin, such as `https://accounts.example.org`. The default port may be written out or not.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Makes the client continue with GET: 303, for the response to a form.
    pub fn see_other(mut self) -> Self {
        self.status = StatusCode::SEE_OTHER;
        self
    }

    /// Redirects permanently, with the same method: 308.
    pub fn permanent(mut self) -> Self {
        self.status = StatusCode::PERMANENT_REDIRECT;
        self
    }

    /// Redirects temporarily, in a way that old clients understand: 302, which turns POST into GET.
    pub fn found(mut self) -> Self {
        self.status = StatusCode::FOUND;
        self
    }

    /// Redirects permanently, in a way that old clients understand: 301, which turns POST into GET.
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
            // `//` begins an authority, and browsers read a backslash as a slash.
            Some(b'/') => !matches!(self.target.as_bytes().get(1), Some(b'/' | b'\\')),
            Some(b'?' | b'#') => true,
            _ => false,
        };
        (local || self.leads_to_an_allowed_origin(&target))
            .then(|| HeaderValue::from_str(&target).ok())
            .flatten()
    }

    fn leads_to_an_allowed_origin(&self, target: &str) -> bool {
        let Some(target) = origin(target) else { return false };
        let allowed = |allowed: &String| origin(allowed).is_some_and(|allowed| allowed == target);
        self.anywhere || self.origins.iter().any(allowed)
    }
}

/// The scheme, the authority without a port and the port of an `http` or `https` URL (RFC 6454, 4).
fn origin(url: &str) -> Option<(&'static str, String, u16)> {
    // `Uri` does not accept a fragment.
    let uri: Uri = url.split('#').next()?.parse().ok()?;
    let (scheme, default) = [("http", 80), ("https", 443)]
        .into_iter()
        .find(|(scheme, _)| uri.scheme_str().is_some_and(|own| own.eq_ignore_ascii_case(scheme)))?;
    let authority = uri.authority()?;
    // A user name in front of the host is a part of it here: an origin has none, and is then not equal.
    let (name, port) = match authority.port() {
        Some(port) => {
            (authority.as_str().strip_suffix(&format!(":{}", port.as_str()))?, port.as_u16())
        }
        // A colon without a valid port after it.
        None if authority.as_str().rsplit('@').next() != Some(authority.host()) => return None,
        None => (authority.as_str(), default),
    };
    Some((scheme, name.to_ascii_lowercase(), port))
}

impl IntoResponse for Redirect {
    fn into_response(self) -> Response {
        let Some(location) = self.location() else {
            if origin(&self.target).is_some() {
                // It may be the mistake of a program that was ported from a framework whose redirect goes anywhere.
                tracing::error!(
                    "`Redirect::to` was given a target on another origin: allow it with `allow_origin`, or use `Redirect::anywhere` for \
                     a target that does not come from the client"
                );
            }
            let detail = "The target of the redirect is not allowed";
            return Error::new(StatusCode::BAD_REQUEST, detail).into_response();
        };
        let mut response = Response::default();
        *response.status_mut() = self.status;
        response.headers_mut().insert(LOCATION, location);
        response
    }
}

/// The characters that are encoded in a URL. A percent sign is not: the target may be encoded already.
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
            ("https://a.example:443/x", true),
            ("https://A.example:0443/x", true),
            ("https://a.example:80/", false),
            ("https://user:443@a.example/", false),
            ("https://a.example:443@evil.example/", false),
            ("https://a.example:444/", false),
            ("http://a.example/", false),
            ("https://a.example@evil.example/", false),
            ("https://a.example.evil.example/", false),
            ("https:a.example", false),
        ] {
            let redirect = Redirect::to(target).allow_origin("https://a.example");
            assert_eq!(redirect.into_response().status() == 307, allowed, "{target}");
            let redirect = Redirect::to(target).allow_origin("https://a.example:443");
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
    fn a_target_on_another_origin_is_logged_without_its_text() {
        for (target, logged) in [
            ("https://accounts.example/login", true),
            ("HTTP://accounts.example", true),
            ("//accounts.example", false),
            ("javascript:alert(1)", false),
            ("/login", false),
        ] {
            let log = crate::test_log::Log::start();
            let _ = Redirect::to(target).into_response();
            assert_eq!(log.text().contains("ERROR"), logged, "{target}");
            assert_eq!(log.text().contains("allow_origin"), logged, "{target}");
            assert!(!log.text().contains("accounts.example"), "{target}");
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
