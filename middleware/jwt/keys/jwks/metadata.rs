//! URLs and documents of issuers.

use std::fmt;
use std::net::IpAddr;

use axum_core::BoxError;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use serde::Deserialize;

use crate::middleware::jwt::token::json::object;

/// A URL that keys may be fetched from: https, or http from a loopback address; no user, no fragment.
pub(super) fn url(text: &str) -> Option<Uri> {
    if text.contains('#') {
        return None;
    }
    let url: Uri = text.parse().ok()?;
    let authority = url.authority()?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    let safe = match url.scheme()? {
        scheme if *scheme == Scheme::HTTPS => true,
        scheme if *scheme == Scheme::HTTP => is_loopback(authority.host()),
        _ => false,
    };
    safe.then_some(url)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The URLs of the metadata of an issuer: for OpenID Connect below its path, and for RFC 8414, 3.1 in front of its path.
pub(super) fn places(issuer: &str) -> Option<[Uri; 2]> {
    let url = url(issuer)?;
    let origin = format!("{}://{}", url.scheme_str()?, url.authority()?);
    let path = url.path().trim_end_matches('/');
    let openid = format!("{origin}{path}/.well-known/openid-configuration");
    let oauth = format!("{origin}/.well-known/oauth-authorization-server{path}");
    Some([openid.parse().ok()?, oauth.parse().ok()?])
}

/// The URL of the keys in the metadata, if those are the issuer's own.
pub(super) fn keys_url(document: &[u8], issuer: &str) -> Result<Uri, BoxError> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }

    let metadata: Metadata =
        object(document).ok_or("the metadata are no JSON object with `issuer` and `jwks_uri`")?;
    // The other text is not logged, because the issuer chose it.
    if metadata.issuer != issuer {
        return Err("the metadata are those of another issuer".into());
    }
    let keys =
        url(&metadata.jwks_uri).ok_or("`jwks_uri` is no URL that keys may be fetched from")?;
    // An issuer elsewhere has no business with what listens on this machine.
    let plain = |url: &Uri| url.scheme() == Some(&Scheme::HTTP);
    if plain(&keys) && !url(issuer).is_some_and(|issuer| plain(&issuer)) {
        return Err("`jwks_uri` is not encrypted, and the issuer is".into());
    }
    Ok(keys)
}

/// The target of a redirect, if it is on the same host.
pub(super) fn redirected(from: &Uri, location: &HeaderValue) -> Option<Uri> {
    let location = location.to_str().ok()?;
    let origin = format!("{}://{}", from.scheme_str()?, from.authority()?);
    let to = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => url(&format!("{origin}{location}"))?,
        _ => url(location)?,
    };
    (to.scheme() == from.scheme() && to.authority() == from.authority()).then_some(to)
}

/// `max-age` of a `Cache-Control`, in seconds; 0 if the document must not be kept.
pub(super) fn max_age(value: &HeaderValue) -> Option<u64> {
    let value = value.to_str().ok()?;
    let mut found = None;
    for directive in value.split(',').map(|text| text.trim_matches([' ', '\t'])) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache")
        {
            return Some(0);
        }
        if let Some((name, seconds)) = directive.split_once('=')
            && name.eq_ignore_ascii_case("max-age")
        {
            found = seconds.trim_matches('"').parse().ok();
        }
    }
    found
}

/// There is nothing at this place.
#[derive(Debug)]
pub(super) struct Absent;

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is nothing at this place")
    }
}

