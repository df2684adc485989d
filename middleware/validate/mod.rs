//! Validation of client input with the rules of [`validator`].
//!
//! # What it does
//!
//! [`Valid<E>`] is an extractor around another one, such as `Valid<Json<T>>`. [`ValidateInput`] does the same as a step, and provides
//! [`Valid<T>`] to the steps after it. Every rule is applied. All errors, up to a hundred, are reported at once, in the order of the fields.
//! Each has a JSON Pointer in the names that the client uses, a code, a text and the limits of the rule. Neither they nor the log contain
//! submitted data.
//!
//! The names that the client uses are those of serde: renamed, flattened, aliases. The engine does not know them, but the type reports them if it
//! derives [`Fields`](crate::Fields) and is taken as [`ByField`](crate::extract::ByField): `Valid<ByField<Json<T>>>`. Then missing and mistyped members
//! are reported as well, together with the broken rules of the others. Otherwise a field is found by its Rust name, or by the only name in the input or of
//! the type that differs from it in case and separators (`full_name`, `fullName`, `full-name`). If there is none, the error has the pointer of the struct around
//! the field. The key of a map, which the client has chosen, is `*` unless [`InvalidInput::tell_keys`](crate::extract::InvalidInput::tell_keys) is set.
//!
//! # Example
//!
//! ```
//! use serde::Deserialize;
//! use tower_chain::{Chain, Json, Valid};
//! use validator::Validate;
//!
//! #[derive(Deserialize, Validate)]
//! struct NewUser {
//!     #[validate(length(min = 1))]
//!     name: String,
//!     #[validate(email)]
//!     email: String,
//! }
//!
//! let chain = Chain::new().post(async |Valid(user): Valid<Json<NewUser>>| user.name.clone());
//! # let _ = chain.build();
//! ```
//!
//! # Example: every error, under the names of the client
//!
//! ```
//! use serde::Deserialize;
//! use tower_chain::extract::ByField;
//! use tower_chain::{Chain, Fields, Json, Valid};
//! use validator::Validate;
//!
//! #[derive(Deserialize, Fields, Validate)]
//! #[serde(rename_all = "camelCase")]
//! struct NewUser {
//!     #[validate(length(min = 1))]
//!     full_name: String,
//!     #[serde(rename = "e-mail")]
//!     #[validate(email)]
//!     email: String,
//! }
//!
//! let chain = Chain::new()
//!     .post(async |Valid(user): Valid<ByField<Json<NewUser>>>| user.full_name.clone());
//! # let _ = chain.build();
//! ```
//!
//! `{"fullName": ""}` is refused with two errors, at `/fullName` and `/e-mail`.
//!
//! # Example: 400, custom texts, and an async check
//!
//! ```
//! use serde::Deserialize;
//! use tower_chain::extract::{FieldError, InvalidInput};
//! use tower_chain::{Chain, Error, Json, Valid, ValidateInput};
//!
//! #[derive(Clone, Deserialize, validator::Validate)]
//! struct NewUser {
//!     #[validate(length(min = 1, message = "Tell us your name"))]
//!     name: String,
//! }
//!
//! async fn not_taken(user: NewUser) -> Result<Vec<FieldError>, Error> {
//!     let _ = user; // .. ask the database ..
//!     Ok(Vec::new())
//! }
//!
//! let chain = Chain::new()
//!     .provide(InvalidInput::new().bad_request().translate(|error, _headers| {
//!         (error.code() == "missing").then(|| "Please fill this in".to_owned())
//!     }))
//!     .use_(ValidateInput::<Json<NewUser>>::new().check(not_taken))
//!     .post(async |Valid(user): Valid<NewUser>| user.name);
//! # let _ = chain.build();
//! ```
//!
//! # What the client sees
//!
//! | cause | status | body |
//! | --- | --- | --- |
//! | the extractor refuses the request | that of the extractor | that of the extractor |
//! | rules are broken | 422, or 400 with [`InvalidInput::bad_request`](crate::extract::InvalidInput::bad_request) | problem+json with `errors`, see [`FieldError`] |
//! | the context of the rules is missing | 500 | problem+json |
//!
//! The codes are the names of the rules: `length`, `range`, `email`, `url`, `ip`, `required`, `must_match`, `contains`, `does_not_contain`,
//! `regex`, `credit_card`, `non_control_character`, and the codes of `code = ".."` and of your own rules. The error of a `schema` rule has the
//! pointer of the struct.
//!
//! # What it provides
//!
//! The step provides [`Valid<T>`]. A handler takes it by this name, or as `Provided<Valid<T>>` if the rules have a context. `T` must be `Clone`.
//!
//! # Where to put it
//!
//! After authentication and limits: a request that they refuse is not parsed.
//!
//! # Notes on the engine
//!
//! `nested` needs the trait `validator::Validate` in scope. `length` counts characters. `email` accepts `a@b`, and `url` accepts `javascript:`; use
//! [`web_url`] for links. If a field has rules and `nested`, its nested errors are reported only if its own rules pass. Items of a `HashSet` are
//! numbered in the order of the set.
//!
//! # Limits
//!
//! The engine keeps each error of each item of a list until it has found all of them, about 1 KiB each, and a field that has a default may break
//! a rule without being sent. So input may have at most 20,000 values ([`InvalidInput::max_values`](crate::extract::InvalidInput::max_values)),
//! and a request takes less than 32 MiB while it is refused (`cargo test --test input memory`). Data that did not come through an
//! extractor is not bounded: bound it before [`Unchecked::new`].
//!
//! Input of more than 4 KiB, or with more than 2,048 values, is parsed and validated on a thread for blocking work, as many at a time as there are
//! cores. One client has at most half of these turns, so its requests do not delay those of the others. A context and rules are therefore `Send`, and
//! a rule must not rely on task-local or thread-local values. Without a tokio runtime the work is done in place.
//!
//! # Sources
//!
//! RFC 9457 (problem details), RFC 6901 (JSON Pointer), RFC 9110, 15.5.21 (422).

