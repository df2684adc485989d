//! The detached handlers that run, for which a server that stops waits.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::sync::Notify;

/// Counts the detached handlers of one server.
///
/// A handler finds it by the thread that polls its request, as an extension would cost each request an allocation.
#[derive(Clone, Debug, Default)]
pub(super) struct Background(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    running: AtomicUsize,
    ended: Notify,
}

impl Background {
    /// Makes this the current server of the thread until the result is dropped.
    pub(super) fn enter(&self) -> Entered {
        Entered(CURRENT.replace(Some(self.clone())))
    }

    /// Counts a handler of the current server. Without one, as in a task that a middleware has spawned, every server waits for it.
    pub(super) fn begin() -> Running {
        let background = CURRENT.with_borrow(Clone::clone).unwrap_or_else(|| UNKNOWN.clone());
        background.0.running.fetch_add(1, Ordering::AcqRel);
        Running(background)
    }

    /// Waits until no detached handler of this server runs, and none of an unknown one.
    pub(super) async fn ended(&self) {
        self.0.ended().await;
        UNKNOWN.0.ended().await;
    }
}

impl Count {
    async fn ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// A server is the current one of this thread until this is dropped.
pub(super) struct Entered(Option<Background>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// A detached handler that runs, until this is dropped.
pub(super) struct Running(Background);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.ended.notify_waiters();
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Background>> = const { RefCell::new(None) };
}

/// For handlers of which the server is unknown.
static UNKNOWN: LazyLock<Background> = LazyLock::new(Background::default);
