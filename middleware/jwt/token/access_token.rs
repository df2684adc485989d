//! The claims of an access token.

use std::time::{Duration, SystemTime};

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::json::{LAST_SECOND, Object};
use crate::grants::Grants;

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
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// # let pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/middleware/jwt/tests/p256.pem"));
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
    /// The claim `scope`: the scopes, with spaces between them. Some issuers send a list, which is joined.
    #[serde(deserialize_with = "scope")]
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
    #[serde(deserialize_with = "text")]
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

/// A value of an optional claim. Issuers send other types as well, which must not make a token invalid.
#[derive(Deserialize)]
#[serde(untagged)]
enum OptionalClaim {
    Seconds(u64),
    Fraction(f64),
    // Before `Entry`, which accepts everything.
    List(Vec<ListEntry>),
    Entry(ListEntry),
}

/// A string, or what SCIM makes of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListEntry {
    Text(String),
    Object(Object<Scim>),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Scim {
    value: String,
}

impl ListEntry {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Object(Object(Scim { value: text })) => Some(text),
            Self::Other(_) => None,
        }
    }
}

/// A date between the epoch and the end of the year 9999. Later dates could overflow a clock.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let seconds = match OptionalClaim::deserialize(deserializer)? {
        OptionalClaim::Seconds(seconds) => Some(seconds),
        // A range check that no NaN passes. Within it, the cast only drops the fraction.
        OptionalClaim::Fraction(seconds) if (0.0..=LAST_SECOND as f64).contains(&seconds) => {
            Some(seconds as u64)
        }
        _ => None,
    };
    Ok(seconds.filter(|seconds| *seconds <= LAST_SECOND))
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match OptionalClaim::deserialize(deserializer)? {
        OptionalClaim::Entry(ListEntry::Text(text)) => Some(text),
        _ => None,
    })
}

/// A list of strings or of SCIM objects with a `value`, or one of them alone. Other entries are ignored.
fn values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match OptionalClaim::deserialize(deserializer)? {
        OptionalClaim::List(list) => list.into_iter().filter_map(ListEntry::text).collect(),
        OptionalClaim::Entry(entry) => entry.text().into_iter().collect(),
        OptionalClaim::Seconds(_) | OptionalClaim::Fraction(_) => Vec::new(),
    })
}

fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match OptionalClaim::deserialize(deserializer)? {
        OptionalClaim::Entry(ListEntry::Text(scopes)) => scopes,
        OptionalClaim::List(list) => {
            let text = |entry| match entry {
                // An entry with a space is not a scope (RFC 6749, 3.3). Joined, it would grant two.
                ListEntry::Text(scope) if !scope.contains(' ') => Some(scope),
                _ => None,
            };
            list.into_iter().filter_map(text).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    })
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
    fn an_absent_claim_grants_nothing() {
        let empty = read("{}").expect("claims");
        assert_eq!(empty, AccessToken::default());
        assert!(
            !empty.has_scope("")
                && !empty.has_role("")
                && !empty.has_permission("")
                && empty.acr().is_none()
        );
        assert_eq!(empty.authenticated_at(), None);
    }

    /// Issuers differ in the types of these claims. A type that is not understood grants nothing, and does not make the token invalid.
    #[test]
    fn an_optional_claim_of_another_type_refuses_no_token() {
        let roles = |roles: &[&str]| AccessToken {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..AccessToken::default()
        };
        let scope = |scope: &str| AccessToken { scope: scope.to_owned(), ..AccessToken::default() };
        let date = |auth_time| AccessToken { auth_time, ..AccessToken::default() };
        let none = AccessToken::default;
        let table = [
            (r#"{"roles":"admin"}"#, roles(&["admin"])),
            (r#"{"roles":{"value":"admin"}}"#, roles(&["admin"])),
            (
                r#"{"roles":["admin",1,null,["user"],{"value":"staff"}]}"#,
                roles(&["admin", "staff"]),
            ),
            (r#"{"roles":[{"value":["admin"]}]}"#, none()),
            (r#"{"roles":[{"value":"admin","value":"user"}]}"#, none()),
            (r#"{"roles":[{"display":"admin"}]}"#, none()),
            (r#"{"roles":null}"#, none()),
            (r#"{"roles":1}"#, none()),
            (r#"{"roles":1.5}"#, none()),
            (r#"{"roles":true}"#, none()),
            (r#"{"roles":{"admin":true}}"#, none()),
            (r#"{"groups":null,"entitlements":1,"permissions":{}}"#, none()),
            (r#"{"scope":["read","write"]}"#, scope("read write")),
            (r#"{"scope":["read","write all",1]}"#, scope("read")),
            (r#"{"scope":[]}"#, none()),
            (r#"{"scope":null}"#, none()),
            (r#"{"scope":1}"#, none()),
            (r#"{"scope":{"value":"read"}}"#, none()),
            (r#"{"acr":2}"#, none()),
            (r#"{"acr":["2"]}"#, none()),
            (r#"{"acr":null}"#, none()),
            (r#"{"auth_time":100}"#, date(Some(100))),
            (r#"{"auth_time":100.9}"#, date(Some(100))),
            (r#"{"auth_time":253402300799}"#, date(Some(253_402_300_799))),
            (r#"{"auth_time":253402300800}"#, none()),
            (r#"{"auth_time":18446744073709551615}"#, none()),
            (r#"{"auth_time":1e300}"#, none()),
            (r#"{"auth_time":-1}"#, none()),
            (r#"{"auth_time":"100"}"#, none()),
            (r#"{"auth_time":null}"#, none()),
        ];
        for (json, expected) in table {
            assert_eq!(read(json), Some(expected), "{json}");
        }
        // These two are required, and name a caller.
        for json in [r#"{"sub":1}"#, r#"{"client_id":["app"]}"#] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
