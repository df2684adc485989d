//! Finds settings with which no request can ever succeed.

use std::time::Duration;

use super::error::JwtError;
use crate::middleware::credentials::is_invisible;

/// Returns a text that a token may contain. `what` names the setting.
pub(super) fn text(text: impl Into<String>, what: &'static str) -> Result<Box<str>, JwtError> {
    let text = text.into();
    let bare = text.trim_matches(is_invisible);
    if bare.is_empty() {
        return Err(JwtError::Blank { what });
    }
    if text.len() != bare.len() || text.contains(char::is_control) {
        return Err(JwtError::Whitespace { what });
    }
    Ok(text.into_boxed_str())
}

/// Returns the name of an issuer, which is usually its URL.
pub(super) fn issuer(issuer: impl Into<String>) -> Result<Box<str>, JwtError> {
    let issuer = text(issuer, "the issuer")?;
    url(&issuer)?;
    if is_keys_url(&issuer) {
        return Err(JwtError::KeysUrl);
    }
    Ok(issuer)
}

/// Checks a URL for parts that its reader was meant to replace.
pub(super) fn url(url: &str) -> Result<(), JwtError> {
    let lower = url.to_ascii_lowercase();
    let open = ["{", "}", "<", ">", "%7b", "%3c"].iter().any(|mark| lower.contains(mark));
    if open || url.contains("YOUR_") || url.contains("YOUR-") {
        return Err(JwtError::Placeholder);
    }
    let has_part = |name: &str| url.split(['/', '?', '#']).any(|part| part == name);
    // OpenID Connect Discovery 1.0, 4 and RFC 8414, 3.
    if has_part("openid-configuration") || has_part("oauth-authorization-server") {
        return Err(JwtError::DiscoveryUrl);
    }
    Ok(())
}

/// Checks that an issuer of Entra ID names a tenant, which tokens always do.
pub(super) fn tenant(issuer: &str) -> Result<(), JwtError> {
    let path = issuer
        .strip_prefix("https://login.microsoftonline.com/")
        .or_else(|| issuer.strip_prefix("https://sts.windows.net/"));
    match path.and_then(|path| path.split('/').next()) {
        Some("common" | "organizations" | "consumers") => Err(JwtError::EveryTenant),
        _ => Ok(()),
    }
}

/// Whether it is the URL of a JWK set, as the common issuers publish it.
pub(super) fn is_keys_url(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or("", |(_, rest)| rest);
    let last = path.split_once('/').and_then(|(_, path)| path.rsplit('/').next());
    last.is_some_and(|last| matches!(last, "jwks" | "certs" | "keys") || last.ends_with(".json"))
}

/// Whether it is the URL of an issuer. That of a JWK set has a longer path.
#[cfg(feature = "jwks")]
pub(super) fn is_issuer_url(url: &http::Uri) -> bool {
    let parts: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    // Spring Authorization Server and WSO2 publish their keys at `/oauth2/jwks`, others at `/oauth2/certs`.
    !is_keys_url(&url.to_string())
        && url.query().is_none()
        && matches!(
            parts[..],
            [] | [_, "v2.0"] | ["realms", _] | ["auth", "realms", _] | ["oauth2", _]
        )
}

/// Returns a time that is not zero. `what` names the setting.
pub(super) fn time(time: Duration, what: &'static str) -> Result<Duration, JwtError> {
    if time.is_zero() { Err(JwtError::ZeroTime { what }) } else { Ok(time) }
}

/// Returns a time in whole seconds, at least one.
pub(super) fn seconds(time: Duration, what: &'static str) -> Result<u64, JwtError> {
    match time.as_secs() {
        0 => Err(JwtError::ZeroTime { what }),
        seconds => Ok(seconds),
    }
}
