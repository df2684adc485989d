//! URLs and documents of issuers.

use std::fmt;
use std::net::IpAddr;

use axum_core::BoxError;
use http::uri::Scheme;
use http::{HeaderValue, StatusCode, Uri};
use serde::Deserialize;

use crate::middleware::jwt::token::json::object;

/// A URL that keys may be fetched from: https, or http from a loopback address or one of these hosts; no user, no fragment.
pub(super) fn url(text: &str, http_hosts: &[Box<str>]) -> Option<Uri> {
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
        scheme if *scheme == Scheme::HTTP => {
            is_loopback(authority.host()) || is_one_of(authority.host(), http_hosts)
        }
        _ => false,
    };
    safe.then_some(url)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_one_of(host: &str, hosts: &[Box<str>]) -> bool {
    hosts.iter().any(|one| one.eq_ignore_ascii_case(host))
}

/// The URLs of the metadata of an issuer at this URL: for OpenID Connect below its path, and for RFC 8414, 3.1 in front of its path.
pub(super) fn places(url: &Uri) -> Option<[Uri; 2]> {
    let origin = origin(url)?;
    let path = url.path().trim_end_matches('/');
    let openid = format!("{origin}{path}/.well-known/openid-configuration");
    let oauth = format!("{origin}/.well-known/oauth-authorization-server{path}");
    Some([openid.parse().ok()?, oauth.parse().ok()?])
}

fn origin(url: &Uri) -> Option<String> {
    Some(format!("{}://{}", url.scheme_str()?, url.authority()?))
}

/// Where an issuer is reached.
pub(super) struct IssuerLocation<'a> {
    /// The claim `iss`.
    pub(super) issuer: &'a str,
    /// The URL of the issuer within the own network, or the issuer itself.
    pub(super) url: &'a Uri,
    /// The hosts from which keys may be fetched without encryption.
    pub(super) http_hosts: &'a [Box<str>],
}

impl IssuerLocation<'_> {
    /// A URL of the issuer as it is reached: with another origin and path if the issuer has an internal URL.
    fn reached(&self, text: &str) -> String {
        let own = self.issuer.trim_end_matches('/');
        let internal = self.url.to_string();
        if let Some(rest) = text.strip_prefix(own).filter(|rest| rest.starts_with('/')) {
            return format!("{}{rest}", internal.trim_end_matches('/'));
        }
        let [text_url, issuer_url] = [text, self.issuer].map(|text| text.parse::<Uri>().ok());
        let [from, of_issuer] = [&text_url, &issuer_url].map(|url| origin(url.as_ref()?));
        match (text_url, origin(self.url)) {
            (Some(url), Some(to)) if from.is_some() && from == of_issuer => {
                format!("{to}{}", url.path_and_query().map_or("", |path| path.as_str()))
            }
            _ => text.to_owned(),
        }
    }
}

/// The URL of the keys in the metadata, if those are the issuer's own.
pub(super) fn keys_url(document: &[u8], at: &IssuerLocation<'_>) -> Result<Uri, BoxError> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }

    let metadata: Metadata =
        object(document).ok_or("the metadata are no JSON object with `issuer` and `jwks_uri`")?;
    // The other text is not logged, because the issuer chose it.
    if metadata.issuer != at.issuer {
        let [theirs, ours] = [&*metadata.issuer, at.issuer].map(|text| text.trim_end_matches('/'));
        return Err(if theirs == ours {
            "the issuer in the metadata differs from the configured one in the trailing slash"
        } else {
            "the issuer in the metadata is not the configured one"
        }
        .into());
    }
    let keys = url(&at.reached(&metadata.jwks_uri), at.http_hosts)
        .ok_or("`jwks_uri` is not a URL that keys may be fetched from")?;
    // An issuer elsewhere must not make this server send requests to what listens on its own machine.
    let plain = |url: &Uri| url.scheme() == Some(&Scheme::HTTP);
    let own_machine = |url: &Uri| plain(url) && url.host().is_some_and(is_loopback);
    let allowed = keys.host().is_some_and(|host| is_one_of(host, at.http_hosts));
    if plain(&keys) && !allowed && !own_machine(at.url) {
        return Err("`jwks_uri` is not encrypted, and the issuer is".into());
    }
    Ok(keys)
}

/// The target of a redirect, if it is on the same host.
pub(super) fn redirected(from: &Uri, location: &HeaderValue) -> Option<Uri> {
    let location = location.to_str().ok()?;
    // The same host is allowed as before, and no other one.
    let http_hosts = [Box::from(from.host()?)];
    let to = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => {
            url(&format!("{}{location}", origin(from)?), &http_hosts)?
        }
        _ => url(location, &http_hosts)?,
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

/// A response of an issuer without a document.
#[derive(Debug)]
pub(super) struct IssuerResponse {
    pub(super) status: StatusCode,
    /// Its member `error`.
    pub(super) error: Option<String>,
}

impl fmt::Display for IssuerResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the status is {}", self.status)
    }
}

impl std::error::Error for IssuerResponse {}

