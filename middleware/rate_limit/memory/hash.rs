//! The keyed hashes under which clients are remembered.

use std::hash::{BuildHasher, RandomState};

/// What only this process knows, so that nobody can choose clients that meet in the table.
#[derive(Debug)]
pub(crate) struct Seed {
    texts: RandomState,
    factors: [u128; 2],
    /// One for each kind of name.
    kinds: [u128; 5],
}

impl Seed {
    pub(crate) fn new() -> Self {
        let texts = RandomState::new();
        let wide = |at: u8| {
            u128::from(texts.hash_one((at, 0))) << 64 | u128::from(texts.hash_one((at, 1)))
        };
        let (factors, kinds) = ([0, 1].map(wide), [2, 3, 4, 5, 6].map(wide));
        Self { texts, factors, kinds }
    }

    /// A keyed hash of anything.
    pub(crate) fn hash(&self, subject: impl std::hash::Hash) -> u64 {
        self.texts.hash_one(subject)
    }

    /// A key by multiply-add-shift (Dietzfelbinger 1996), of which any two meet with a chance of 2^-64, whoever chose them without knowing the
    /// seed; and then mixed, so that neighbours lie apart.
    #[inline]
    pub(crate) fn key(&self, [high, low]: [u64; 2], kind: usize) -> u64 {
        let [a, b] = self.factors;
        let sum = a.wrapping_mul(high.into()).wrapping_add(b.wrapping_mul(low.into()));
        let key = (sum.wrapping_add(self.kinds[kind]) >> 64) as u64;
        let key = (key ^ key >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        key ^ key >> 32
    }
}
