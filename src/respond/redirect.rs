//! Redirects.

use std::borrow::Cow;

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

    /// Allows targets on one more origin, such as `https://accounts.example.org`. The default port may be written out or not, and an international
    /// host in its letters or in ASCII (`xn--`).
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
        let target = utf8_percent_encode(&in_ascii(&self.target), NOT_IN_A_URL).to_string();
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
    let url = in_ascii(url);
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

/// The URL with its host in ASCII: `https://xn--bcher-kva.example` for `https://bücher.example` (RFC 5891, 4.4).
///
/// The letters are not mapped to others. A host that a browser would map is then not equal to an allowed one.
fn in_ascii(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    let (authority, after) = rest.split_at(rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let (host, port) = host.split_at(host.rfind(':').unwrap_or(host.len()));
    if host.is_ascii() || !scheme.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Cow::Borrowed(url);
    }
    let label = |label: &str| match label.is_ascii() {
        true => Some(label.to_owned()),
        false => punycode(&label.to_ascii_lowercase()).map(|code| format!("xn--{code}")),
    };
    match host.split('.').map(label).collect::<Option<Vec<_>>>() {
        Some(labels) => Cow::Owned(format!("{scheme}://{user}{}{port}{after}", labels.join("."))),
        None => Cow::Borrowed(url),
    }
}

/// Encodes a label (RFC 3492, 6.3); `None` if it is too long for a name.
///
/// Not by the crate `idna`: redirects need no feature, and `idna` would add two dozen crates with tables of Unicode to every build. The
/// tables are for the mapping of letters, which is not wanted here.
fn punycode(label: &str) -> Option<String> {
    let chars: Vec<u32> = label.chars().map(u32::from).collect();
    if chars.len() > MAX_LABEL {
        return None;
    }
    let mut code: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(code.len()).ok()?;
    if basic > 0 {
        code.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (128, 0u32, 72, basic);
    while (handled as usize) < chars.len() {
        let next = *chars.iter().filter(|c| **c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for c in &chars {
            if *c < n {
                delta = delta.checked_add(1)?;
            }
            if *c == n {
                let mut q = delta;
                for k in (36u32..).step_by(36) {
                    let t = k.saturating_sub(bias).clamp(1, 26);
                    if q < t {
                        break;
                    }
                    code.push(digit(t + (q - t) % (36 - t)));
                    q = (q - t) / (36 - t);
                }
                code.push(digit(q));
                bias = adapted(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta += 1;
        n += 1;
    }
    Some(code)
}

/// `a` to `z`, and then `0` to `9`.
fn digit(value: u32) -> char {
    char::from_digit((value + 10) % 36, 36).unwrap_or('a')
}

/// The bias after a character (RFC 3492, 6.1).
fn adapted(delta: u32, points: u32, is_first: bool) -> u32 {
    let mut delta = if is_first { delta / 700 } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
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

/// The most characters of a label (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

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
    fn international_hosts_are_sent_in_ascii() {
        let books = "https://xn--bcher-kva.example";
        for (target, allowed, expected) in [
            (
                "https://b\u{fc}cher.example/\u{fc}?a#b",
                books,
                Some("https://xn--bcher-kva.example/%C3%BC?a#b"),
            ),
            ("https://B\u{fc}cher.EXAMPLE:443/", books, Some("https://xn--bcher-kva.EXAMPLE:443/")),
            (
                "https://xn--bcher-kva.example/",
                "https://b\u{fc}cher.example:443",
                Some("https://xn--bcher-kva.example/"),
            ),
            (
                "https://b\u{fc}cher.example:8443/",
                "https://b\u{fc}cher.example:8443",
                Some("https://xn--bcher-kva.example:8443/"),
            ),
            ("https://b\u{fc}cher.example:8443/", books, None),
            ("https://b\u{fc}cher.example.evil.example/", books, None),
            ("https://b\u{fc}cher.example@evil.example/", books, None),
            ("https://evil.example\\@b\u{fc}cher.example/", books, None),
            ("https://b\u{fc}cher.example\u{3002}evil.example/", books, None),
            (
                "https://\u{4f8b}\u{5b50}:443/",
                "https://xn--fsqu00a",
                Some("https://xn--fsqu00a:443/"),
            ),
            // Browsers would map the letters of these.
            ("https://b\u{ff55}cher.example/", "https://bucher.example", None),
            ("https://\u{212a}.example/", "https://k.example", None),
        ] {
            let response = Redirect::to(target).allow_origin(allowed).into_response();
            let location = response.headers().get("location").map(|v| v.to_str().unwrap());
            assert_eq!(location, expected, "{target:?}");
        }
        // RFC 3492, 7.1, and names of the root zone.
        for (label, code) in [
            ("b\u{fc}cher", "bcher-kva"),
            ("\u{e9}", "9ca"),
            ("\u{4f8b}\u{5b50}", "fsqu00a"),
            ("\u{43f}\u{440}\u{438}\u{43c}\u{435}\u{440}", "e1afmkfd"),
            ("3\u{5e74}b\u{7d44}\u{91d1}\u{516b}\u{5148}\u{751f}", "3b-ww4c5e180e575a65lsy2b"),
            (
                "\u{4ed6}\u{4eec}\u{4e3a}\u{4ec0}\u{4e48}\u{4e0d}\u{8bf4}\u{4e2d}\u{6587}",
                "ihqwcrb4cv8a8dqg056pqjye",
            ),
        ] {
            assert_eq!(punycode(label).as_deref(), Some(code));
        }
        let long = "\u{10ffff}".repeat(64);
        assert_eq!(Redirect::anywhere(format!("https://{long}/")).into_response().status(), 400);
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
