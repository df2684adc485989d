//! Checks an input with the rules of a validation engine.

use std::panic::resume_unwind;
use std::sync::LazyLock;
use std::thread::available_parallelism;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use tokio::runtime::Handle;
use tracing::dispatcher;

use crate::extract::{
    BodyInput, ClientAddr, HeadInput, Input, RawInput, Unchecked, Violation, check, check_parsed,
    check_result,
};
use crate::middleware::turns::{Client, NoTurn, TurnLimits, Turns};
use crate::{Error, Request};

/// Reads the input from the body of a request, and checks it.
#[allow(clippy::manual_async_fn, reason = "an `async fn` stores the request twice in its future")]
pub(crate) fn body<E, T>(
    mut req: Request,
    rules: impl Fn(&E::Data) -> Vec<Violation> + Send + 'static,
    valid: impl FnOnce(E) -> T + Send,
) -> impl Future<Output = Result<T, Error>> + Send
where
    E: BodyInput + 'static,
{
    async move {
        let source = E::read(&mut req).await?.for_validation();
        parsed(source, rules).await.map(valid)
    }
}

/// Reads the input from the head of a request, and checks it.
pub(crate) async fn head<E>(
    source: Result<RawInput, Error>,
    rules: impl Fn(&E::Data) -> Vec<Violation> + Send + 'static,
) -> Result<E, Error>
where
    E: HeadInput + 'static,
{
    parsed(source?.for_validation(), rules).await
}

/// Checks data that was read before.
pub(crate) async fn unchecked<E>(
    data: Unchecked<E>,
    rules: impl Fn(&E::Data) -> Vec<Violation> + Send + 'static,
) -> Result<E, Error>
where
    E: Input + 'static,
{
    let (input, source) = data.into_parts();
    match is_long(&source) {
        false => check_parsed(input, &source, rules),
        true => {
            let client = source.client();
            off_thread(client, move || check_parsed(input, &source, rules)).await?
        }
    }
}

/// Parses the input and checks it.
pub(crate) async fn parsed<E>(
    mut source: RawInput,
    rules: impl Fn(&E::Data) -> Vec<Violation> + Send + 'static,
) -> Result<E, Error>
where
    E: Input + 'static,
{
    if !is_long(&source) {
        source.set_most_here(Some(MOST_HERE));
        match E::parse_by_field(&source) {
            Err(refused) if is_too_much_here(&source, refused.error()) => {}
            parsed => return check_result(parsed, &source, rules),
        }
        source.set_most_here(None);
    }
    let client = source.client();
    off_thread(client, move || check(&source, rules)).await?
}

/// Whether parsing and validating may take so long that it must not block the threads that serve requests.
pub(crate) fn is_long(source: &RawInput) -> bool {
    source.bytes().len() > RawInput::LONG
}

/// Whether a short input was refused because it has more values than may be validated here.
pub(crate) fn is_too_much_here(source: &RawInput, error: &Error) -> bool {
    let too_many = [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::URI_TOO_LONG];
    source.has_less_here() && too_many.contains(&error.status())
}

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

/// The most values that are validated on a thread that serves requests: each of them takes about a microsecond if it breaks a rule. A JSON text of
/// [`RawInput::LONG`] bytes has no more, but each of its structs may have many fields that were not sent.
pub(crate) const MOST_HERE: usize = RawInput::LONG / 2;
