//! Maps and caches by digest.

use std::hash::{BuildHasherDefault, Hasher};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};

/// Values by digest: at most `capacity` of them. When it is full, values that were not used lately are evicted first.
pub(crate) struct DigestCache<V>(Option<Cache<Digest, V, UnitWeighter, DigestState>>);

/// A SHA-256 digest.
pub(crate) type Digest = [u8; 32];

/// For maps by digest.
pub(crate) type DigestState = BuildHasherDefault<DigestHasher>;

impl<V: Clone> DigestCache<V> {
    pub(crate) fn new(capacity: usize) -> Self {
        // A power of two, as the crate rounds it up to one anyway, and few enough for shards of 32 values, or it takes fewer.
        let shards = 1 << (capacity / 32).clamp(1, 16).ilog2();
        // It rounds the capacity of each shard up as well, so give it what all of them can share.
        let weight = u64::try_from(capacity / shards * shards).ok();
        let options = weight.filter(|weight| *weight > 0).and_then(|weight| {
            OptionsBuilder::new()
                .shards(shards)
                .estimated_items_capacity(capacity)
                .weight_capacity(weight)
                .build()
                .ok()
        });
        Self(options.map(|options| {
            let (state, lifecycle) = (DigestState::default(), DefaultLifecycle::default());
            Cache::with_options(options, UnitWeighter, state, lifecycle)
        }))
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<V> {
        self.0.as_ref()?.get(digest)
    }

    pub(crate) fn insert(&self, digest: Digest, value: V) {
        if let Some(cache) = &self.0 {
            cache.insert(digest, value);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, Cache::len)
    }
}

/// The first bytes of a digest: they are random already.
#[derive(Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u64) -> Digest {
        let mut digest = [0; 32];
        // Any odd factor spreads the numbers over the shards.
        digest[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        digest
    }

    #[test]
    fn no_cache_holds_more_than_its_capacity() {
        for capacity in [0, 1, 2, 3, 31, 32, 33, 63, 64, 100, 127, 128, 1000, 1023, 10_000] {
            let cache = DigestCache::new(capacity);
            for n in 0..3 * capacity as u64 + 100 {
                cache.insert(digest(n), n);
                if n % 7 == 0 {
                    cache.get(&digest(n / 2));
                }
                assert!(cache.len() <= capacity, "{capacity}");
            }
            assert!(cache.len() >= capacity / 2, "{capacity}: {}", cache.len());
        }
    }

    #[test]
    fn a_value_that_is_used_outlives_a_flood_of_others() {
        let cache = DigestCache::new(100);
        cache.insert(digest(0), 0);
        for n in 1..10_000 {
            cache.insert(digest(n), n);
            assert_eq!(cache.get(&digest(0)), Some(0), "{n}");
        }
    }

    #[test]
    fn a_later_value_replaces_the_earlier_one() {
        let cache = DigestCache::new(1);
        cache.insert(digest(1), 1);
        cache.insert(digest(1), 2);
        assert_eq!((cache.get(&digest(1)), cache.get(&digest(2))), (Some(2), None));
    }
}
