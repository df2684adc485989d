//! Announces that a resource is deprecated, and when it ends.
//!
//! # What it does
//!
//! [`Deprecated`] adds to each response the time since which the resource is deprecated (`Deprecation`, RFC 9745), the time after which it
//! may not respond (`Sunset`, RFC 8594), and links to what clients should read or use instead (`Link`). The response is not changed otherwise:
//! the resource works as before, also after its sunset.
//!
//! A `Deprecation` or `Sunset` that the handler or an inner step has set is kept, because it is about a smaller part of the API. Links are
//! appended to those of the handler.
//!
//! # Example
//!
//! ```
//! use tower_chain::Chain;
//! use tower_chain::middleware::deprecated::Deprecated;
//!
//! # fn main() -> Result<(), tower_chain::middleware::deprecated::DeprecatedError> {
//! let chain = Chain::new()
//!     .use_at("/v1", Deprecated::since("2026-06-30")?)
//!     .at("/v1/users", |c| c.get(async || "users"))
//!     .at("/v2/users", |c| c.get(async || "users"));
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # Example: one handler, with its end and its successor
//!
//! ```
//! use tower_chain::Chain;
//! use tower_chain::middleware::deprecated::Deprecated;
//!
//! # fn main() -> Result<(), tower_chain::middleware::deprecated::DeprecatedError> {
//! let deprecated = Deprecated::since("2026-06-30T12:00:00Z")?
//!     .sunset("2027-06-30")?
//!     .documentation("https://developer.example.com/deprecation")?
//!     .successor("/articles")?;
//!
//! let chain = Chain::new().at("/posts", |c| {
//!     c.get(async || "all posts")
//!         .group(|c| c.use_(deprecated).post(async || "created"))
//! });
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # What the client sees
//!
//! | field | value | set by |
//! | --- | --- | --- |
//! | `Deprecation` | `@1782777600` | [`since`](Deprecated::since) |
//! | `Sunset` | `Wed, 30 Jun 2027 00:00:00 GMT` | [`sunset`](Deprecated::sunset) |
//! | `Link` | `<https://developer.example.com/deprecation>; rel="deprecation"` | [`documentation`](Deprecated::documentation) |
//! | `Link` | `<..>; rel="sunset"` | [`sunset_policy`](Deprecated::sunset_policy) |
//! | `Link` | `</articles>; rel="successor-version"` | [`successor`](Deprecated::successor) |
//! | `Link` | `<..>; rel="latest-version"` | [`latest`](Deprecated::latest) |
//!
//! Behind CORS, expose these fields to pages: `Access-Control-Expose-Headers: Deprecation, Sunset, Link`.
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! Before the steps that can refuse a request, such as an authentication: their responses then have the fields as well. With `use_at` for the paths
//! under a prefix, inside `at` or a mounted chain for one path or version, inside `group` for one handler, and with
//! [`when`](crate::MiddlewareExt::when) for a version that a header field selects. With `always`, also responses to unknown paths have the fields.
//!
//! # Sources
//!
//! [RFC 9745](https://www.rfc-editor.org/rfc/rfc9745) (`Deprecation`), [RFC 8594](https://www.rfc-editor.org/rfc/rfc8594) (`Sunset`),
//! [RFC 8288](https://www.rfc-editor.org/rfc/rfc8288) (`Link`), [RFC 5829](https://www.rfc-editor.org/rfc/rfc5829) (`successor-version`,
//! `latest-version`), [RFC 9110, 5.6.7](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7) (dates).

use std::fmt;

use http::header::{HeaderName, LINK};
use http::{HeaderMap, HeaderValue};

use crate::declare::{Declaration, Field};
use crate::{Endpoint, Middleware, Next, Response};

/// A step that announces that a resource is deprecated. See the [module](self).
#[derive(Clone, Debug)]
pub struct Deprecated {
    since: UtcTime,
    deprecation: HeaderValue,
    sunset: Option<HeaderValue>,
    links: Vec<HeaderValue>,
}

impl Deprecated {
    /// The resource is, or will be, deprecated since a time: a date (`2026-06-30`, at midnight) or a date with a time
    /// (`2026-06-30T12:00:00Z`), in UTC.
    ///
    /// # Errors
    ///
    /// If it is not a date of this form between 1970 and 9999.
    pub fn since(time: &str) -> Result<Self, DeprecatedError> {
        let since = UtcTime::parse(time)?;
        let deprecation = value(format!("@{}", since.seconds()))?;
        Ok(Self { since, deprecation, sunset: None, links: Vec::new() })
    }