mod message;
mod report;
#[cfg(test)]
#[cfg(all(feature = "form", feature = "json", feature = "query"))]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use axum_core::extract::{FromRequest, FromRequestParts};
use axum_core::response::IntoResponse;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::uri::Scheme;
use http::{Extensions, StatusCode, Uri};
use validator::{Validate as _, ValidateArgs, ValidationError, ValidationErrors};

use crate::chain::FromChain;
use crate::declare::Declaration;
use crate::extract::off_thread::off_thread;
use crate::extract::{
    BodyInput, FieldError, HeadInput, Input, RawInput, Unchecked, Violation, check,
};
use crate::middleware::checking;
use crate::{Body, Endpoint, Error, Middleware, Next, Request, Response};

/// Data that passed the rules of its type.
///
/// As an extractor it wraps another one: `Valid<Json<T>>`, `Valid<Form<T>>`, `Valid<Query<T>>`, `Valid<Path<T>>`, where `T`
/// derives [`validator::Validate`]. It derefs to the data: `user.email`. The pattern `Valid(Json(user))` moves the data out.
///
/// After the step [`ValidateInput`] it is the value that the step provides, around the data itself: `Valid<T>`.
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

impl<E: Input + 'static> Valid<E> {
    /// Checks data that was extracted, or made, before.
    ///
    /// # Errors
    ///
    /// 422 with all errors.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::extract::{Multipart, Unchecked};
    /// use tower_chain::{Error, Form, Valid};
    /// use validator::Validate;
    ///
    /// #[derive(Default, serde::Deserialize, Validate)]
    /// struct Upload {
    ///     #[validate(length(min = 1))]
    ///     title: String,
    /// }
    ///
    /// async fn upload(mut form: Multipart) -> Result<String, Error> {
    ///     let mut upload = Upload::default();
    ///     while let Some(part) = form.next_part().await? {
    ///         if part.name() == Some("title") {
    ///             upload.title = part.text().await?;
    ///         }
    ///     }
    ///     let upload = Valid::check(Unchecked::new(Form(upload))).await?;
    ///     Ok(upload.title.clone())
    /// }
    /// # let _ = tower_chain::Chain::new().post(upload).build();
    /// ```
    pub async fn check(data: Unchecked<E>) -> Result<Self, Error>
    where
        E::Data: validator::Validate,
    {
        checking::unchecked(data, rules).await.map(Self)
    }

    /// Checks data by rules that have a context, `#[validate(context = C)]`. The compiler ensures that the context is there.
    ///
    /// # Errors
    ///
    /// 422 with all errors.
    ///
    /// # Example
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_chain::extract::Unchecked;
    /// use tower_chain::{Chain, Error, Json, Provided, Valid};
    /// use validator::{Validate, ValidationError};
    ///
    /// #[derive(Clone)]
    /// struct Stock {
    ///     left: u32,
    /// }
    ///
    /// #[derive(Deserialize, Validate)]
    /// #[validate(context = Stock)]
    /// struct Order {
    ///     #[validate(custom(function = in_stock, use_context))]
    ///     count: u32,
    /// }
    ///
    /// fn in_stock(count: u32, stock: &Stock) -> Result<(), ValidationError> {
    ///     if count <= stock.left { Ok(()) } else { Err(ValidationError::new("stock")) }
    /// }
    ///
    /// async fn order(
    ///     Provided(stock): Provided<Stock>,
    ///     order: Unchecked<Json<Order>>,
    /// ) -> Result<String, Error> {
    ///     let order = Valid::check_with(order, stock).await?;
    ///     Ok(order.count.to_string())
    /// }
    ///
    /// let chain = Chain::new().provide(Stock { left: 3 }).post(order);
    /// # let _ = chain.build();
    /// ```
    pub async fn check_with<C>(data: Unchecked<E>, context: C) -> Result<Self, Error>
    where
        C: Send + 'static,
        E::Data: for<'v> ValidateArgs<'v, Args = &'v C>,
    {
        let rules = move |data: &E::Data| report::violations(data.validate_with_args(&context));
        checking::unchecked(data, rules).await.map(Self)
    }
}

