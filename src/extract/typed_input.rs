//! Extractors of data that can be validated.

use std::future::Future;

use crate::extract::Location;
use crate::extract::fields::document::Document;
use crate::extract::fields::reader::{Partial, sorted};
use crate::extract::fields::shape::Shape;
use crate::extract::input::{Head, RawInput};
use crate::{Error, Request};

/// An extractor around data of a type: `Json<T>` around `T`.
///
/// `Valid<E>` accepts any of them. To validate an extractor of your own, implement this trait together with [`BodyInput`] or [`HeadInput`].
///
/// # Example
///
/// ```
/// use tower_chain::extract::{BodyInput, FieldError, Head, Input, Location, RawInput, read_body};
/// use tower_chain::{Chain, Error, Request, StatusCode, Valid};
///
/// /// A body of `key=value` lines.
/// struct Lines<T>(T);
///
/// #[derive(validator::Validate)]
/// struct User {
///     #[validate(email)]
///     email: String,
/// }
///
/// impl Input for Lines<User> {
///     type Data = User;
///     const LOCATION: Location = Location::Body;
///
///     async fn read(req: &mut Request) -> Result<RawInput, Error> {
///         let bytes = read_body(req).await?;
///         Ok(RawInput::body(bytes).under(Head::from(&*req)))
///     }
///
///     fn parse(source: &RawInput) -> Result<Self, Error> {
///         let text = String::from_utf8_lossy(source.bytes());
///         match text.lines().find_map(|line| line.strip_prefix("email=")) {
///             Some(email) => Ok(Self(User { email: email.to_owned() })),
///             None => {
///                 let missing = FieldError::new(Self::LOCATION, "missing", "Must be there").at("email");
///                 Err(source.refuse(StatusCode::UNPROCESSABLE_ENTITY, "The input is not valid", vec![missing]))
///             }
///         }
///     }
///
///     fn data(&self) -> &User {
///         &self.0
///     }
///
///     fn into_data(self) -> User {
///         self.0
///     }
/// }
///
/// impl BodyInput for Lines<User> {}
///
/// let chain = Chain::new().post(async |Valid(Lines(user)): Valid<Lines<User>>| user.email);
/// # let _ = chain.build();
/// ```
pub trait Input: Sized + Send {
    /// The extracted data.
    type Data;

    /// The part of the request that the data is read from.
    const LOCATION: Location;

    /// Reads the input from the request. A body is taken, and an empty one is left.
    ///
    /// # Errors
    ///
    /// If the request is refused before the data is parsed, such as for its media type or length.
    fn read(req: &mut Request) -> impl Future<Output = Result<RawInput, Error>> + Send;

    /// Parses the data.
    ///
    /// # Errors
    ///
    /// If the input does not have the expected form.
    fn parse(source: &RawInput) -> Result<Self, Error>;

    /// The data.
    fn data(&self) -> &Self::Data;

    /// Returns the data without the extractor.
    fn into_data(self) -> Self::Data;

    /// The input as a tree, for the names that the client used; `None` if its format has no names, or it has too many values.
    ///
    /// It is called after the input was refused. Defaults to `None`: errors then have the names of the program.
    fn document(source: &RawInput) -> Option<Document<'_>> {
        let _ = source;
        None
    }

    /// The fields of the data; `None` if they are not known.
    fn shape() -> Option<&'static Shape> {
        None
    }

    /// Parses the data, and returns what could be read of it if it does not have the expected form.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse).
    #[doc(hidden)]
    fn parse_by_field(source: &RawInput) -> Result<Self, Refused<'_, Self::Data>> {
        Self::parse(source).map_err(|error| Refused { error, partial: None })
    }
}

/// Why an input was refused, and what could be read of it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Refused<'a, T> {
    pub(crate) error: Error,
    pub(crate) partial: Option<Partial<'a, T>>,
}

impl<T> Refused<'_, T> {
    /// The refusal of the input as a whole.
    #[doc(hidden)]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The refusal, with all errors that are known.
    #[cold]
    pub(crate) fn into_error(self, source: &RawInput) -> Error {
        match self.partial {
            Some(partial) => {
                let errors = sorted(partial.errors);
                source.refuse(self.error.status(), self.error.detail().to_owned(), errors)
            }
            None => self.error,
        }
    }
}

/// An [`Input`] from the body. It must be the last argument of a handler.
pub trait BodyInput: Input {}

/// An [`Input`] from the head of a request. It may be any argument of a handler.
pub trait HeadInput: Input {
    /// Reads the input, as [`Input::read`] does.
    ///
    /// # Errors
    ///
    /// If the request is refused before the data is parsed.
    fn find(head: Head<'_>) -> Result<RawInput, Error>;
}

/// Reads an input and parses it.
#[allow(clippy::manual_async_fn, reason = "an `async fn` stores the request twice in its future")]
pub(crate) fn take<E: Input>(mut req: Request) -> impl Future<Output = Result<E, Error>> + Send {
    async move { E::parse(&E::read(&mut req).await?) }
}
