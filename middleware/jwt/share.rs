//! What one client may take of a store that all clients share.

/// How many of the entries that are free one client may have. A client that has as many gets no more until entries become free, and the
/// others still find entries.
pub(super) fn share_of_one(free: usize) -> usize {
    free.div_ceil(16)
}
