//! Data whose rules are still to be checked.

use std::fmt;

use axum_core::extract::{FromRequest, FromRequestParts};
use http::request::Parts;

use crate::extract::input::RawInput;
use crate::extract::typed_input::{BodyInput, HeadInput, Input};
use crate::{Error, Request};

/// Data of the right form whose rules are still to be checked: for rules that need a context, and for data from elsewhere.
///
/// It is an extractor around another one, such as `Unchecked<Json<T>>`. A validation step or extractor takes it and checks it:
/// `Valid::check`, `Valid::check_with`, `Garde::check` and `Garde::check_with`. Its values are bounded by
/// [`InvalidInput::max_values`](crate::extract::InvalidInput::max_values). Input of more than 4 KiB, or with more than 2,048 values, is checked on a thread
/// for blocking work, in the turns of its client, as that of `Valid` is.
#[derive(Clone)]
pub struct Unchecked<E> {
    input: E,
    source: RawInput,
}

impl<E> Unchecked<E> {
    /// Data that was made in another way, such as from the parts of a multipart form. `E` determines the location in the errors.
    ///
    /// The number of its values is not bounded here, and it is checked on the thread that serves the request: bound it where it is made.
    pub fn new(input: E) -> Self {
        Self { input, source: RawInput::made() }
    }

    /// The data, and the source that it was made from.
    pub fn into_parts(self) -> (E, RawInput) {
        (self.input, self.source)
    }
}

impl<E: Input> Unchecked<E> {
    /// Parses the data, and marks short input with so many values that they must not be checked on a thread that serves requests.
    fn parse(source: RawInput) -> Result<Self, Error> {
        let mut source = source.for_validation();
        if !source.is_long() {
            source.set_most_here(Some(RawInput::MOST_HERE));
        }
        let mut parsed = E::parse(&source);
        if let Err(error) = &parsed
            && source.is_too_much_here(error)
        {
            source.set_most_here(None);
            source.set_long();
            parsed = E::parse(&source);
        }
        source.set_most_here(None);
        Ok(Self { input: parsed?, source })
    }
}

/// The data is left out.
impl<E> fmt::Debug for Unchecked<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unchecked")
    }
}

impl<S, E> FromRequest<S> for Unchecked<E>
where
    S: Sync,
    E: BodyInput,
{
    type Rejection = Error;

    #[allow(
        clippy::manual_async_fn,
        reason = "an `async fn` stores the request twice in its future"
    )]
    fn from_request(mut req: Request, _: &S) -> impl Future<Output = Result<Self, Error>> + Send {
        async move { Self::parse(E::read(&mut req).await?) }
    }
}

impl<S, E> FromRequestParts<S> for Unchecked<E>
where
    S: Sync,
    E: HeadInput,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::parse(E::find((&*parts).into())?)
    }
}
