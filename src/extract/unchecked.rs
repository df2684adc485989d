//! Data whose rules are still to be checked.

use std::fmt;

use axum_core::extract::{FromRequest, FromRequestParts};
use http::request::Parts;

use crate::extract::input::RawInput;
use crate::extract::typed_input::{self, BodyInput, HeadInput};
use crate::{Error, Request};

/// Data of the right form whose rules are still to be checked: for rules that need a context, and for data from elsewhere.
///
/// It is an extractor around another one, such as `Unchecked<Json<T>>`. A validation step or extractor takes it and checks it:
/// `Valid::check`, `Valid::check_with`, `Garde::check` and `Garde::check_with`. Its values are bounded by
/// [`InvalidInput::max_values`](crate::extract::InvalidInput::max_values).
#[derive(Clone)]
pub struct Unchecked<E> {
    input: E,
    source: RawInput,
}

impl<E> Unchecked<E> {
    /// Data that was made in another way, such as from the parts of a multipart form. `E` determines the location in the errors.
    ///
    /// The number of its values is not bounded here: bound it where it is made.
    pub fn new(input: E) -> Self {
        Self { input, source: RawInput::made() }
    }

    /// The data, and the source that it was made from.
    pub fn into_parts(self) -> (E, RawInput) {
        (self.input, self.source)
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

    fn from_request(req: Request, _: &S) -> impl Future<Output = Result<Self, Error>> + Send {
        typed_input::take(req, RawInput::for_validation, |input, source| Ok(Self { input, source }))
    }
}

impl<S, E> FromRequestParts<S> for Unchecked<E>
where
    S: Sync,
    E: HeadInput,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let source = E::find((&*parts).into())?.for_validation();
        Ok(Self { input: E::parse(&source)?, source })
    }
}
