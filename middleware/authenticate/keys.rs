//! API keys and other secret tokens, of which only digests are kept.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use axum_core::BoxError;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AuthenticateError, Principal};
use crate::declare::SecretId;
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

    /// The principal, if this is the key of the secret with a digest and has not expired. All bytes are compared in constant time.
    fn principal(&self, digest: &[u8; 32], now: impl FnOnce() -> SystemTime) -> Option<Principal> {
        let same = bool::from(self.digest.ct_eq(digest));
        let alive = self.expires.is_none_or(|expires| now() < expires);
        (same && alive).then(|| self.principal.clone())
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
/// All keys are in memory, about 300 bytes each. To keep them elsewhere, implement [`ApiKeyStore`].
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
    /// The entry of each name. Without it, each change would search all keys.
    names: HashMap<ByName, [u8; 16]>,
}

impl KeyTable {
    fn add(&mut self, key: ApiKey) -> Result<(), AuthenticateError> {
        let name = key.principal.name();
        if self.names.contains_key(name) {
            return Err(AuthenticateError::DuplicateName { name: name.to_owned() });
        }
        let prefix = prefix(&key.digest);
        if let Some(other) = self.keys.get(&prefix) {
            let (name, other) = (name.to_owned(), other.principal.name().to_owned());
            return Err(AuthenticateError::DuplicateSecret { name, other });
        }
        self.names.insert(ByName(key.principal.clone()), prefix);
        self.keys.insert(prefix, key);
        Ok(())
    }
}

/// A principal that is compared by its name, which is then stored once.
struct ByName(Principal);

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for ByName {}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        self.0.name()
    }
}

impl ApiKeys {
    /// The secrets, if there are few. Those of many keys are not written in a program, where two steps could share one.
    pub(super) fn secrets(&self) -> Vec<SecretId> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if table.keys.len() > MOST_DECLARED {
            return Vec::new();
        }
        table.keys.values().map(|key| SecretId::of_digest(&key.digest)).collect()
    }

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
        self.0.write().unwrap_or_else(PoisonError::into_inner).add(key)
    }

    /// Adds many keys, such as all keys of a database when the program starts. A million keys take a few seconds.
    ///
    /// Requests are served meanwhile, between batches of 256 keys. Keys are created without the lock, as the iterator returns them.
    ///
    /// # Errors
    ///
    /// If a key has the name or the secret of another one. The keys before it are added.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::authenticate::{ApiKey, ApiKeys};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let rows = [("billing", [7; 32], "invoices:read")];
    /// let keys = ApiKeys::new();
    /// keys.add_all(rows.map(|(name, digest, scope)| ApiKey::from_digest(name, digest).scope(scope)))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn add_all(&self, keys: impl IntoIterator<Item = ApiKey>) -> Result<(), AuthenticateError> {
        let mut keys = keys.into_iter();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.extend(keys.by_ref().take(BATCH));
            if batch.is_empty() {
                return Ok(());
            }
            let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
            batch.drain(..).try_for_each(|key| table.add(key))?;
        }
    }

    /// Withdraws the key with a name. It is refused from the next request on. Returns whether it existed.
    pub fn withdraw(&self, name: &str) -> bool {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(prefix) = table.names.remove(name) else { return false };
        table.keys.remove(&prefix).is_some()
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
        table.keys.get(&prefix(&digest))?.principal(&digest, now)
    }
}

/// Shows the names of a few keys, or the number of many.
impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("ApiKeys");
        let count = self.0.read().unwrap_or_else(PoisonError::into_inner).keys.len();
        match count {
            0..=SHOWN => shown.field(&self.names()),
            _ => shown.field(&count),
        };
        shown.finish()
    }
}

/// A store of API keys outside of this process, such as a database, for [`Authenticate::api_key_store`](super::Authenticate::api_key_store).
///
/// # Example
///
/// ```
/// use std::collections::HashMap;
///
/// use tower_chain::Authenticate;
/// use tower_chain::middleware::authenticate::{ApiKey, ApiKeyStore};
///
/// /// A table with the columns `digest` (the primary key), `name` and `scope`.
/// struct Database(HashMap<[u8; 32], (String, String)>);
///
/// impl ApiKeyStore for Database {
///     type Error = std::io::Error;
///
///     async fn find(&self, digest: [u8; 32]) -> Result<Option<ApiKey>, std::io::Error> {
///         // SELECT name, scope FROM keys WHERE digest = $1
///         let row = self.0.get(&digest);
///         Ok(row.map(|(name, scope)| ApiKey::from_digest(name, digest).scope(scope)))
///     }
/// }
///
/// let authenticate = Authenticate::api_key_store(Database(HashMap::new()));
/// # let _ = authenticate;
/// ```
pub trait ApiKeyStore: Send + Sync + 'static {
    /// Why the key could not be looked up. The error is logged, and the response is a 503.
    type Error: Into<BoxError>;

    /// Finds the key whose secret has this SHA-256 digest.
    ///
    /// Look it up by the whole digest. Its time reveals nothing useful, because an attacker can't choose the digest of a guess. The digest of the returned key
    /// is compared again, so a comparison without regard to case, for example, accepts no other key.
    fn find(
        &self,
        digest: [u8; 32],
    ) -> impl Future<Output = Result<Option<ApiKey>, Self::Error>> + Send;
}

/// Finds the principal of the key for a secret.
pub(super) fn look_up<S: ApiKeyStore>(
    store: Arc<S>,
    secret: &[u8],
) -> BoxFuture<'static, Result<Option<Principal>, BoxError>> {
    let digest: [u8; 32] = Sha256::digest(secret).into();
    Box::pin(async move {
        let key = store.find(digest).await.map_err(Into::into)?;
        Ok(key.and_then(|key| key.principal(&digest, SystemTime::now)))
    })
}

fn prefix(digest: &[u8; 32]) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix.copy_from_slice(&digest[..16]);
    prefix
}

/// How many keys are added under one lock.
const BATCH: usize = 256;
/// How many names `Debug` shows.
const SHOWN: usize = 32;

/// With more keys, none is declared.
const MOST_DECLARED: usize = 64;
/// 128 bits, if every bit is random.
const SHORTEST: usize = 16;
