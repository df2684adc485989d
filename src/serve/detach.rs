//! The rest of a chain that runs to completion even if its client disconnects.

use std::fmt;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tower::{Layer, Service};

use super::background::DetachedSlots;
use crate::{Request, Response};

/// A layer after which a request runs to completion even if its client disconnects: all steps after it, and the handler.
///
/// [`detached`](fn@super::detached) does this for a handler alone. `Detach` is for steps that must also see the response, such as `Idempotency`, which
/// stores it. The response ends when the steps return it: a body that is a stream is dropped when the client has disconnected.
///
/// The request runs in a task of its own on the runtime of tokio. Its response is dropped if nothing waits for it. A request whose body the client has
/// not sent completely is refused as usual by the step that reads it. A panic is passed on, and is a 500 after `catch_panics`.
///
/// When [`Server`](crate::Server) stops, it waits for detached requests until [`drain_deadline`](crate::Server::drain_deadline).
///
/// # Panics
///
/// It panics, which is a 500, if it is called outside of a runtime of tokio.
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::serve::Detach;
///
/// let api = Chain::new().use_(Detach::new()).at("/pay", |c| c.post(async || "paid")).build();
/// # use tower_chain::TestClient;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # TestClient::new(api).post("/pay").send().await.assert_text("paid");
/// # });
/// ```
#[derive(Clone)]
pub struct Detach {
    slots: DetachedSlots,
}

impl Detach {
    /// A layer with the default limit.
    pub fn new() -> Self {
        Self { slots: DetachedSlots::default() }
    }

    /// Sets how many requests may run at once, also those whose clients have disconnected. Defaults to 1,024. With 0, none may.
    ///
    /// A request beyond that is answered with 503 `application/problem+json` and `Retry-After: 1`. Without a limit, a client that opens
    /// streams of HTTP/2 and resets them would start any number.
    #[must_use]
    pub fn max_running(mut self, count: usize) -> Self {
        self.slots = DetachedSlots::new(count);
        self
    }
}

impl Default for Detach {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Detach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detach").field("free_slots", &self.slots.free()).finish()
    }
}

impl<S> Layer<S> for Detach {
    type Service = DetachedService<S>;

    fn layer(&self, inner: S) -> DetachedService<S> {
        DetachedService { inner, slots: self.slots.clone() }
    }
}

/// A service whose requests run to completion. Made by [`Detach`].
#[derive(Clone)]
pub struct DetachedService<S> {
    inner: S,
    slots: DetachedSlots,
}

impl<S> fmt::Debug for DetachedService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachedService").field("free_slots", &self.slots.free()).finish()
    }
}

impl<S> Service<Request> for DetachedService<S>
where
    S: Service<Request, Response = Response>,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, req: Request) -> Self::Future {
        match self.slots.take() {
            Ok(slot) => Box::pin(slot.run(self.inner.call(req))),
            Err(refusal) => Box::pin(std::future::ready(Ok(refusal))),
        }
    }
}
