//! The claims of an access token.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer};

use super::json::LAST_SECOND;
use super::optional_claim::OptionalClaim;
use crate::grants::Grants;

/// The claims that [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068) has for access tokens, and those that common issuers use instead, ready for
/// `Require`.
///
/// | grants | claims |
/// | --- | --- |
/// | scopes | `scope` and `scp`: a string with spaces between the scopes, or a list |
/// | roles | `roles`, `groups`, `cognito:groups`, and `roles` in `realm_access` |
/// | roles of one client | `roles` in each member of `resource_access`. The role `admin` of the client `orders` is `orders:admin` |
/// | permissions | `entitlements` and `permissions` |
///
/// A list may contain strings, or objects with a `value` ([RFC 7643, 2.4](https://www.rfc-editor.org/rfc/rfc7643#section-2.4)); a string is a list of one.
/// A claim of another type grants nothing, and does not make the token invalid.
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
/// let jwt = Jwt::<AccessToken>::es256(pem)?.rfc9068("https://login.example.org", "https://api.example.org")?;
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
    /// The claim `scp`: the scopes, as Okta (a list) and Entra ID (a string) name them. A list is joined.
    #[serde(deserialize_with = "scope")]
    pub scp: String,
    /// The claim `roles`.
    #[serde(deserialize_with = "values")]
    pub roles: Vec<String>,
    /// The claim `groups`.
    #[serde(deserialize_with = "values")]
    pub groups: Vec<String>,
    /// The claim `cognito:groups`.
    #[serde(rename = "cognito:groups", deserialize_with = "values")]
    pub cognito_groups: Vec<String>,
    /// The member `roles` of the claim `realm_access`: the roles of a Keycloak realm.
    #[serde(rename = "realm_access", deserialize_with = "roles")]
    pub realm_roles: Vec<String>,
    /// The claim `resource_access`: the roles of each client of a Keycloak realm.
    #[serde(rename = "resource_access", deserialize_with = "roles_by_client")]
    pub client_roles: BTreeMap<String, Vec<String>>,
    /// The claim `entitlements`.
    #[serde(deserialize_with = "values")]
    pub entitlements: Vec<String>,
    /// The claim `permissions`, which is not in an RFC but which many issuers send.
    #[serde(deserialize_with = "values")]
    pub permissions: Vec<String>,
    /// The claim `acr`: how the user signed in.
    #[serde(deserialize_with = "text")]
    pub acr: Option<String>,
    /// The claim `amr`: the methods by which the user signed in, such as `pwd` and `mfa`.
    #[serde(deserialize_with = "values")]
    pub amr: Vec<String>,
    /// The claim `auth_time`: when the user signed in, in seconds.
    #[serde(deserialize_with = "date")]
    pub auth_time: Option<u64>,
}

impl AccessToken {
    /// The roles of one client, from `resource_access`.
    pub fn roles_of(&self, client: &str) -> impl Iterator<Item = &str> {
        self.client_roles.get(client).into_iter().flatten().map(String::as_str)
    }
}

impl Grants for AccessToken {
    fn has_scope(&self, scope: &str) -> bool {
        let mut scopes = self.scope.split(' ').chain(self.scp.split(' '));
        !scope.is_empty() && scopes.any(|own| own == scope)
    }

    /// A name with a colon is also that of a client and of a role of that client: `orders:admin`. The name of the client ends at the first colon, so
    /// no two roles of clients have the same name. Roles of a client whose name contains a colon are in [`roles_of`](AccessToken::roles_of) only.
    fn has_role(&self, role: &str) -> bool {
        let lists = [&self.roles, &self.groups, &self.cognito_groups, &self.realm_roles];
        let of_client = || {
            let (client, role) = role.split_once(':')?;
            Some(self.roles_of(client).any(|own| own == role))
        };
        lists.into_iter().flatten().any(|own| own == role) || of_client().unwrap_or(false)
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

/// A date between the epoch and the end of the year 9999. Later dates could overflow a clock.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match OptionalClaim::deserialize(deserializer)? {
        // A range check that no NaN passes. Within it, the cast only drops the fraction.
        OptionalClaim::Number(seconds) if (0.0..=LAST_SECOND as f64).contains(&seconds) => {
            Some(seconds as u64)
        }
        _ => None,
    })
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match OptionalClaim::deserialize(deserializer)? {
        OptionalClaim::Text(text) => Some(text),
        _ => None,
    })
}

fn values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(texts(OptionalClaim::deserialize(deserializer)?))
}

fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match OptionalClaim::deserialize(deserializer)? {
        OptionalClaim::Text(scopes) => scopes,
        OptionalClaim::List(list) => {
            let text = |entry| match entry {
                // An entry with a space is not a scope (RFC 6749, 3.3). Joined, it would grant two.
                OptionalClaim::Text(scope) if !scope.contains(' ') => Some(scope),
                _ => None,
            };
            list.into_iter().filter_map(text).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    })
}

fn roles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(roles_in(OptionalClaim::deserialize(deserializer)?))
}

fn roles_by_client<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    Ok(match OptionalClaim::deserialize(deserializer)? {
        OptionalClaim::Object(clients) => {
            let clients = clients.into_iter().map(|(client, access)| (client, roles_in(access)));
            clients.filter(|(_, roles)| !roles.is_empty()).collect()
        }
        _ => BTreeMap::new(),
    })
}

/// The member `roles` of an object.
fn roles_in(access: OptionalClaim) -> Vec<String> {
    match access {
        OptionalClaim::Object(mut members) => {
            members.remove("roles").map(texts).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// A list of strings or of SCIM objects with a `value`, or one of them alone. Other entries are ignored.
fn texts(claim: OptionalClaim) -> Vec<String> {
    let text = |entry| match entry {
        OptionalClaim::Text(text) => Some(text),
        OptionalClaim::Object(mut members) => match members.remove("value") {
            Some(OptionalClaim::Text(text)) => Some(text),
            _ => None,
        },
        _ => None,
    };
    match claim {
        OptionalClaim::List(list) => list.into_iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