impl std::error::Error for Absent {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, accepted) in [
            ("https://a.example/keys", true),
            ("https://a.example/keys?p=1", true),
            ("http://localhost:1/keys", true),
            ("http://127.0.0.1/keys", true),
            ("http://127.9.9.9/keys", true),
            ("http://[::1]:80/keys", true),
            ("http://a.example/keys", false),
            ("http://localhost.example/", false),
            ("http://127.0.0.1.example/", false),
            ("http://10.0.0.1/", false),
            ("http://169.254.169.254/", false),
            ("http://2130706433/", false),
            ("https://user@a.example/", false),
            ("http://localhost@evil.example/", false),
            ("https://a.example/#x", false),
            ("ftp://a.example/", false),
            ("file:///etc/passwd", false),
            ("/keys", false),
            ("a.example", false),
            ("", false),
        ] {
            assert_eq!(url(text).is_some(), accepted, "{text}");
        }
    }

    #[test]
    fn metadata_is_looked_for_in_two_places() {
        let table = [
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example/",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example:8443/realms/x",
                "https://a.example:8443/realms/x/.well-known/openid-configuration",
                "https://a.example:8443/.well-known/oauth-authorization-server/realms/x",
            ),
        ];
        for (issuer, openid, oauth) in table {
            assert_eq!(places(issuer).unwrap().map(|place| place.to_string()), [openid, oauth]);
        }
    }

    #[test]
    fn metadata_must_be_the_issuers_own() {
        let issuer = "https://a.example";
        for (document, expected) in [
            (r#"{"issuer":"https://a.example","jwks_uri":"https://k.example/"}"#, true),
            (r#"{"issuer":"https://a.example/","jwks_uri":"https://k.example/"}"#, false),
            (r#"{"issuer":"HTTPS://a.example","jwks_uri":"https://k.example/"}"#, false),
            (r#"{"issuer":"https://evil.example","jwks_uri":"https://k.example/"}"#, false),
            (r#"{"issuer":"https://a.example","jwks_uri":"http://k.example/"}"#, false),
            (r#"{"issuer":"https://a.example","jwks_uri":"file:///keys"}"#, false),
            (r#"{"issuer":"https://a.example","jwks_uri":"http://localhost:6379/"}"#, false),
            (r#"{"issuer":"https://a.example","jwks_uri":"http://127.0.0.1/keys"}"#, false),
            (r#"{"issuer":"https://a.example","jwks_uri":"https://127.0.0.1/keys"}"#, true),
            (r#"{"issuer":"https://a.example"}"#, false),
            (r#"{"issuer":["https://a.example"],"jwks_uri":"https://k.example/"}"#, false),
            (r#"["https://a.example","https://k.example/"]"#, false),
            (r#"[{"issuer":"https://a.example","jwks_uri":"https://k.example/"}]"#, false),
            (
                r#"{"issuer":"https://a.example","issuer":"https://a.example","jwks_uri":"https://k.example/"}"#,
                false,
            ),
            ("[]", false),
            ("<html>", false),
            ("", false),
        ] {
            assert_eq!(keys_url(document.as_bytes(), issuer).is_ok(), expected, "{document}");
        }
        let local = r#"{"issuer":"http://localhost:1","jwks_uri":"http://127.0.0.1:2/keys"}"#;
        assert!(keys_url(local.as_bytes(), "http://localhost:1").is_ok());
    }

    #[test]
    fn redirects_stay_on_their_host() {
        let from = "https://a.example/keys".parse().unwrap();
        for (location, expected) in [
            ("/new", Some("https://a.example/new")),
            ("https://a.example/new", Some("https://a.example/new")),
            ("https://b.example/new", None),
            ("http://a.example/new", None),
            ("https://a.example:444/new", None),
            ("https://a.example@b.example/", None),
            ("//b.example/new", None),
            ("new", None),
            ("", None),
        ] {
            let to = redirected(&from, &HeaderValue::from_static(location));
            assert_eq!(to.map(|to| to.to_string()).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn max_ages() {
        for (value, expected) in [
            ("max-age=300", Some(300)),
            ("public, Max-Age=300, must-revalidate", Some(300)),
            ("max-age=\"7\"", Some(7)),
            ("no-store, max-age=300", Some(0)),
            ("max-age=300, no-cache", Some(0)),
            ("max-age=-1", None),
            ("max-age=99999999999999999999", None),
            ("s-maxage=3", None),
            ("", None),
        ] {
            assert_eq!(max_age(&HeaderValue::from_static(value)), expected, "{value}");
        }
    }
}
