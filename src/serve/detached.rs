//! Handlers that run to completion even if their client disconnects.

use std::fmt;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::sync::Arc;

use tracing::{Instrument, Span};

use super::background::Background;
use crate::Response;
use crate::function::arguments::{Ending, TakeAll};
use crate::function::handler::{HandlerFn, IntoHandler};
use crate::route::listing::short_name;
use crate::step::next::{Endpoint, Middleware, Next};

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
    Detached(handler)
}

/// A handler that runs to completion. Made by [`detached`].
pub struct Detached<H>(H);

impl<H> fmt::Debug for Detached<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Detached").field(&short_name::<H>()).finish()
    }
}

impl<H, A, S, M> IntoHandler<AsDetached<A, S, M>> for Detached<H>
where
    H: HandlerFn<A, S, M>,
{
    type Args = Ending<A, S>;
    type Step<R> = DetachedStep<H, A, S, M, R>;
    const PASSES: bool = false;

    fn into_step<R>(self) -> DetachedStep<H, A, S, M, R> {
        DetachedStep { handler: Arc::new(self.0), kind: PhantomData }
    }
}

/// The kind of a detached handler.
#[doc(hidden)]
#[derive(Debug)]
pub struct AsDetached<A, S, M>(PhantomData<(A, S, M)>);

/// A detached handler as a step.
#[doc(hidden)]
pub struct DetachedStep<H, A, S, M, R> {
    handler: Arc<H>,
    kind: PhantomData<fn() -> (A, S, M, R)>,
}

impl<H, A, S, M, R> fmt::Debug for DetachedStep<H, A, S, M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&short_name::<H>())
    }
}

impl<H, A, S, M, R> Middleware for DetachedStep<H, A, S, M, R>
where
    H: HandlerFn<A, S, M>,
    R: TakeAll<Ending<A, S>>,
    A: Send + 'static,
    S: 'static,
    M: 'static,
{
    type Provides = ();

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> Response {
        let cx = next.cx();
        let args = match R::take(next.request_mut(), cx).await {
            Ok(args) => args.into_inner(),
            Err(refusal) => return refusal,
        };
        let (handler, running) = (self.handler.clone(), Background::begin());
        let task = async move {
            let _running = running;
            handler.invoke(args).await
        };
        match tokio::spawn(task.instrument(Span::current())).await {
            Ok(response) => response,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime ends.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn name(&self) -> String {
        short_name::<H>()
    }
}
