//! Handlers that run to completion even if their client disconnects.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use axum_core::response::IntoResponse;

use super::background::DetachedSlots;
use crate::function::handler::HandlerFn;
use crate::route::listing::short_name;

/// Makes a handler run to completion even if its client disconnects meanwhile.
///
/// A server drops a handler at its next `.await` when it detects that the client has disconnected: at once on HTTP/2, and on HTTP/1 as
/// [`Server::half_close`](crate::Server::half_close) describes. What the handler has done until then remains. A handler that does several
/// things that belong together, such as a payment and an entry of it, should be detached, or do them in one transaction.
///
/// Once its arguments have been extracted, the handler runs in a task of its own on the runtime of tokio. Its response is dropped if nothing
/// waits for it. A handler that takes the whole [`Request`](crate::Request) can't read its body after the client has disconnected. A
/// timeout around the handler ends the wait for it, and not the handler. A panic is a 500, as in other handlers.
///
/// At most [`max_running`](Detached::max_running) of its calls run at once. A limit of concurrent requests in front of the handler, such as
/// that of `RateLimit` or `Shed`, doesn't replace this: it no longer counts a call whose client has left.
///
/// When [`Server`](crate::Server) stops, it waits for detached handlers until [`drain_deadline`](crate::Server::drain_deadline).
///
/// # Panics
///
/// The handler panics, which is a 500, if it is called outside of a runtime of tokio.
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::serve::detached;
///
/// async fn pay(order: String) -> String {
///     // Takes the money, and then records that.
///     format!("paid {order}\n")
/// }
///
/// let api = Chain::new().at("/pay", |c| c.post(detached(pay))).build();
/// # use tower_chain::TestClient;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # TestClient::new(api).post("/pay").text("7").send().await.assert_text("paid 7\n");
/// # });
/// ```
pub fn detached<H>(handler: H) -> Detached<H> {
    Detached { handler: Arc::new(handler), slots: DetachedSlots::default() }
}

/// A handler that runs to completion. Made by [`detached`].
pub struct Detached<H> {
    handler: Arc<H>,
    /// For the calls that run.
    slots: DetachedSlots,
}

impl<H> Detached<H> {
    /// Sets how many calls of this handler may run at once, also those whose clients have disconnected. Defaults to 1,024. With 0, none may.
    ///
    /// A request beyond that is answered with 503 `application/problem+json` and `Retry-After: 1`. Without a limit, a client that opens
    /// streams of HTTP/2 and resets them would start any number.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    /// use tower_chain::serve::detached;
    ///
    /// let api = Chain::new().post(detached(async || "paid").max_running(50)).build();
    /// ```
    #[must_use]
    pub fn max_running(mut self, count: usize) -> Self {
        self.slots = DetachedSlots::new(count);
        self
    }
}

impl<H> fmt::Debug for Detached<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached")
            .field("handler", &short_name::<H>())
            .field("free_slots", &self.slots.free())
            .finish()
    }
}

// The messages of the compiler must not propose to detach a function that is not a handler.
#[diagnostic::do_not_recommend]
impl<H, A, S, M> HandlerFn<A, S, M> for Detached<H>
where
    H: HandlerFn<A, S, M>,
    A: Send + 'static,
{
    type Own = Self;
    type Out = H::Out;

    fn own(self) -> Self {
        self
    }

    fn invoke(&self, args: A) -> impl Future<Output: IntoResponse> + Send {
        async move {
            let slot = match self.slots.take() {
                Ok(slot) => slot,
                Err(refusal) => return refusal,
            };
            let handler = self.handler.clone();
            slot.run(async move { handler.invoke(args).await.into_response() }).await
        }
    }
}
