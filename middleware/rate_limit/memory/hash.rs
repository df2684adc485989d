//! Keyed hashes of clients.

use std::hash::{BuildHasher, RandomState};

/// The secret of this process. Without it, a client cannot find names that collide in the table.
#[derive(Debug)]
pub(crate) struct HashSeed {
    texts: RandomState,
    factors: [u128; 2],
    /// One for each kind of subject.
    kinds: [u128; 5],
}

impl HashSeed {
    pub(crate) fn new() -> Self {
        let texts = RandomState::new();
        let wide = |at: u8| {
            u128::from(texts.hash_one((at, 0))) << 64 | u128::from(texts.hash_one((at, 1)))
        };
        let (factors, kinds) = ([0, 1].map(wide), [2, 3, 4, 5, 6].map(wide));
        Self { texts, factors, kinds }
    }

    /// A keyed hash of any value.
    pub(crate) fn hash(&self, subject: impl std::hash::Hash) -> u64 {
        self.texts.hash_one(subject)
    }

    /// A key by multiply-add-shift (Dietzfelbinger 1996): two subjects that are chosen without the seed collide with a probability of 2^-64. The
    /// result is mixed, so neighbouring addresses are far apart.
    #[inline]
    pub(crate) fn key(&self, [high, low]: [u64; 2], kind: usize) -> u64 {
        let [a, b] = self.factors;
        let sum = a.wrapping_mul(high.into()).wrapping_add(b.wrapping_mul(low.into()));
        let key = (sum.wrapping_add(self.kinds[kind]) >> 64) as u64;
        let key = (key ^ key >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        key ^ key >> 32
    }
}