/// Whether there is no document at a URL.
pub(super) fn is_absent(error: &BoxError) -> bool {
    let status = error.downcast_ref::<IssuerResponse>().map(|response| response.status);
    matches!(status, Some(StatusCode::NOT_FOUND | StatusCode::GONE))
}

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
            assert_eq!(url(text, &[]).is_some(), accepted, "{text}");
        }
    }

    #[test]
    fn http_is_allowed_to_the_named_host_alone() {
        let hosts = [Box::from("keycloak.auth.svc")];
        for (text, accepted) in [
            ("http://keycloak.auth.svc/keys", true),
            ("http://keycloak.auth.svc:8080/keys", true),
            ("http://KEYCLOAK.auth.svc/keys", true),
            ("https://other.example/keys", true),
            ("http://127.0.0.1/keys", true),
            ("http://keycloak.auth.svc.evil.example/", false),
            ("http://evil.keycloak.auth.svc/", false),
            ("http://keycloak.auth/", false),
            ("http://keycloak.auth.svc./", false),
            ("http://keycloak.auth.svc@evil.example/", false),
            ("http://user@keycloak.auth.svc/", false),
            ("ftp://keycloak.auth.svc/", false),
        ] {
            assert_eq!(url(text, &hosts).is_some(), accepted, "{text}");
        }
    }

    #[test]
    fn keys_are_fetched_where_the_issuer_is_reached() {
        let document =
            |issuer: &str, keys: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}"}}"#);
        let public = "https://login.example/auth/realms/x";
        // The issuer, its internal URL, the host that is allowed, `jwks_uri`, and where the keys are fetched.
        for (issuer, internal, host, keys, expected) in [
            (
                public,
                "http://kc:8080/realms/x",
                "kc",
                "https://login.example/auth/realms/x/certs",
                Some("http://kc:8080/realms/x/certs"),
            ),
            (
                public,
                "http://kc:8080/realms/x",
                "kc",
                "https://login.example/certs",
                Some("http://kc:8080/certs"),
            ),
            (
                public,
                "http://kc:8080/realms/x",
                "kc",
                "http://kc:8080/realms/x/certs",
                Some("http://kc:8080/realms/x/certs"),
            ),
            (
                public,
                "http://kc:8080/realms/x",
                "kc",
                "https://cdn.example/certs",
                Some("https://cdn.example/certs"),
            ),
            (public, "http://kc:8080/realms/x", "kc", "http://other:8080/certs", None),
            (public, "http://kc:8080/realms/x", "kc", "http://127.0.0.1:6379/", None),
            (
                public,
                "http://kc:8080/realms/x",
                "other",
                "https://login.example/auth/realms/x/certs",
                None,
            ),
            (
                public,
                "https://kc:8443/realms/x",
                "",
                "https://login.example/auth/realms/x/certs",
                Some("https://kc:8443/realms/x/certs"),
            ),
            (public, "https://kc:8443/realms/x", "", "http://kc:8443/certs", None),
            (
                public,
                public,
                "",
                "https://login.example/auth/realms/x/certs?a=b",
                Some("https://login.example/auth/realms/x/certs?a=b"),
            ),
            (
                "https://login.example/",
                "https://in.example/",
                "",
                "https://login.example/certs",
                Some("https://in.example/certs"),
            ),
            (
                "https://login.example",
                "https://in.example",
                "",
                "https://login.example.evil/certs",
                Some("https://login.example.evil/certs"),
            ),
            (
                "http://kc:8080",
                "http://kc:8080",
                "kc",
                "http://kc:8080/certs",
                Some("http://kc:8080/certs"),
            ),
            ("http://kc:8080", "http://kc:8080", "kc", "http://localhost:6379/certs", None),
            ("http://kc:8080", "http://kc:8080", "kc", "http://other/certs", None),
        ] {
            let url: Uri = internal.parse().unwrap();
            let http_hosts = [Box::from(host)];
            let at = IssuerLocation { issuer, url: &url, http_hosts: &http_hosts };
            let found = keys_url(document(issuer, keys).as_bytes(), &at);
            assert_eq!(
                found.map(|url| url.to_string()).ok().as_deref(),
                expected,
                "{internal} {keys}"
            );
        }
    }

    #[test]
    fn metadata_of_another_issuer_are_explained() {
        let url: Uri = "https://a.example/".parse().unwrap();
        for (configured, theirs, expected) in [
            (
                "https://a.example/",
                "https://a.example",
                "differs from the configured one in the trailing slash",
            ),
            (
                "https://a.example",
                "https://a.example/",
                "differs from the configured one in the trailing slash",
            ),
            ("https://a.example", "https://canary.example/", "is not the configured one"),
        ] {
            let document =
                format!(r#"{{"issuer":"{theirs}","jwks_uri":"https://a.example/keys"}}"#);
            let at = IssuerLocation { issuer: configured, url: &url, http_hosts: &[] };
            let error = keys_url(document.as_bytes(), &at).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("canary"), "{error}");
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
            let places = places(&issuer.parse().unwrap()).unwrap();
            assert_eq!(places.map(|place| place.to_string()), [openid, oauth]);
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
            let url = &issuer.parse().unwrap();
            let found =
                keys_url(document.as_bytes(), &IssuerLocation { issuer, url, http_hosts: &[] });
            assert_eq!(found.is_ok(), expected, "{document}");
        }
        let local = r#"{"issuer":"http://localhost:1","jwks_uri":"http://127.0.0.1:2/keys"}"#;
        let issuer = "http://localhost:1";
        let url = &issuer.parse().unwrap();
        let at = IssuerLocation { issuer, url, http_hosts: &[] };
        assert!(keys_url(local.as_bytes(), &at).is_ok());
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
