//! Keeps the extensions of a request that a step may replace.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Extensions;

/// The extensions of a request while a step has a mutable borrow of the whole request, one per request.
///
/// They are beside the request and not in [`Next`](super::next::Next): a value that has to be dropped would stay in the future of a
/// step until the response is there. Only one step has the request at a time, which makes the lock free whenever it is taken.
#[derive(Default)]
pub(crate) struct Kept {
    /// The number of the borrow. 0 while the request is not borrowed.
    lent: AtomicU64,
    extensions: Mutex<Extensions>,
}

impl Kept {
    /// Whether a step has borrowed the whole request since the request was last passed on.
    #[inline(always)]
    pub(crate) fn is_lent(&self) -> bool {
        self.lent.load(Ordering::Relaxed) != 0
    }

    /// Copies the extensions of a request that is about to be borrowed, and marks them.
    pub(crate) fn lend(&self, extensions: &mut Extensions) {
        if !extensions.is_empty() {
            *self.lock() = extensions.clone();
            let number = BORROWS.fetch_add(1, Ordering::Relaxed);
            extensions.insert(SameRequest(number));
            self.lent.store(number, Ordering::Relaxed);
        }
    }

    /// Adds the copy to the extensions of a request that was replaced. Where both have a value of one type, that of the new request
    /// is kept.
    #[cold]
    pub(crate) fn restore(&self, extensions: &mut Extensions) {
        let number = self.lent.swap(0, Ordering::Relaxed);
        let mut kept = mem::take(&mut *self.lock());
        if extensions.remove::<SameRequest>() != Some(SameRequest(number)) {
            kept.extend(mem::take(extensions));
            *extensions = kept;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Extensions> {
        self.extensions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks the extensions of a request that was borrowed, with the number of the borrow. If it is missing or another one, the request was
/// replaced.
#[derive(Clone, PartialEq)]
struct SameRequest(u64);

static BORROWS: AtomicU64 = AtomicU64::new(1);
