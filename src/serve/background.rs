//! The detached handlers that run, for which a server that stops waits.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use axum_core::response::IntoResponse;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::{Instrument, Span};

use crate::{Error, Response};

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
    fn begin() -> Running {
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
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// How many detached calls may run at once, also those whose clients have disconnected. Clones have the same slots.
#[derive(Clone)]
pub(super) struct DetachedSlots(Arc<Semaphore>);

impl DetachedSlots {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))))
    }

    pub(super) fn free(&self) -> usize {
        self.0.available_permits()
    }

    /// Takes a slot for one call. `Err` is the refusal if none is free.
    pub(super) fn take(&self) -> Result<DetachedCall, Response> {
        match self.0.clone().try_acquire_owned() {
            Ok(slot) => Ok(DetachedCall { _running: Background::begin(), _slot: slot }),
            Err(_) => {
                let error =
                    Error::new(StatusCode::SERVICE_UNAVAILABLE, "Too many such requests run");
                let wait = HeaderValue::from_static("1");
                Err(error.with_header(RETRY_AFTER, wait).into_response())
            }
        }
    }
}

/// A slot for one call.
pub(super) struct DetachedCall {
    _running: Running,
    _slot: OwnedSemaphorePermit,
}

impl DetachedCall {
    /// Runs the call to completion in a task of its own, also if the result is dropped.
    pub(super) async fn run<F>(self, call: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let task = async move {
            let _slot = self;
            call.await
        };
        match tokio::spawn(task.instrument(Span::current())).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime ends.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl Default for DetachedSlots {
    fn default() -> Self {
        Self::new(1024)
    }
}

/// A detached handler that runs, until this is dropped.
struct Running(Background);

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