impl<S, E> FromRequest<S> for Valid<E>
where
    S: Sync,
    E: BodyInput + 'static,
    E::Data: validator::Validate,
{
    type Rejection = Error;

    fn from_request(req: Request, _: &S) -> impl Future<Output = Result<Self, Error>> + Send {
        checking::body(req, rules, Self)
    }
}

impl<S, E> FromRequestParts<S> for Valid<E>
where
    S: Sync,
    E: HeadInput + 'static,
    E::Data: validator::Validate,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let source = E::find((&*parts).into());
        checking::head(source, rules).await.map(Self)
    }
}

/// The value that [`ValidateInput`] provides. An extractor has no rules of its own, so this is never `Valid<Json<T>>`.
impl<T> FromChain for Valid<T>
where
    T: validator::Validate + Clone + Send + Sync + 'static,
{
    type Value = Self;

    fn from_value(value: Self) -> Self {
        value
    }
}

/// A rule for links: `http` or `https`, with a host and without a user name.
///
/// The rule `url` of the engine also accepts `javascript:` and `file:`.
///
/// # Errors
///
/// The code `url`.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::validate::web_url;
/// use validator::Validate;
///
/// #[derive(Validate)]
/// struct Profile {
///     #[validate(custom(function = web_url))]
///     homepage: String,
/// }
///
/// assert!(Profile { homepage: "https://example.org/me".into() }.validate().is_ok());
/// assert!(Profile { homepage: "javascript:alert(1)".into() }.validate().is_err());
/// ```
pub fn web_url(text: &str) -> Result<(), ValidationError> {
    let refused = || ValidationError::new("url").with_message("Must be a web address".into());
    // `Uri` does not accept a fragment.
    let uri: Uri = text.split('#').next().unwrap_or_default().parse().map_err(|_| refused())?;
    let web = uri.scheme().is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
    let host = uri
        .authority()
        .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
    if web && host && !text.contains(char::is_control) { Ok(()) } else { Err(refused()) }
}

/// The rules of a type without a context.
fn rules<T: validator::Validate>(data: &T) -> Vec<Violation> {
    report::violations(data.validate())
}

/// Parses the input and applies the rules of a step, whose context is in the extensions.
fn parse<E: Input + 'static>(
    rules: &ContextRules<E::Data>,
    source: &RawInput,
    extensions: &Extensions,
) -> Result<E::Data, Error> {
    let missing = Cell::new(false);
    let rules = |data: &E::Data| match rules(data, extensions) {
        Some(result) => report::violations(result),
        None => {
            missing.set(true);
            Vec::new()
        }
    };
    let data = check::<E>(source, rules)?.into_data();
    if missing.get() {
        let missing = "no step before `ValidateInput` provides the context of its rules";
        return Err(Error::new(StatusCode::INTERNAL_SERVER_ERROR, missing));
    }
    Ok(data)
}

#[cold]
fn refuse(source: &RawInput, errors: Vec<FieldError>) -> Error {
    source.refuse(StatusCode::UNPROCESSABLE_ENTITY, "The input is not valid", errors)
}

/// A step that validates the input of the client, and provides it as [`Valid<T>`] to the steps after it.
///
/// The body stays in the request for later steps.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::{Chain, Json, Valid, ValidateInput};
///
/// #[derive(Clone, Deserialize, validator::Validate)]
/// struct NewUser {
///     #[validate(email)]
///     email: String,
/// }
///
/// let chain = Chain::new()
///     .use_(ValidateInput::<Json<NewUser>>::new())
///     .post(async |Valid(user): Valid<NewUser>| user.email);
/// # let _ = chain.build();
/// ```
pub struct ValidateInput<E: Input> {
    rules: Arc<ContextRules<E::Data>>,
    checks: Vec<Box<Check<E::Data>>>,
}