    /// Sets the time after which the resource may not respond. Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is not a date, or is before the deprecation.
    pub fn sunset(mut self, time: &str) -> Result<Self, DeprecatedError> {
        let sunset = UtcTime::parse(time)?;
        // RFC 9745, 4.
        if sunset < self.since {
            return Err(DeprecatedError::SunsetBeforeDeprecation);
        }
        self.sunset = Some(value(sunset.to_imf())?);
        Ok(self)
    }

    /// Adds a link to a page about the deprecation (`rel="deprecation"`). Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is not a URL, absolute or relative.
    pub fn documentation(self, url: &str) -> Result<Self, DeprecatedError> {
        self.link(url, "deprecation")
    }

    /// Adds a link to a page about the sunset (`rel="sunset"`). Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is not a URL, absolute or relative.
    pub fn sunset_policy(self, url: &str) -> Result<Self, DeprecatedError> {
        self.link(url, "sunset")
    }

    /// Adds a link to the next version of the resource (`rel="successor-version"`). Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is not a URL, absolute or relative.
    pub fn successor(self, url: &str) -> Result<Self, DeprecatedError> {
        self.link(url, "successor-version")
    }

    /// Adds a link to the latest version of the resource (`rel="latest-version"`). Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is not a URL, absolute or relative.
    pub fn latest(self, url: &str) -> Result<Self, DeprecatedError> {
        self.link(url, "latest-version")
    }

    fn link(mut self, url: &str, relation: &str) -> Result<Self, DeprecatedError> {
        // The characters of RFC 3986. The others could end the link.
        let is_url =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
        if url.is_empty() || !url.bytes().all(is_url) {
            return Err(DeprecatedError::Url(url.to_owned()));
        }
        self.links.push(value(format!("<{url}>; rel=\"{relation}\""))?);
        Ok(self)
    }

    fn announce(&self, headers: &mut HeaderMap) {
        headers.entry(DEPRECATION).or_insert_with(|| self.deprecation.clone());
        if let Some(sunset) = &self.sunset {
            headers.entry(SUNSET).or_insert_with(|| sunset.clone());
        }
        for link in &self.links {
            if !headers.get_all(LINK).iter().any(|own| own == link) {
                headers.append(LINK, link.clone());
            }
        }
    }
}

impl Middleware for Deprecated {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let mut response = next.run().await;
        self.announce(response.headers_mut());
        response
    }

    fn declare(&self, to: &mut Declaration) {
        to.deprecates();
        to.adds(Field::new(
            DEPRECATION.as_str(),
            "Since when the resource is deprecated (RFC 9745)",
        ));
        if self.sunset.is_some() {
            to.adds(Field::new(SUNSET.as_str(), "After when it may not respond (RFC 8594)"));
        }
        if !self.links.is_empty() {
            to.adds(Field::new(LINK.as_str(), "What to read or use instead"));
        }
    }
}

/// What is wrong with the configuration of a [`Deprecated`]. The text states what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeprecatedError {
    /// A text is not a date.
    Date(String),
    /// The sunset is before the deprecation.
    SunsetBeforeDeprecation,
    /// A text is not a URL.
    Url(String),
}

impl fmt::Display for DeprecatedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Date(text) => write!(
                f,
                "{text:?} is not a date: write it as `2026-06-30`, or with a time in UTC as `2026-06-30T12:00:00Z`"
            ),
            Self::SunsetBeforeDeprecation => f.write_str(
                "the sunset is before the deprecation: a resource is deprecated before it ends",
            ),
            Self::Url(text) => write!(
                f,
                "{text:?} is not a URL: use ASCII without spaces, and percent-encode other characters"
            ),
        }
    }
}

impl std::error::Error for DeprecatedError {}

/// A time in UTC: year, month, day, hour, minute, second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UtcTime([u32; 6]);

