//! What a caller may do, as an authorization step asks for it.

use std::sync::Arc;

/// What an authenticated caller may do.
///
/// Implement it for what your authentication provides, such as your claims. Each question is answered with `false` unless you say
/// otherwise, so that what was forgotten is refused.
///
/// # Example
///
/// ```
/// use tower_chain::Grants;
///
/// struct Member {
///     scope: String,
///     roles: Vec<String>,
/// }
///
/// impl Grants for Member {
///     fn has_role(&self, role: &str) -> bool {
///         self.roles.iter().any(|own| own == role)
///     }
///
///     // RFC 8693, 4.2: one string, split by spaces.
///     fn has_scope(&self, scope: &str) -> bool {
///         self.scope.split(' ').any(|own| own == scope)
///     }
/// }
/// ```
pub trait Grants {
    /// Whether there is a caller at all. `false` makes a refusal a 401 instead of a 403. Defaults to `true`.
    fn is_authenticated(&self) -> bool {
        true
    }

    /// Whether the caller was granted a scope ([RFC 6749, 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)). Defaults to `false`.
    fn has_scope(&self, scope: &str) -> bool {
        let _ = scope;
        false
    }

    /// Whether the caller has a role. Defaults to `false`.
    fn has_role(&self, role: &str) -> bool {
        let _ = role;
        false
    }

    /// Whether the caller has a permission. Defaults to `false`.
    fn has_permission(&self, permission: &str) -> bool {
        let _ = permission;
        false
    }
}

/// `None` is a caller who didn't authenticate: no grants, and a refusal is a 401.
impl<G: Grants> Grants for Option<G> {
    fn is_authenticated(&self) -> bool {
        self.as_ref().is_some_and(G::is_authenticated)
    }

    fn has_scope(&self, scope: &str) -> bool {
        self.as_ref().is_some_and(|grants| grants.has_scope(scope))
    }

    fn has_role(&self, role: &str) -> bool {
        self.as_ref().is_some_and(|grants| grants.has_role(role))
    }

    fn has_permission(&self, permission: &str) -> bool {
        self.as_ref().is_some_and(|grants| grants.has_permission(permission))
    }
}

impl<G: Grants + ?Sized> Grants for Arc<G> {
    fn is_authenticated(&self) -> bool {
        (**self).is_authenticated()
    }

    fn has_scope(&self, scope: &str) -> bool {
        (**self).has_scope(scope)
    }

    fn has_role(&self, role: &str) -> bool {
        (**self).has_role(role)
    }

    fn has_permission(&self, permission: &str) -> bool {
        (**self).has_permission(permission)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;
    impl Grants for Nobody {}

    #[test]
    fn nothing_is_granted_by_default() {
        assert!(Nobody.is_authenticated());
        assert!(!Nobody.has_scope("") && !Nobody.has_role("") && !Nobody.has_permission(""));
    }

    #[test]
    fn none_is_not_authenticated() {
        assert!(!None::<Nobody>.is_authenticated());
        assert!(Some(Nobody).is_authenticated());
        assert!(!Some(None::<Nobody>).is_authenticated());
    }
}
