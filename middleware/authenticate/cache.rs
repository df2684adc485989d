//! What was found good a moment ago.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Values by the digest of the credentials for which they were found. At most `capacity` of them; the oldest goes first.
pub(super) struct Cache<V> {
    ttl: Duration,
    capacity: usize,
    /// So that digests of passwords in memory are of no use to who has a table of them.
    salt: [u64; 4],
    entries: Mutex<CacheEntries<V>>,
}

struct CacheEntries<V> {
    values: HashMap<CacheKey, (V, Instant)>,
    /// The keys of `values`, each once, in the order in which they came.
    order: VecDeque<CacheKey>,
}

pub(super) type CacheKey = [u8; 32];

impl<V: Clone> Cache<V> {
    pub(super) fn new(ttl: Duration, capacity: usize) -> Self {
        let salt = std::array::from_fn(|n| RandomState::new().hash_one(n));
        let entries = CacheEntries { values: HashMap::new(), order: VecDeque::new() };
        Self { ttl, capacity, salt, entries: Mutex::new(entries) }
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
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, until) = entries.values.get(key)?;
        (now < *until).then(|| value.clone())
    }

    pub(super) fn insert(&self, key: CacheKey, value: V, now: Instant) {
        self.insert_for(key, value, self.ttl, now);
    }

    /// For a value with a time of its own.
    pub(super) fn insert_for(&self, key: CacheKey, value: V, ttl: Duration, now: Instant) {
        let Some(until) = now.checked_add(ttl) else { return };
        if ttl.is_zero() || self.capacity == 0 {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.values.insert(key, (value, until)).is_some() {
            return;
        }
        entries.order.push_back(key);
        if entries.order.len() > self.capacity
            && let Some(oldest) = entries.order.pop_front()
        {
            entries.values.remove(&oldest);
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
    fn the_oldest_makes_room_and_memory_is_bounded() {
        let cache = Cache::new(Duration::from_secs(60), 2);
        let now = Instant::now();
        let keys: Vec<_> = (0..1000_u32).map(|n| cache.key(&n.to_be_bytes())).collect();
        for key in &keys {
            cache.insert(*key, (), now);
            cache.insert(*key, (), now);
        }
        let kept: Vec<_> = keys.iter().map(|key| cache.get(key, now).is_some()).collect();
        assert_eq!(kept.iter().filter(|kept| **kept).count(), 2);
        assert!(kept[998] && kept[999]);
        let entries = cache.entries.lock().unwrap();
        assert_eq!((entries.values.len(), entries.order.len()), (2, 2));
    }

    #[test]
    fn caches_have_keys_of_their_own() {
        let (one, two) = (Cache::<()>::new(Duration::ZERO, 1), Cache::<()>::new(Duration::ZERO, 1));
        assert_ne!(one.key(b"a"), two.key(b"a"));
        assert_ne!(one.key(b"a"), one.key(b"b"));
    }
}
