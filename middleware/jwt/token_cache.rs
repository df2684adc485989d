//! Verified tokens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::crypto::sha256;
use super::error::JwtError;
use super::impossible;
use super::keys::key::KeyId;
use super::token::claims::Claims;
use crate::middleware::credentials::digest_cache::{Digest, DigestCache};

/// A cache of verified tokens: the same token costs one signature check. For [`Jwt::cache`](super::Jwt::cache).
///
/// Only accepted tokens are cached, by a digest of their exact bytes, and never beyond their `exp`. For a cached token, the times, the
/// revocations, and whether its key is still trusted are checked again. The other claims and the [checks](super::Jwt::check) are not, because
/// neither they nor the policy change. If a check depends on something that does change, call [`flush`](TokenCache::flush) after each change.
///
/// It is a handle: a clone is the same cache.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::jwt::TokenCache;
/// use tower_chain::{Chain, Jwt};
///
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// # let secret = "a secret that has thirty-two bytes";
/// let cache = TokenCache::new(10_000)?;
/// let jwt = Jwt::<serde_json::Value>::hs256(secret)?.cache(cache.clone());
/// let api = Chain::new().use_(jwt).get(async || "hello").build();
/// // When something changes on which a check depends:
/// cache.flush();
/// # let _ = api;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenCache {
    capacity: usize,
    ttl: u64,
    epoch: Arc<AtomicU64>,
}

impl TokenCache {
    /// Creates a cache for at most this many tokens. When it is full, tokens that were not used lately are evicted first.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn new(capacity: usize) -> Result<Self, JwtError> {
        if capacity == 0 {
            return Err(JwtError::ZeroLimit);
        }
        Ok(Self { capacity, ttl: 600, epoch: Arc::default() })
    }

    /// Sets how long a token is cached at most, in whole seconds. Defaults to ten minutes.
    ///
    /// # Errors
    ///
    /// If it is shorter than a second.
    pub fn ttl(mut self, ttl: Duration) -> Result<Self, JwtError> {
        self.ttl = impossible::seconds(ttl, "the time in the cache")?;
        Ok(self)
    }

    /// Forgets all tokens.
    pub fn flush(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("capacity", &self.capacity)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// The cached tokens of one policy.
pub(crate) struct Store<C> {
    settings: TokenCache,
    tokens: DigestCache<CachedToken<C>>,
}

pub(crate) struct CachedToken<C> {
    pub(crate) claims: Claims<C>,
    pub(crate) key: KeyId,
    /// The first second at which it must not be used.
    until: u64,
    epoch: u64,
}

impl<C> Clone for CachedToken<C> {
    fn clone(&self) -> Self {
        Self { claims: self.claims.clone(), ..*self }
    }
}

impl<C> Store<C> {
    pub(crate) fn new(settings: TokenCache) -> Self {
        let tokens = DigestCache::new(settings.capacity);
        Self { settings, tokens }
    }

    pub(crate) fn digest(&self, token: &[u8]) -> Digest {
        sha256(&[token])
    }

    /// The current epoch. Read it before a token is verified: if the cache is flushed meanwhile, the token is not cached.
    pub(crate) fn epoch(&self) -> u64 {
        self.settings.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn find(&self, digest: &Digest, now: u64) -> Option<CachedToken<C>> {
        let token = self.tokens.get(digest)?;
        (now < token.until && token.epoch == self.epoch()).then_some(token)
    }

    pub(crate) fn insert(
        &self,
        digest: Digest,
        claims: &Claims<C>,
        key: &KeyId,
        epoch: u64,
        now: u64,
    ) {
        let ttl = now.saturating_add(self.settings.ttl);
        let until = Claims::registered(claims).times.expires.unwrap_or(u64::MAX).min(ttl);
        if now < until {
            let token = CachedToken { claims: claims.clone(), key: *key, until, epoch };
            self.tokens.insert(digest, token);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }
}
