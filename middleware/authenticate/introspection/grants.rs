//! What the response about a token grants, by the members that common authorization servers send.

use std::time::SystemTime;

use serde_json::Value;

use super::{Introspected, date};
use crate::grants::Grants;

impl Grants for Introspected {
    fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|own| own == scope)
    }

    /// A name with a colon is also that of a client and of a role of that client: `orders:admin`. The name of the client ends at the first colon, so
    /// no two roles of clients have the same name.
    fn has_role(&self, role: &str) -> bool {
        let lists = ["roles", "groups", "cognito:groups"].map(|name| self.claim(name));
        let of_realm = self.claim("realm_access").and_then(|access| access.get("roles"));
        let of_client = role.split_once(':').is_some_and(|(client, role)| {
            let access = self.claim("resource_access").and_then(|clients| clients.get(client));
            lists_text(access.and_then(|access| access.get("roles")), role)
        });
        lists.into_iter().chain([of_realm]).any(|list| lists_text(list, role)) || of_client
    }

    fn has_permission(&self, permission: &str) -> bool {
        let lists = ["entitlements", "permissions"].map(|name| self.claim(name));
        lists.into_iter().any(|list| lists_text(list, permission))
    }

    /// The member `acr` (RFC 9470, 6.2).
    fn acr(&self) -> Option<&str> {
        self.claim("acr").and_then(Value::as_str)
    }

    /// The member `auth_time` (RFC 9470, 6.2).
    fn authenticated_at(&self) -> Option<SystemTime> {
        let seconds = self.claim("auth_time").and_then(date)?;
        SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))
    }
}

/// The scopes of a member: of a string with spaces between them, or of a list.
pub(super) fn scopes(member: &Value) -> Vec<&str> {
    match member {
        Value::String(text) => text.split(' ').filter(|scope| !scope.is_empty()).collect(),
        // An entry with a space is not a scope (RFC 6749, 3.3).
        Value::Array(list) => {
            let texts = list.iter().filter_map(Value::as_str);
            texts.filter(|scope| !scope.is_empty() && !scope.contains(' ')).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a member lists a text: as an entry, or as the `value` of an entry (RFC 7643, 2.4). A text is a list of one.
fn lists_text(member: Option<&Value>, wanted: &str) -> bool {
    let is = |entry: &Value| match entry {
        Value::String(text) => text == wanted,
        entry => entry.get("value").is_some_and(|value| value == wanted),
    };
    match member {
        Some(Value::Array(list)) => list.iter().any(is),
        Some(one) => is(one),
        None => false,
    }
}
