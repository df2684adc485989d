//! The rights of an authenticated caller, in the form that an authorization step checks.
//!
//! The check is in `middleware/require/mod.rs`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::SystemTime;

/// The rights of an authenticated caller.
///
/// Implement it for the type that your authentication provides, such as your claims. The methods about rights return `false` by default,
/// so a right that is not implemented is refused.
///
/// # Example
///
/// ```
/// use tower_chain::grants::Grants;
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
    /// Whether a caller has authenticated. `false` makes a refusal a 401 instead of a 403. Defaults to `true`.
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

    /// How the caller signed in: the authentication context class, such as the claim `acr` of an access token
    /// ([RFC 9470, 6.1](https://www.rfc-editor.org/rfc/rfc9470#section-6.1)). Defaults to `None`, which meets no requirement.
    fn acr(&self) -> Option<&str> {
        None
    }

    /// When the caller signed in, such as the claim `auth_time` of an access token. Defaults to `None`, which meets no requirement.
    fn authenticated_at(&self) -> Option<SystemTime> {
        None
    }
}

/// Marks a request without an authenticated caller.
///
/// An optional authentication, which provides a `T` in any case, puts it into the extensions of the request if the client sent no
/// credentials. A later step that doesn't know `T` then refuses with a request for credentials (401) instead of a 403.
///
/// # Example
///
/// ```
/// use tower_chain::grants::Anonymous;
/// use tower_chain::{Endpoint, Middleware, Next, Response};
///
/// #[derive(Clone)]
/// struct User(&'static str);
///
/// /// Identifies the user by the session, if the request has one.
/// struct Session;
///
/// impl Middleware for Session {
///     type Provides = (Option<User>,);
///
///     async fn call<N: Endpoint>(&self, mut next: Next<'_, N, (Option<User>,)>) -> Response {
///         let user = next.headers().contains_key("cookie").then_some(User("ann"));
///         if user.is_none() {
///             next.extensions_mut().insert(Anonymous::<Option<User>>::new());
///         }
///         next.run_with(user).await
///     }
/// }
/// # let _ = Session;
/// ```
pub struct Anonymous<T>(PhantomData<fn() -> T>);

impl<T> Anonymous<T> {
    /// Creates the marker.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Anonymous<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Anonymous<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Anonymous<T> {}

impl<T> fmt::Debug for Anonymous<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anonymous")
    }
}

/// `None` is a caller that didn't authenticate: it has no grants, and a refusal is a 401.
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

    fn acr(&self) -> Option<&str> {
        self.as_ref()?.acr()
    }

    fn authenticated_at(&self) -> Option<SystemTime> {
        self.as_ref()?.authenticated_at()
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

    fn acr(&self) -> Option<&str> {
        (**self).acr()
    }

    fn authenticated_at(&self) -> Option<SystemTime> {
        (**self).authenticated_at()
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
        assert_eq!((Nobody.acr(), Nobody.authenticated_at()), (None, None));
    }

    #[test]
    fn a_handle_says_what_is_in_it() {
        struct All;
        impl Grants for All {
            fn has_scope(&self, scope: &str) -> bool {
                scope == "s"
            }
            fn has_role(&self, role: &str) -> bool {
                role == "r"
            }
            fn has_permission(&self, permission: &str) -> bool {
                permission == "p"
            }
            fn acr(&self) -> Option<&str> {
                Some("a")
            }
            fn authenticated_at(&self) -> Option<SystemTime> {
                Some(SystemTime::UNIX_EPOCH)
            }
        }
        fn all(grants: &impl Grants) -> [bool; 6] {
            [
                grants.is_authenticated(),
                grants.has_scope("s"),
                grants.has_role("r"),
                grants.has_permission("p"),
                grants.acr() == Some("a"),
                grants.authenticated_at() == Some(SystemTime::UNIX_EPOCH),
            ]
        }
        assert_eq!([all(&All), all(&Some(All)), all(&Arc::new(All))], [[true; 6]; 3]);
        assert_eq!(all(&None::<All>), [false; 6]);
    }

    #[test]
    fn none_is_not_authenticated() {
        assert!(!None::<Nobody>.is_authenticated());
        assert!(Some(Nobody).is_authenticated());
        assert!(!Some(None::<Nobody>).is_authenticated());
    }
}
