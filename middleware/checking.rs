//! Checks an input with the rules of a validation engine.

use http::StatusCode;

use crate::declare::{Answer, Declaration, Field, Kind};
use crate::extract::off_thread::off_thread;
use crate::extract::{
    BodyInput, HeadInput, Input, Location, MaxBody, RawInput, Unchecked, Violation, check,
    check_parsed, check_result,
};
use crate::{Error, Request};

/// Declares the refusals of a step that reads and checks an input.
pub(crate) fn declare<E: Input>(to: &mut Declaration) {
    let mut answers = |status, cause: &str| {
        to.answers(Answer::problem(status, cause));
    };
    answers(StatusCode::BAD_REQUEST, "The input can't be read");
    answers(StatusCode::UNPROCESSABLE_ENTITY, "The input breaks a rule, or has another form");
    if E::LOCATION != Location::Body {
        return;
    }
    answers(StatusCode::PAYLOAD_TOO_LARGE, "The body is too long");
    let (status, cause) =
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The content has another media type or coding");
    to.answers(
        Answer::problem(status, cause)
            .header(Field::new("accept", "The media types that are accepted").optional())
            .header(Field::new("accept-encoding", "The codings that are accepted").optional()),
    );
    to.kind(Kind::ReadsBody);
    if let Some(bytes) = MaxBody::default().limit() {
        to.limits_body(bytes);
    }
}

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
    match source.is_long() {
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
    if !source.is_long() {
        source.set_most_here(Some(RawInput::MOST_HERE));
        match E::parse_by_field(&source) {
            Err(refused) if source.is_too_much_here(refused.error()) => {}
            parsed => return check_result(parsed, &source, rules),
        }
        source.set_most_here(None);
    }
    let client = source.client();
    off_thread(client, move || check(&source, rules)).await?
}
