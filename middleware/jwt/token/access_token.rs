//! The claims of an access token.

use std::time::{Duration, SystemTime};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::json::{LAST_SECOND, Object};
use crate::Grants;

/// The claims that [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068) has for access tokens, ready for `Require`.
///
/// Its scopes are those of `scope`, its roles those of `roles` and `groups`, its permissions those of `entitlements` and `permissions`. A list may contain
/// strings, or objects with a `value` ([RFC 7643, 2.4](https://www.rfc-editor.org/rfc/rfc7643#section-2.4)).
///
/// # Example
///
/// ```
/// use tower_chain::middleware::jwt::{AccessToken, Algorithm, Keys};
/// use tower_chain::{Chain, Claims, Jwt};
///
/// async fn me(claims: Claims<AccessToken>) -> String {
///     claims.subject.clone()
/// }
///
/// # fn main() -> Result<(), tower_chain::JwtError> {
/// # let pem = include_str!("../tests/p256.pem");
/// let jwt = Jwt::<AccessToken>::es256(pem)?.rfc9068("https://login.example.org", "https://api.example.org");
/// let api = Chain::new().use_(jwt).get(me).build();
/// # let _ = api;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct AccessToken {
    /// The claim `sub`: who the token is about.
    #[serde(rename = "sub")]
    pub subject: String,
    /// The claim `client_id`: the application to which the token was issued.
    pub client_id: String,
    /// The claim `scope`, as it is written.
    pub scope: String,
    /// The claim `roles`.
    #[serde(deserialize_with = "values")]
    pub roles: Vec<String>,
    /// The claim `groups`.
    #[serde(deserialize_with = "values")]
    pub groups: Vec<String>,
    /// The claim `entitlements`.
    #[serde(deserialize_with = "values")]
    pub entitlements: Vec<String>,
    /// The claim `permissions`, which is not in an RFC but which many issuers send.
    #[serde(deserialize_with = "values")]
    pub permissions: Vec<String>,
    /// The claim `acr`: how the user signed in.
    pub acr: Option<String>,
    /// The claim `auth_time`: when the user signed in, in seconds.
    #[serde(deserialize_with = "date")]
    pub auth_time: Option<u64>,
}

impl Grants for AccessToken {
    fn has_scope(&self, scope: &str) -> bool {
        !scope.is_empty() && self.scope.split(' ').any(|own| own == scope)
    }

    fn has_role(&self, role: &str) -> bool {
        self.roles.iter().chain(&self.groups).any(|own| own == role)
    }

    fn has_permission(&self, permission: &str) -> bool {
        self.entitlements.iter().chain(&self.permissions).any(|own| own == permission)
    }

    fn acr(&self) -> Option<&str> {
        self.acr.as_deref()
    }

    fn authenticated_at(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.auth_time?))
    }
}

/// Seconds from the epoch to the end of the year 9999. Later dates could overflow a clock.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Option::deserialize(deserializer)? {
        Some(seconds) if seconds > LAST_SECOND => Err(D::Error::custom("beyond the year 9999")),
        date => Ok(date),
    }
}

/// A list of strings, or of SCIM objects with a `value`.
fn values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ListEntry {
        Text(String),
        Object(Object<Scim>),
    }

    #[derive(Deserialize)]
    struct Scim {
        value: String,
    }

    let entries: Vec<ListEntry> = Vec::deserialize(deserializer)?;
    let text = |entry| match entry {
        ListEntry::Text(text) | ListEntry::Object(Object(Scim { value: text })) => text,
    };
    Ok(entries.into_iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<AccessToken> {
        serde_json::from_str(json).ok()
    }

    #[test]
    fn claims_are_grants() {
        let token = read(
            r#"{"sub":"ann","client_id":"app","scope":"read write","roles":["staff"],"groups":[{"value":"eu","display":"Europe"}],
                "entitlements":["export",{"value":"import"}],"permissions":["edit"],"acr":"2","auth_time":100,"other":1}"#,
        );
        let token = token.expect("claims");
        for (scope, has) in
            [("read", true), ("write", true), ("rea", false), ("", false), ("read write", false)]
        {
            assert_eq!(token.has_scope(scope), has, "{scope}");
        }
        for (role, has) in [("staff", true), ("eu", true), ("Europe", false), ("export", false)] {
            assert_eq!(token.has_role(role), has, "{role}");
        }
        for (permission, has) in
            [("export", true), ("import", true), ("edit", true), ("staff", false)]
        {
            assert_eq!(token.has_permission(permission), has, "{permission}");
        }
        assert_eq!(token.acr(), Some("2"));
        assert_eq!(
            token.authenticated_at(),
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(100))
        );
        assert!(token.is_authenticated());
    }

    #[test]
    fn what_is_not_there_grants_nothing_and_what_is_wrong_is_refused() {
        let empty = read("{}").expect("claims");
        assert_eq!(empty, AccessToken::default());
        assert!(
            !empty.has_scope("")
                && !empty.has_role("")
                && !empty.has_permission("")
                && empty.acr().is_none()
        );
        assert_eq!(empty.authenticated_at(), None);
        for json in [
            r#"{"roles":"admin"}"#,
            r#"{"roles":{"value":"admin"}}"#,
            r#"{"roles":[1]}"#,
            r#"{"roles":[["admin"]]}"#,
            r#"{"roles":[{"value":["admin"]}]}"#,
            r#"{"roles":[{"value":"admin","value":"user"}]}"#,
            r#"{"groups":[{"display":"admin"}]}"#,
            r#"{"entitlements":[null]}"#,
            r#"{"scope":["read"]}"#,
            r#"{"auth_time":-1}"#,
            r#"{"auth_time":253402300800}"#,
            r#"{"auth_time":18446744073709551615}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
