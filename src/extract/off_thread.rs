//! Blocking work, on a thread for that purpose.

use std::panic::resume_unwind;
use std::sync::LazyLock;
use std::thread::available_parallelism;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use tokio::runtime::Handle;
use tracing::dispatcher;

use crate::Error;
use crate::extract::ClientAddr;
use crate::turns::{Client, NoTurn, TurnLimits, Turns};

/// Runs blocking work on a thread for that purpose, at most as many at a time as there are cores.
///
/// One client has at most half of these turns, and waits for its own ones first: its requests do not delay those of the others. How many wait,
/// and for how long, is limited.
///
/// A client that leaves does not end the work, which keeps its permit until it is done. Without a tokio runtime the work runs here, after other
/// tasks of this thread had their turn.
///
/// # Errors
///
/// 429 if too many requests of the client wait, 503 if too many of all clients do or this one has waited for 10 seconds, or if the runtime is shutting
/// down.
///
/// # Panics
///
/// If the work does.
pub(crate) async fn off_thread<T: Send + 'static>(
    client: Option<ClientAddr>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let Ok(runtime) = Handle::try_current() else {
        yield_now().await;
        return Ok(work());
    };
    let turn = TURNS.take(client.map(Client::from)).await.map_err(refused)?;
    let span = tracing::Span::current();
    let subscriber = dispatcher::get_default(Clone::clone);
    let work = runtime.spawn_blocking(move || {
        let _turn = turn;
        dispatcher::with_default(&subscriber, || span.in_scope(work))
    });
    work.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Error::new(StatusCode::SERVICE_UNAVAILABLE, "The server is shutting down"),
    })
}

fn refused(none: NoTurn) -> Error {
    let (status, detail) = match none {
        NoTurn::TooMany => {
            (StatusCode::TOO_MANY_REQUESTS, "Too many requests of this client wait to be validated")
        }
        NoTurn::Overloaded => {
            (StatusCode::SERVICE_UNAVAILABLE, "The request can't be validated now")
        }
    };
    Error::new(status, detail).with_header(RETRY_AFTER, HeaderValue::from_static("5"))
}

/// Pending once, on any runtime.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

static TURNS: LazyLock<Turns> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, Into::into);
    let client = (cores / 2).max(1);
    Turns::new(TurnLimits { all: cores, network: client.max(cores * 3 / 4), client })
});
