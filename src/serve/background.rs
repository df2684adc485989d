//! The detached handlers that run, for which a server that stops waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts a detached handler until it is dropped.
pub(super) struct Background(());

impl Background {
    pub(super) fn begin() -> Self {
        RUNNING.fetch_add(1, Ordering::AcqRel);
        Self(())
    }

    /// Waits until no detached handler of the process runs.
    pub(super) async fn ended() {
        loop {
            let ended = ENDED.notified();
            if RUNNING.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if RUNNING.fetch_sub(1, Ordering::AcqRel) == 1 {
            ENDED.notify_waiters();
        }
    }
}

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static ENDED: Notify = Notify::const_new();
