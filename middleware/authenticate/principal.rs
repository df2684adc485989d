//! The caller.

use std::fmt;
use std::sync::Arc;

use crate::chain::FromChain;
use crate::grants::Grants;

/// The caller: the name of the key or of the user that [`Authenticate`](super::Authenticate) accepted, and its grants.
///
/// A handler after the step takes it as an argument. A clone costs one reference count.
///
/// # Example
///
/// ```
/// use tower_chain::{Authenticate, Chain, Principal};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// async fn who(principal: Principal) -> String {
///     principal.name().to_owned()
/// }
///
/// let secret = "Vy3pRT1rW9ZsU0bq6xQ2Lw";
/// let chain = Chain::new().use_(Authenticate::token(secret)?).get(who);
/// # let _ = chain.build();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Principal(Arc<Identity>);

#[derive(Clone, PartialEq, Eq)]
struct Identity {
    name: Box<str>,
    scopes: Vec<Box<str>>,
    roles: Vec<Box<str>>,
    permissions: Vec<Box<str>>,
}

impl Principal {
    /// Creates a principal without grants.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Arc::new(Identity {
            name: name.into().into_boxed_str(),
            scopes: Vec::new(),
            roles: Vec::new(),
            permissions: Vec::new(),
        }))
    }

    /// The name of the key or of the user.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Grants a scope.
    #[must_use]
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.with(|identity| identity.scopes.push(scope.into().into_boxed_str()))
    }

    /// Grants a role.
    #[must_use]
    pub fn role(self, role: impl Into<String>) -> Self {
        self.with(|identity| identity.roles.push(role.into().into_boxed_str()))
    }

    /// Grants a permission.
    #[must_use]
    pub fn permission(self, permission: impl Into<String>) -> Self {
        self.with(|identity| identity.permissions.push(permission.into().into_boxed_str()))
    }

    fn with(mut self, change: impl FnOnce(&mut Identity)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl Grants for Principal {
    fn has_scope(&self, scope: &str) -> bool {
        self.0.scopes.iter().any(|own| **own == *scope)
    }

    fn has_role(&self, role: &str) -> bool {
        self.0.roles.iter().any(|own| **own == *role)
    }

    fn has_permission(&self, permission: &str) -> bool {
        self.0.permissions.iter().any(|own| **own == *permission)
    }
}

impl FromChain for Principal {
    type Value = Self;

    fn from_value(value: Self) -> Self {
        value
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("name", &self.0.name)
            .field("scopes", &self.0.scopes)
            .field("roles", &self.0.roles)
            .field("permissions", &self.0.permissions)
            .finish()
    }
}
