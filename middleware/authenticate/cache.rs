//! Results of credential checks.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::middleware::credentials::digest_cache::{self, DigestCache};

/// Values by the digest of the credentials for which they were found, each for a limited time.
pub(super) struct Cache<V> {
    ttl: Duration,
    capacity: usize,
    /// A salt makes a table of digests of common passwords useless to an attacker who reads the memory.
    salt: [u64; 4],
    values: DigestCache<(V, Instant)>,
}

pub(super) type CacheKey = digest_cache::Digest;

impl<V: Clone> Cache<V> {
    pub(super) fn new(ttl: Duration, capacity: usize) -> Self {
        let salt = std::array::from_fn(|n| RandomState::new().hash_one(n));
        Self { ttl, capacity, salt, values: DigestCache::new(capacity) }
    }

    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn key(&self, credentials: &[u8]) -> CacheKey {
        let mut digest = Sha256::new();
        self.salt.iter().for_each(|part| digest.update(part.to_ne_bytes()));
        digest.update(credentials);
        digest.finalize().into()
    }

    pub(super) fn get(&self, key: &CacheKey, now: Instant) -> Option<V> {
        let (value, until) = self.values.get(key)?;
        (now < until).then_some(value)
    }

    pub(super) fn insert(&self, key: CacheKey, value: V, now: Instant) {
        self.insert_for(key, value, self.ttl, now);
    }

    /// Inserts a value with a time of its own.
    pub(super) fn insert_for(&self, key: CacheKey, value: V, ttl: Duration, now: Instant) {
        let Some(until) = now.checked_add(ttl) else { return };
        if !ttl.is_zero() {
            self.values.insert(key, (value, until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lives_for_its_time() {
        let cache = Cache::new(Duration::from_secs(60), 2);
        let (key, now) = (cache.key(b"a"), Instant::now());
        cache.insert(key, 1, now);
        assert_eq!(cache.get(&key, now + Duration::from_secs(59)), Some(1));
        assert_eq!(cache.get(&key, now + Duration::from_secs(60)), None);
        cache.insert(key, 2, now + Duration::from_secs(60));
        assert_eq!(cache.get(&key, now + Duration::from_secs(119)), Some(2));
    }

    #[test]
    fn nothing_is_cached_without_capacity_or_time() {
        for (ttl, capacity) in [(60, 0), (0, 2)] {
            let cache = Cache::new(Duration::from_secs(ttl), capacity);
            let (key, now) = (cache.key(b"a"), Instant::now());
            cache.insert(key, 1, now);
            assert_eq!(cache.get(&key, now), None);
        }
    }

    #[test]
    fn caches_have_keys_of_their_own() {
        let (one, two) = (Cache::<()>::new(Duration::ZERO, 1), Cache::<()>::new(Duration::ZERO, 1));
        assert_ne!(one.key(b"a"), two.key(b"a"));
        assert_ne!(one.key(b"a"), one.key(b"b"));
    }
}
