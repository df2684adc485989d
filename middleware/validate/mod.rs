//! Validation of what a client submits, with the rules of [`validator`].

mod message;
mod report;
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use axum_core::extract::{FromRequest, FromRequestParts};
use axum_core::response::IntoResponse;
use http::StatusCode;
use http::request::Parts;
use validator::ValidationErrors;

use crate::extract::{BodyInput, FieldError, HeadInput, Input};
use crate::{Body, Endpoint, Error, FromChain, Middleware, Request, Response, Rest};

/// Data that keeps the rules of its type.
///
/// As an extractor it stands around another one: `Valid<Json<T>>`, `Valid<Form<T>>`, `Valid<Query<T>>`, `Valid<Path<T>>`, where `T`
/// derives [`validator::Validate`]. The data is read through it: `user.email`; the pattern `Valid(Json(user))` moves it out.
///
/// Behind the step [`Validate`] it is what that step provides, around the data itself: `Valid<T>`.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::{Chain, Json, Valid};
/// use validator::Validate;
///
/// #[derive(Deserialize, Validate)]
/// struct NewUser {
///     #[validate(length(min = 1))]
///     name: String,
///     #[validate(email)]
///     email: String,
/// }
///
/// async fn create(Valid(user): Valid<Json<NewUser>>) -> String {
///     format!("{} <{}>", user.name, user.email)
/// }
///
/// let chain = Chain::new().post(create);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Valid<T>(pub T);

impl<T> Deref for Valid<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Valid<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<S, E> FromRequest<S> for Valid<E>
where
    S: Sync,
    E: BodyInput,
    E::Data: validator::Validate,
{
    type Rejection = Error;

    async fn from_request(mut req: Request, _: &S) -> Result<Self, Error> {
        check(E::parse(&E::read(&mut req).await?)?)
    }
}

impl<S, E> FromRequestParts<S> for Valid<E>
where
    S: Sync,
    E: HeadInput,
    E::Data: validator::Validate,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        check(E::parse(&E::find(&parts.uri, &parts.extensions)?)?)
    }
}

/// What [`Validate`] provides. An extractor has no rules of its own, so that this is never `Valid<Json<T>>`.
impl<T> FromChain for Valid<T>
where
    T: validator::Validate + Clone + Send + Sync + 'static,
{
    type Value = Self;

    fn from_value(value: Self) -> Self {
        value
    }
}

fn check<E>(input: E) -> Result<Valid<E>, Error>
where
    E: Input,
    E::Data: validator::Validate,
{
    match validator::Validate::validate(input.data()) {
        Ok(()) => Ok(Valid(input)),
        Err(errors) => Err(refuse::<E>(&errors)),
    }
}

#[cold]
fn refuse<E: Input>(errors: &ValidationErrors) -> Error {
    let errors = report::field_errors(E::LOCATION, errors);
    FieldError::refuse(StatusCode::UNPROCESSABLE_ENTITY, "The input is not valid", &errors)
}

/// A step that validates what the client submits, and provides it as [`Valid<T>`] to the steps after it.
///
/// The body is left in the request, so that a later step may read it again.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::{Chain, Json, Valid, Validate};
///
/// #[derive(Clone, Deserialize, validator::Validate)]
/// struct NewUser {
///     #[validate(email)]
///     email: String,
/// }
///
/// let chain = Chain::new()
///     .use_(Validate::<Json<NewUser>>::new())
///     .post(async |Valid(user): Valid<NewUser>| user.email);
/// # let _ = chain.build();
/// ```
pub struct Validate<E> {
    input: PhantomData<fn() -> E>,
}

impl<E> Validate<E>
where
    E: Input,
    E::Data: validator::Validate + Clone + Send + Sync + 'static,
{
    /// A step that validates what the extractor `E` takes.
    pub fn new() -> Self {
        Self { input: PhantomData }
    }
}

impl<E> Default for Validate<E>
where
    E: Input,
    E::Data: validator::Validate + Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Validate<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Validate")
    }
}

impl<E> Middleware for Validate<E>
where
    E: Input + 'static,
    E::Data: validator::Validate + Clone + Send + Sync + 'static,
{
    type Provides = (Valid<E::Data>,);

    async fn call<N: Endpoint>(
        &self,
        req: &mut Request,
        next: Rest<'_, N, Self::Provides>,
    ) -> Response {
        let source = match E::read(req).await {
            Ok(source) => source,
            Err(refusal) => return refusal.into_response(),
        };
        let data = match E::parse(&source).and_then(check) {
            Ok(Valid(input)) => input.into_data(),
            Err(refusal) => return refusal.into_response(),
        };
        if let Some(body) = source.to_body() {
            *req.body_mut() = Body::from(body);
        }
        drop(source);
        next.run_with(req, (Valid(data),)).await
    }
}