impl UtcTime {
    fn parse(text: &str) -> Result<Self, DeprecatedError> {
        Self::read(text).ok_or_else(|| DeprecatedError::Date(text.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, time.strip_suffix('Z')?),
            None => (text, "00:00:00"),
        };
        let number = |text: &str, length: usize| {
            let digits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| digits)
        };
        let fields = |text: &str, separator: char, first: usize| -> Option<[u32; 3]> {
            let parts: Vec<&str> = text.split(separator).collect();
            let [a, b, c] = parts[..] else { return None };
            Some([number(a, first)?, number(b, 2)?, number(c, 2)?])
        };
        let [year, month, day] = fields(date, '-', 4)?;
        let [hour, minute, second] = fields(time, ':', 2)?;
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        let is_date = year >= 1970 && (1..=days).contains(&day);
        let is_time = hour < 24 && minute < 60 && second < 60;
        (is_date && is_time).then_some(Self([year, month, day, hour, minute, second]))
    }

    /// Days since 1970-01-01, in the Gregorian calendar.
    fn days(self) -> u32 {
        let Self([year, month, day, ..]) = self;
        // A year that begins in March has its leap day at its end.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let leap_days = year / 4 - year / 100 + year / 400;
        year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - DAYS_TO_1970
    }

    fn seconds(self) -> u64 {
        let Self([.., hour, minute, second]) = self;
        u64::from(self.days()) * 86_400 + u64::from(hour * 3600 + minute * 60 + second)
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
    fn to_imf(self) -> String {
        let Self([year, month, day, hour, minute, second]) = self;
        // 1970-01-01 was a Thursday.
        let weekday = WEEKDAYS[(self.days() as usize + 4) % 7];
        let month = MONTHS[month as usize - 1];
        format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

/// All texts are ASCII, by construction or by a check.
fn value(text: String) -> Result<HeaderValue, DeprecatedError> {
    HeaderValue::try_from(&text).map_err(|_| DeprecatedError::Url(text))
}

/// From 0000-03-01.
const DAYS_TO_1970: u32 = 719_468;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");

const SUNSET: HeaderName = HeaderName::from_static("sunset");

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::{Body, Chain, ChainService, Error, MiddlewareExt, StatusCode};

    fn full() -> Deprecated {
        Deprecated::since("2026-06-30")
            .and_then(|d| d.sunset("2027-06-30T23:59:59Z"))
            .and_then(|d| d.documentation("https://developer.example.com/deprecation#v1"))
            .and_then(|d| d.sunset_policy("/sunset"))
            .and_then(|d| d.successor("../v2?x=1"))
            .and_then(|d| d.latest("https://example.com/latest"))
            .unwrap()
    }

    async fn get(chain: &ChainService, path: &str) -> (StatusCode, HeaderMap) {
        let req = http::Request::get(path).body(Body::empty()).unwrap();
        let (head, _) = chain.clone().oneshot(req).await.unwrap().into_parts();
        (head.status, head.headers)
    }

    fn links(headers: &HeaderMap) -> Vec<&str> {
        headers.get_all(LINK).iter().map(|link| link.to_str().unwrap()).collect()
    }

    /// The dates of RFC 9745, 2.1, RFC 8594, 3 and RFC 9110, 5.6.7, and others by another implementation (`date -u -d`).
    #[test]
    fn dates_are_written_as_their_rfcs_require() {
        for (text, seconds, imf) in [
            ("2023-06-30T23:59:59Z", 1_688_169_599, "Fri, 30 Jun 2023 23:59:59 GMT"),
            ("2018-12-31T23:59:59Z", 1_546_300_799, "Mon, 31 Dec 2018 23:59:59 GMT"),
            ("1994-11-06T08:49:37Z", 784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("1970-01-01", 0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("2000-02-29", 951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            ("2024-03-01", 1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT"),
            ("2026-06-30", 1_782_777_600, "Tue, 30 Jun 2026 00:00:00 GMT"),
            ("2100-03-01", 4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            ("9999-12-31T23:59:59Z", 253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let date = UtcTime::parse(text).unwrap();
            assert_eq!((date.seconds(), date.to_imf()), (seconds, imf.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_wrong_configuration_is_an_error() {
        for text in [
            "",
            "2026",
            "2026-6-30",
            "2026-06-31",
            "2026-02-29",
            "2100-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "1969-12-31",
            "+026-01-01",
            "10000-01-01",
            "2026-06-30T",
            "2026-06-30T12:00:00",
            "2026-06-30T24:00:00Z",
            "2026-06-30T12:60:00Z",
            "2026-06-30T12:00:60Z",
            "2026-06-30T12:00:00+02:00",
            "2026-06-30 12:00:00Z",
            "30 Jun 2026",
        ] {
            let expected = DeprecatedError::Date(text.to_owned());
            assert_eq!(Deprecated::since(text).unwrap_err(), expected, "{text}");
            assert_eq!(full().sunset(text).unwrap_err(), expected, "{text}");
        }
        for url in ["", "a b", "<x>", "https://é.example", "a\r\nb", "a\"b", "a>; rel=\"x"] {
            let expected = DeprecatedError::Url(url.to_owned());
            for result in [
                full().documentation(url),
                full().sunset_policy(url),
                full().successor(url),
                full().latest(url),
            ] {
                assert_eq!(result.unwrap_err(), expected, "{url}");
            }
        }
        let since = Deprecated::since("2026-06-30T12:00:00Z").unwrap();
        let early = since.clone().sunset("2026-06-30");
        assert_eq!(early.unwrap_err(), DeprecatedError::SunsetBeforeDeprecation);
        assert!(since.sunset("2026-06-30T12:00:00Z").is_ok());
    }

    #[tokio::test]
    async fn all_responses_of_a_deprecated_part_have_the_fields() {
        let refuse = async || Err::<(), _>(Error::new(StatusCode::FORBIDDEN, "No"));
        let ok = async || "ok";
        let header = Deprecated::since("2026-01-01").unwrap();
        let by_header = header.when(|req| req.headers().contains_key("x-old"));
        let chain = Chain::new()
            .use_at("/v1", full())
            .at("/v1/users", |c| c.get(ok))
            .at("/v1/refused", |c| c.guard(refuse).get(ok))
            .at("/v2/users", |c| c.get(ok))
            .at("/one", |c| c.get(ok).group(|c| c.use_(full()).post(ok)))
            .at("/selected", |c| c.use_(by_header).get(ok))
            .mount("/mounted", Chain::new().always(full()).at("/x", |c| c.get(ok)))
            .build();
        for (path, status, expected) in [
            ("/v1/users", 200, true),
            ("/v1/refused", 403, true),
            ("/v2/users", 200, false),
            ("/one", 200, false),
            ("/selected", 200, false),
            ("/mounted/x", 200, true),
            ("/mounted/unknown", 404, true),
            ("/unknown", 404, false),
        ] {
            let (found, headers) = get(&chain, path).await;
            assert_eq!(found, status, "{path}");
            if !expected {
                assert!(!headers.contains_key(DEPRECATION), "{path}");
                continue;
            }
            assert_eq!(headers[DEPRECATION], "@1782777600", "{path}");
            assert_eq!(headers[SUNSET], "Wed, 30 Jun 2027 23:59:59 GMT", "{path}");
            let expected = [
                r#"<https://developer.example.com/deprecation#v1>; rel="deprecation""#,
                r#"</sunset>; rel="sunset""#,
                r#"<../v2?x=1>; rel="successor-version""#,
                r#"<https://example.com/latest>; rel="latest-version""#,
            ];
            assert_eq!(links(&headers), expected, "{path}");
        }
        for (path, req) in [
            ("/one", http::Request::post("/one")),
            ("/selected", http::Request::get("/selected").header("x-old", "1")),
        ] {
            let response = chain.clone().oneshot(req.body(Body::empty()).unwrap()).await.unwrap();
            assert!(response.headers().contains_key(DEPRECATION), "{path}");
        }
    }

    #[tokio::test]
    async fn what_the_handler_has_set_is_kept_and_links_are_appended() {
        let own = async || {
            [
                ("deprecation", "@1700000000"),
                ("sunset", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("link", "</next>; rel=\"next\""),
            ]
        };
        let twice = async || ([("link", "</sunset>; rel=\"sunset\"")], "ok");
        let inner = Deprecated::since("2026-01-01").and_then(|d| d.successor("/new")).unwrap();
        let chain = Chain::new()
            .use_(full())
            .at("/own", |c| c.get(own))
            .at("/twice", |c| c.get(twice))
            .at("/inner", |c| c.use_(inner).get(async || "ok"))
            .build();
        let (_, headers) = get(&chain, "/own").await;
        for (name, expected) in
            [("deprecation", "@1700000000"), ("sunset", "Sun, 06 Nov 1994 08:49:37 GMT")]
        {
            let values: Vec<_> = headers.get_all(name).iter().collect();
            assert_eq!(values, [expected]);
        }
        assert_eq!(links(&headers).len(), 5);
        assert_eq!(links(&headers)[0], "</next>; rel=\"next\"");
        assert_eq!(links(&get(&chain, "/twice").await.1).len(), 4);
        let (_, headers) = get(&chain, "/inner").await;
        assert_eq!(headers[DEPRECATION], "@1767225600");
        assert_eq!(headers[SUNSET], "Wed, 30 Jun 2027 23:59:59 GMT");
        assert_eq!(links(&headers).len(), 5);
    }

    #[test]
    fn the_fields_are_declared() {
        for (step, expected) in [
            (full(), vec!["deprecation", "sunset", "link"]),
            (Deprecated::since("2026-06-30").unwrap(), vec!["deprecation"]),
        ] {
            let mut declaration = Declaration::default();
            step.declare(&mut declaration);
            let names: Vec<_> = declaration.added().iter().map(Field::name).collect();
            assert!(declaration.is_deprecated());
            assert_eq!(names, expected);
        }
    }
}
