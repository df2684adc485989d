//! Input that is refused with the errors of all its fields.

use std::ops::{Deref, DerefMut};

use axum_core::extract::{FromRequest, FromRequestParts};
use http::StatusCode;
use http::request::Parts;
use serde_core::de::DeserializeOwned;

use crate::extract::Location;
use crate::extract::fields::{Document, Fields, Shape, reader};
use crate::extract::input::{Head, RawInput};
#[cfg(feature = "fields")]
use crate::extract::off_thread::off_thread;
use crate::extract::typed_input::{BodyInput, HeadInput, Input, Refused};
use crate::{Error, Request};

/// Input that is read field by field when it is refused: every missing and mistyped member is reported, under the name that the client uses.
///
/// It wraps an extractor of data that implements [`Fields`]: `ByField<Json<T>>`, `ByField<Form<T>>`, `ByField<Query<T>>`, `ByField<Path<T>>`. In
/// `Valid<ByField<Json<T>>>` and `Garde<ByField<Json<T>>>`, the errors of the rules are reported as well, those of the fields that could be read. Rules
/// for a whole struct are applied only if all its fields could be read.
///
/// Valid input costs nothing more. Input that is refused is read again; it has at most as many values as
/// [`InvalidInput::max_values`](crate::extract::InvalidInput::max_values), and at most 100 errors are reported.
/// Input of more than 4 KiB is read again on a thread for blocking work, under the limits of `Valid`: if too many requests wait for one, the response is
/// 429 or 503.
///
/// # Example
///
/// ```
/// # #[cfg(all(feature = "fields", feature = "json", feature = "validate"))] {
/// use serde::Deserialize;
/// use tower_chain::extract::ByField;
/// use tower_chain::{Chain, Fields, Json, Valid};
/// use validator::Validate;
///
/// #[derive(Deserialize, Fields, Validate)]
/// #[serde(rename_all = "camelCase")]
/// struct NewUser {
///     #[validate(length(min = 1))]
///     full_name: String,
///     #[validate(email)]
///     email: String,
///     age: u8,
/// }
///
/// async fn create(Valid(user): Valid<ByField<Json<NewUser>>>) -> String {
///     format!("{} <{}>, {}", user.full_name, user.email, user.age)
/// }
///
/// let api = Chain::new().post(create).build();
/// # #[cfg(feature = "test-util")]
/// # futures_util::FutureExt::now_or_never(async {
/// # let client = tower_chain::TestClient::new(api);
/// # let refused = client.post("/").json(&serde_json::json!({ "fullName": "", "age": "x" })).send().await;
/// # refused.assert_problem(422).assert_json_at("/errors/0/pointer", "/fullName");
/// # refused.assert_json_at("/errors/1/pointer", "/email").assert_json_at("/errors/2/pointer", "/age");
/// # }).unwrap();
/// # }
/// ```
///
/// `{"fullName": "", "age": "x"}` is refused with three errors: `/fullName` is empty, `/email` is missing, `/age` is not a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByField<E>(pub E);

impl<E> Deref for ByField<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0
    }
}

impl<E> DerefMut for ByField<E> {
    fn deref_mut(&mut self) -> &mut E {
        &mut self.0
    }
}

impl<E> Input for ByField<E>
where
    E: Input,
    E::Data: DeserializeOwned + Fields,
{
    type Data = E::Data;
    const LOCATION: Location = E::LOCATION;

    fn read(req: &mut Request) -> impl Future<Output = Result<RawInput, Error>> + Send {
        E::read(req)
    }

    fn parse(source: &RawInput) -> Result<Self, Error> {
        Self::parse_by_field(source).map_err(|refused| refused.into_error(source))
    }

    fn data(&self) -> &Self::Data {
        self.0.data()
    }

    fn into_data(self) -> Self::Data {
        self.0.into_data()
    }

    fn document(source: &RawInput) -> Option<Document<'_>> {
        E::document(source)
    }

    fn shape() -> Option<&'static Shape> {
        Some(E::Data::shape())
    }

    fn parse_by_field(source: &RawInput) -> Result<Self, Refused<'_, Self::Data>> {
        E::parse(source).map(Self).map_err(|error| by_field::<E>(source, error))
    }
}

#[cold]
fn by_field<E>(source: &RawInput, error: Error) -> Refused<'_, E::Data>
where
    E: Input,
    E::Data: DeserializeOwned + Fields,
{
    let wrong_form = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];
    let partial = if wrong_form.contains(&error.status()) {
        E::document(source)
            .and_then(|document| reader::partial(source, E::LOCATION, E::Data::shape(), document))
    } else {
        None
    };
    Refused { error, partial }
}

fn all_errors<E>(source: &RawInput, error: Error) -> Error
where
    E: Input,
    E::Data: DeserializeOwned + Fields,
{
    by_field::<E>(source, error).into_error(source)
}

/// The refusal with all errors. Those of a long input are found on a thread for blocking work.
async fn refused(
    source: RawInput,
    error: Error,
    all_errors: fn(&RawInput, Error) -> Error,
) -> Error {
    #[cfg(feature = "fields")]
    if source.is_long() {
        let client = source.client();
        let found = off_thread(client, move || all_errors(&source, error)).await;
        return found.unwrap_or_else(|no_turn| no_turn);
    }
    all_errors(&source, error)
}

impl<E> BodyInput for ByField<E>
where
    E: BodyInput,
    E::Data: DeserializeOwned + Fields,
{
}

impl<E> HeadInput for ByField<E>
where
    E: HeadInput,
    E::Data: DeserializeOwned + Fields,
{
    fn find(head: Head<'_>) -> Result<RawInput, Error> {
        E::find(head)
    }
}

impl<S, E> FromRequest<S> for ByField<E>
where
    S: Sync,
    E: BodyInput,
    E::Data: DeserializeOwned + Fields,
{
    type Rejection = Error;

    #[allow(
        clippy::manual_async_fn,
        reason = "an `async fn` stores the request twice in its future"
    )]
    fn from_request(mut req: Request, _: &S) -> impl Future<Output = Result<Self, Error>> + Send {
        async move {
            let source = E::read(&mut req).await?;
            match E::parse(&source) {
                Ok(input) => Ok(Self(input)),
                Err(error) => Err(refused(source, error, all_errors::<E>).await),
            }
        }
    }
}

impl<S, E> FromRequestParts<S> for ByField<E>
where
    S: Sync,
    E: HeadInput,
    E::Data: DeserializeOwned + Fields,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let source = Self::find((&*parts).into())?;
        match E::parse(&source) {
            Ok(input) => Ok(Self(input)),
            Err(error) => Err(refused(source, error, all_errors::<E>).await),
        }
    }
}