/// `None`: the context is missing.
type ContextRules<T> =
    dyn Fn(&T, &Extensions) -> Option<Result<(), ValidationErrors>> + Send + Sync;
type Check<T> = dyn Fn(T) -> BoxFuture<'static, Result<Vec<FieldError>, Error>> + Send + Sync;

impl<E> ValidateInput<E>
where
    E: Input + 'static,
    E::Data: Clone + Send + Sync + 'static,
{
    /// A step that validates the data of the extractor `E`.
    #[allow(clippy::new_without_default, reason = "a step is unclear without its extractor")]
    pub fn new() -> Self
    where
        E::Data: validator::Validate,
    {
        Self { rules: Arc::new(|data, _| Some(data.validate())), checks: Vec::new() }
    }

    /// A step for rules that have a context, `#[validate(context = C)]`, which an earlier step provides.
    ///
    /// A later handler takes the data as `Provided<Valid<T>>`. If no step provides the context, each request is a 500. With [`Unchecked`] and
    /// [`Valid::check_with`] it is a compile error instead.
    pub fn with_context<C>() -> Self
    where
        C: Send + Sync + 'static,
        E::Data: for<'v> ValidateArgs<'v, Args = &'v C>,
    {
        let rules = |data: &E::Data, extensions: &Extensions| {
            extensions.get::<C>().map(|context| data.validate_with_args(context))
        };
        Self { rules: Arc::new(rules), checks: Vec::new() }
    }

    /// Adds an async check, for instance whether a name is taken.
    ///
    /// It runs if the rules pass, after the checks that were added before it, and returns the errors of the fields. If there are none, the data is
    /// valid. An `Err` becomes the response, such as a 500 if a database fails.
    ///
    /// # Example
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_chain::extract::{FieldError, Location};
    /// use tower_chain::{Chain, Error, Json, Valid, ValidateInput};
    ///
    /// #[derive(Clone, Deserialize, validator::Validate)]
    /// struct NewUser {
    ///     #[validate(length(min = 1))]
    ///     name: String,
    /// }
    ///
    /// async fn not_taken(user: NewUser) -> Result<Vec<FieldError>, Error> {
    ///     let taken = user.name == "admin"; // .. ask the database ..
    ///     let error = || FieldError::new(Location::Body, "taken", "This name is taken").at("name");
    ///     Ok(taken.then(error).into_iter().collect())
    /// }
    ///
    /// let chain = Chain::new()
    ///     .use_(ValidateInput::<Json<NewUser>>::new().check(not_taken))
    ///     .post(async |Valid(user): Valid<NewUser>| user.name);
    /// # let _ = chain.build();
    /// ```
    #[must_use]
    pub fn check<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(E::Data) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<FieldError>, Error>> + Send + 'static,
    {
        self.checks.push(Box::new(move |data| Box::pin(check(data))));
        self
    }

    async fn data(&self, req: &mut Request) -> Result<E::Data, Error> {
        let mut source = E::read(req).await?.for_validation();
        let here = if source.is_long() {
            None
        } else {
            source.set_most_here(Some(checking::MOST_HERE));
            let data = parse::<E>(&*self.rules, &source, req.extensions());
            let is_enough = !matches!(&data, Err(e) if checking::is_too_much_here(&source, e));
            source.set_most_here(None);
            is_enough.then_some(data)
        };
        let data = match here {
            Some(data) => data?,
            None => {
                let (rules, source) = (self.rules.clone(), source.clone());
                let extensions = mem::take(req.extensions_mut());
                let (data, extensions) = off_thread(source.client(), move || {
                    let data = parse::<E>(&*rules, &source, &extensions);
                    (data, extensions)
                })
                .await?;
                *req.extensions_mut() = extensions;
                data?
            }
        };
        for check in &self.checks {
            let errors = check(data.clone()).await?;
            if !errors.is_empty() {
                return Err(refuse(&source, errors));
            }
        }
        if let Some(body) = source.to_body() {
            *req.body_mut() = Body::from(body);
        }
        Ok(data)
    }
}

impl<E: Input> fmt::Debug for ValidateInput<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValidateInput")
    }
}

impl<E> Middleware for ValidateInput<E>
where
    E: Input + 'static,
    E::Data: Clone + Send + Sync + 'static,
{
    type Provides = (Valid<E::Data>,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, Self::Provides>) -> Response {
        match self.data(next.request_mut()).await {
            Ok(data) => next.run_with(Valid(data)).await,
            Err(refusal) => refusal.into_response(),
        }
    }

    fn declare(&self, to: &mut Declaration) {
        checking::declare::<E>(to);
    }
}
