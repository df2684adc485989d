//! API keys and other secret tokens, of which only digests are kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AuthenticateError, Principal};
use crate::middleware::credentials::digest_cache::DigestState;

/// A key for [`ApiKeys`]: a name, a digest of its secret, what it may do, and until when.
///
/// Only the SHA-256 digest of the secret is kept.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::authenticate::ApiKey;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = ApiKey::new("billing", "Vy3pRT1rW9ZsU0bq6xQ2Lw")?.scope("invoices:read").role("service");
/// # let _ = key;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ApiKey {
    digest: [u8; 32],
    principal: Principal,
    expires: Option<SystemTime>,
}

impl ApiKey {
    /// Creates a key with a name and a secret.
    ///
    /// # Errors
    ///
    /// If the secret is shorter than 16 bytes (128 bits, if they are random), or contains a character other than visible ASCII.
    pub fn new(
        name: impl Into<String>,
        secret: impl AsRef<[u8]>,
    ) -> Result<Self, AuthenticateError> {
        let name = name.into();
        if secret.as_ref().len() < SHORTEST {
            return Err(AuthenticateError::ShortSecret { name });
        }
        Self::short(name, secret)
    }

    /// Creates a key whose secret may be short enough to be guessed. For development, and for a secret that another party chose.
    ///
    /// # Errors
    ///
    /// If the secret is empty, or contains a character other than visible ASCII.
    pub fn short(
        name: impl Into<String>,
        secret: impl AsRef<[u8]>,
    ) -> Result<Self, AuthenticateError> {
        let (name, secret) = (name.into(), secret.as_ref());
        if secret.is_empty() {
            return Err(AuthenticateError::ShortSecret { name });
        }
        if !secret.iter().all(u8::is_ascii_graphic) {
            return Err(AuthenticateError::UnsendableSecret { name });
        }
        Ok(Self::from_digest(name, Sha256::digest(secret).into()))
    }

    /// Creates a key from a user and a password, as Basic sends them.
    pub(super) fn login(user: String, password: &str) -> Result<Self, AuthenticateError> {
        if password.len() < SHORTEST {
            return Err(AuthenticateError::ShortSecret { name: user });
        }
        // RFC 7617, 2.
        if user.contains(':')
            || user.contains(char::is_control)
            || password.contains(char::is_control)
        {
            return Err(AuthenticateError::UnsendableSecret { name: user });
        }
        let digest = Sha256::digest(format!("{user}:{password}")).into();
        Ok(Self::from_digest(user, digest))
    }

    /// Creates a key from the SHA-256 digest of its secret, as from a database.
    pub fn from_digest(name: impl Into<String>, digest: [u8; 32]) -> Self {
        Self { digest, principal: Principal::new(name), expires: None }
    }

    /// Grants a scope to callers with this key.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.principal = self.principal.scope(scope);
        self
    }

    /// Grants a role to callers with this key.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.principal = self.principal.role(role);
        self
    }

    /// Grants a permission to callers with this key.
    #[must_use]
    pub fn permission(mut self, permission: impl Into<String>) -> Self {
        self.principal = self.principal.permission(permission);
        self
    }

    /// Sets when the key expires. Defaults to never.
    #[must_use]
    pub fn expires(mut self, expires: SystemTime) -> Self {
        self.expires = Some(expires);
        self
    }
}

/// The digest is not shown, because an attacker could compare it with guessed secrets.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("principal", &self.principal)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// The accepted keys. Keys can be added and withdrawn while requests are served. A clone is a handle to the same keys.
///
/// # Example
///
/// ```
/// use tower_chain::Authenticate;
/// use tower_chain::middleware::authenticate::{ApiKey, ApiKeys};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = ApiKeys::new();
/// keys.add(ApiKey::new("billing-1", "Vy3pRT1rW9ZsU0bq6xQ2Lw")?)?;
/// let authenticate = Authenticate::api_keys(&keys);
///
/// // Later, with both keys accepted for a while:
/// keys.add(ApiKey::new("billing-2", "8wTnQ5cKx0fJm2EoYb7RzA")?)?;
/// keys.withdraw("billing-1");
/// # let _ = authenticate;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct ApiKeys(Arc<RwLock<KeyTable>>);

/// Keys by the first half of their digest. The time of the lookup reveals nothing useful, because an attacker can't choose the digest of a guess. All
/// 32 bytes are then compared in constant time.
#[derive(Default)]
struct KeyTable {
    keys: HashMap<[u8; 16], ApiKey, DigestState>,
}

impl ApiKeys {
    /// Creates a set without keys, which refuses every request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. It is accepted from the next request on.
    ///
    /// # Errors
    ///
    /// If a key with this name or this secret exists already.
    pub fn add(&self, key: ApiKey) -> Result<(), AuthenticateError> {
        let name = key.principal.name();
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if table.keys.values().any(|other| other.principal.name() == name) {
            return Err(AuthenticateError::DuplicateName { name: name.to_owned() });
        }
        let prefix = prefix(&key.digest);
        if let Some(other) = table.keys.get(&prefix) {
            let (name, other) = (name.to_owned(), other.principal.name().to_owned());
            return Err(AuthenticateError::DuplicateSecret { name, other });
        }
        table.keys.insert(prefix, key);
        Ok(())
    }

    /// Withdraws the key with a name. It is refused from the next request on. Returns whether it existed.
    pub fn withdraw(&self, name: &str) -> bool {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = table.keys.len();
        table.keys.retain(|_, key| key.principal.name() != name);
        table.keys.len() < before
    }

    /// The names of the keys, sorted. Expired keys are included until they are withdrawn.
    pub fn names(&self) -> Vec<String> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> =
            table.keys.values().map(|key| key.principal.name().to_owned()).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys.is_empty()
    }

    /// Finds the principal of the key with this secret.
    pub(super) fn find(
        &self,
        secret: &[u8],
        now: impl FnOnce() -> SystemTime,
    ) -> Option<Principal> {
        let digest: [u8; 32] = Sha256::digest(secret).into();
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let key = table.keys.get(&prefix(&digest))?;
        let same = bool::from(key.digest.ct_eq(&digest));
        let alive = key.expires.is_none_or(|expires| now() < expires);
        (same && alive).then(|| key.principal.clone())
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKeys").field(&self.names()).finish()
    }
}

fn prefix(digest: &[u8; 32]) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix.copy_from_slice(&digest[..16]);
    prefix
}

/// 128 bits, if every bit is random.
const SHORTEST: usize = 16;
