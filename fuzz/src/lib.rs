//! Helpers for several targets.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use http_body_util::BodyExt;
use tower_chain::{Body, ChainService};

/// Returns the status and the body of a chain's response.
pub fn send(chain: &ChainService, req: http::Request<Body>) -> (u16, Vec<u8>) {
    let response = complete(chain.handle(req));
    let status = response.status().as_u16();
    let body = complete(response.into_body().collect());
    (status, body.expect("the body is complete").to_bytes().to_vec())
}

/// Polls a future until it is ready. All input is in memory, so a future that returns `Pending` must have woken its task.
fn complete<F: Future>(future: F) -> F::Output {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(woken.0.swap(false, Ordering::Relaxed), "pending, and not woken");
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
