//! Validation with the rules of [`garde`], as a second engine beside `validator`.
//!
//! # What it does
//!
//! [`Garde<E>`] wraps another extractor, as `Valid<E>` does: `Garde<Json<T>>`, `Garde<Form<T>>`, `Garde<Query<T>>`,
//! `Garde<Path<T>>`, where `T` derives [`garde::Validate`]. The refusal has the same format: all errors at once, each with a JSON
//! Pointer in the names that the client uses, a code and a text, never the value.
//!
//! # Example
//!
//! Add `garde` to the manifest: `garde = { version = "0.23", default-features = false, features = ["derive"] }`, with the features of the rules
//! that you use, such as `email`.
//!
//! ```
//! use garde::Validate;
//! use serde::Deserialize;
//! use tower_chain::middleware::garde::Garde;
//! use tower_chain::{Chain, Json};
//!
//! #[derive(Deserialize, Validate)]
//! struct NewUser {
//!     #[garde(length(min = 1, max = 40))]
//!     name: String,
//! }
//!
//! async fn create(Garde(Json(user)): Garde<Json<NewUser>>) -> String {
//!     user.name
//! }
//!
//! let api = Chain::new().post(create).build();
//! # #[cfg(all(feature = "json", feature = "test-util"))]
//! # futures_util::FutureExt::now_or_never(async {
//! # let client = tower_chain::TestClient::new(api);
//! # client.post("/").json(&serde_json::json!({ "name": "Ann" })).send().await.assert_text("Ann");
//! # let refused = client.post("/").json(&serde_json::json!({ "name": "" })).send().await;
//! # refused.assert_problem(422).assert_json_at("/errors/0/pointer", "/name").assert_json_at("/errors/0/code", "length");
//! # }).unwrap();
//! ```
//!
//! # Example: a context
//!
//! ```
//! use garde::Validate;
//! use serde::Deserialize;
//! use tower_chain::extract::Unchecked;
//! use tower_chain::middleware::garde::Garde;
//! use tower_chain::{Chain, Error, Json, Provided};
//!
//! #[derive(Clone)]
//! struct Stock(u32);
//!
//! #[derive(Deserialize, Validate)]
//! #[garde(context(Stock))]
//! struct Order {
//!     #[garde(custom(in_stock))]
//!     count: u32,
//! }
//!
//! fn in_stock(count: &u32, stock: &Stock) -> garde::Result {
//!     if *count <= stock.0 { Ok(()) } else { Err(garde::Error::new("Not so many are left")) }
//! }
//!
//! async fn order(
//!     Provided(stock): Provided<Stock>,
//!     order: Unchecked<Json<Order>>,
//! ) -> Result<String, Error> {
//!     let Garde(Json(order)) = Garde::check_with(order, stock).await?;
//!     Ok(order.count.to_string())
//! }
//!
//! let chain = Chain::new().provide(Stock(3)).post(order);
//! # let _ = chain.build();
//! ```
//!
//! # What the client sees
//!
//! | cause | status | body |
//! | --- | --- | --- |
//! | `E` refuses the request | that of `E` | that of `E` |
//! | a rule is broken | 422 | problem+json with `errors` |
//!
//! The code is the name of the rule (`length`, `range`, `email`, ..), or `invalid` for a custom rule, whose text is sent. The names are those of the
//! client if the type derives [`Fields`](crate::Fields) and is taken as [`ByField`](crate::extract::ByField): `Garde<ByField<Json<T>>>`. All members
//! that are missing or of another type are then reported as well. Otherwise they are found as for [`Valid`](crate::middleware::validate), and names that
//! serde does not declare, such as the keys of maps, are `*`; see [`InvalidInput::tell_keys`](crate::extract::InvalidInput::tell_keys).
//!
//! # Limits
//!
//! As with `Valid`: at most 20,000 values ([`InvalidInput::max_values`](crate::extract::InvalidInput::max_values)), and input of more than 4 KiB
//! or 2,048 values is validated on a thread for blocking work.
//!
//! # What it provides
//!
//! The extractor provides nothing. The step of [`Garde::step`] provides `Garde<T>`, for which `T` must be `Clone`.
//!
//! # Where to put it
//!
//! Among the arguments of a handler. Around an extractor of the body it is the last.
//!
//! # Sources
//!
//! RFC 6901 (JSON Pointer), RFC 9457 (problem details).

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use ::garde::error::Kind;
use ::garde::i18n::{
    I18n, InvalidCreditCard, InvalidEmail, InvalidPhoneNumber, InvalidUrl, IpKind, with_i18n,
};
use ::garde::{Report, Validate};
use axum_core::extract::{FromRequest, FromRequestParts};
use axum_core::response::IntoResponse;
use http::request::Parts;

use crate::chain::FromChain;
use crate::declare::Declaration;
use crate::extract::{BodyInput, FieldStep, HeadInput, Input, Unchecked, Violation};
use crate::middleware::checking;
use crate::{Body, Endpoint, Error, Middleware, Next, Request, Response};

/// Data that passed the rules of its type, by [`garde`]. See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garde<E>(pub E);

impl<E> Deref for Garde<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0
    }
}

impl<E> DerefMut for Garde<E> {
    fn deref_mut(&mut self) -> &mut E {
        &mut self.0
    }
}

impl<S, E> FromRequest<S> for Garde<E>
where
    S: Sync,
    E: BodyInput + 'static,
    E::Data: Validate<Context: Default>,
{
    type Rejection = Error;

    fn from_request(req: Request, _: &S) -> impl Future<Output = Result<Self, Error>> + Send {
        checking::body(req, |data| rules(data, &Default::default()), Self)
    }
}

impl<S, E> FromRequestParts<S> for Garde<E>
where
    S: Sync,
    E: HeadInput + 'static,
    E::Data: Validate<Context: Default>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let source = E::find((&*parts).into());
        checking::head(source, |data| rules(data, &Default::default())).await.map(Self)
    }
}

impl<E: Input + 'static> Garde<E> {
    /// Checks data that was extracted, or made, before.
    ///
    /// # Errors
    ///
    /// 422 with all errors.
    pub async fn check(data: Unchecked<E>) -> Result<Self, Error>
    where
        E::Data: Validate<Context: Default>,
    {
        checking::unchecked(data, |data| rules(data, &Default::default())).await.map(Self)
    }

    /// Checks data by rules that have a context: see the example of the [module](self).
    ///
    /// # Errors
    ///
    /// 422 with all errors.
    pub async fn check_with<C>(data: Unchecked<E>, context: C) -> Result<Self, Error>
    where
        C: Send + 'static,
        E::Data: Validate<Context = C>,
    {
        checking::unchecked(data, move |data| rules(data, &context)).await.map(Self)
    }

    /// A step that validates the data of the extractor `E`, and provides it as `Garde<T>` to the steps after it. The body stays in the request.
    ///
    /// # Example
    ///
    /// ```
    /// use garde::Validate;
    /// use serde::Deserialize;
    /// use tower_chain::middleware::garde::Garde;
    /// use tower_chain::{Chain, Json};
    ///
    /// #[derive(Clone, Deserialize, Validate)]
    /// struct NewUser {
    ///     #[garde(length(min = 1))]
    ///     name: String,
    /// }
    ///
    /// let chain = Chain::new()
    ///     .use_(Garde::<Json<NewUser>>::step())
    ///     .post(async |Garde(user): Garde<NewUser>| user.name);
    /// # let _ = chain.build();
    /// ```
    pub fn step() -> GardeStep<E>
    where
        E::Data: Validate<Context: Default> + Clone + Send + Sync + 'static,
    {
        GardeStep { input: PhantomData }
    }
}

/// The value that the step provides. An extractor has no rules of its own, so this is never `Garde<Json<T>>`.
impl<T> FromChain for Garde<T>
where
    T: Validate + Clone + Send + Sync + 'static,
{
    type Value = Self;

    fn from_value(value: Self) -> Self {
        value
    }
}

/// The step that [`Garde::step`] makes.
pub struct GardeStep<E> {
    input: PhantomData<fn() -> E>,
}

impl<E> GardeStep<E>
where
    E: Input + 'static,
    E::Data: Validate<Context: Default> + Send + 'static,
{
    async fn data(&self, req: &mut Request) -> Result<E::Data, Error> {
        let source = E::read(req).await?;
        let body = source.to_body();
        let rules = |data: &E::Data| rules(data, &Default::default());
        let input: E = checking::parsed(source.for_validation(), rules).await?;
        let data = input.into_data();
        if let Some(body) = body {
            *req.body_mut() = Body::from(body);
        }
        Ok(data)
    }
}

impl<E> fmt::Debug for GardeStep<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GardeStep")
    }
}

impl<E> Middleware for GardeStep<E>
where
    E: Input + 'static,
    E::Data: Validate<Context: Default> + Clone + Send + Sync + 'static,
{
    type Provides = (Garde<E::Data>,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, Self::Provides>) -> Response {
        match self.data(next.request_mut()).await {
            Ok(data) => next.run_with((Garde(data),)).await,
            Err(refusal) => refusal.into_response(),
        }
    }

    fn declare(&self, to: &mut Declaration) {
        checking::declare::<E>(to);
    }
}

fn rules<T: Validate>(data: &T, context: &T::Context) -> Vec<Violation> {
    match with_i18n(Codes, || data.validate_with(context)) {
        Ok(()) => Vec::new(),
        Err(report) => violations(&report),
    }
}

#[cold]
fn violations(report: &Report) -> Vec<Violation> {
    let violation = |(path, error): &(::garde::Path, ::garde::Error)| {
        let path = path.__iter().rev().filter_map(|(kind, step)| match kind {
            Kind::None => None,
            Kind::Key => {
                let step = step.strip_prefix("r#").unwrap_or(step);
                Some(FieldStep::Name(step.to_owned()))
            }
            Kind::Index => Some(FieldStep::Index(step.parse().unwrap_or(usize::MAX))),
        });
        message(path.collect(), error.message())
    };
    report.iter().take(MAX_LISTED).map(violation).collect()
}

/// The most errors that are converted. A refusal lists fewer.
const MAX_LISTED: usize = 1000;

/// Texts for garde that begin with the code and the limit of the rule, which garde does not report otherwise. `message` splits them again.
struct Codes;

const MARK: char = '\u{1}';

fn coded(code: &str, limit: Option<(&str, &dyn Display)>, text: impl Display) -> Cow<'static, str> {
    let (name, value) =
        limit.map_or(("", String::new()), |(name, value)| (name, value.to_string()));
    format!("{MARK}{code}{MARK}{name}{MARK}{value}{MARK}{text}").into()
}

fn message(path: Vec<FieldStep>, message: &str) -> Violation {
    let mut parts = message.splitn(5, MARK);
    let coded = (|| {
        parts.next().filter(|before| before.is_empty())?;
        Some((parts.next()?, parts.next()?, parts.next()?, parts.next()?))
    })();
    let Some((code, name, value, text)) = coded else {
        return Violation::new(path, "invalid", message.to_owned());
    };
    let error = Violation::new(path, code.to_owned(), text.to_owned());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-.:_ ".contains(&b);
    if name.is_empty() {
        error
    } else if value.parse::<f64>().is_ok_and(f64::is_finite) && !value.starts_with(['+', '.']) {
        error.with_param(name.to_owned(), value)
    } else if value.bytes().all(plain) {
        error.with_param(name.to_owned(), format!("\"{value}\""))
    } else {
        error
    }
}

impl I18n for Codes {
    fn length_lower_than(&self, min: usize) -> Cow<'static, str> {
        let text = match min {
            1 => "Must not be empty".to_owned(),
            min => format!("Must not be shorter than {min}"),
        };
        coded("length", Some(("min", &min)), text)
    }

    fn length_greater_than(&self, max: usize) -> Cow<'static, str> {
        coded("length", Some(("max", &max)), format!("Must not be longer than {max}"))
    }

    fn range_lower_than(&self, min: &dyn Display) -> Cow<'static, str> {
        coded("range", Some(("min", min)), format!("Must be at least {min}"))
    }

    fn range_greater_than(&self, max: &dyn Display) -> Cow<'static, str> {
        coded("range", Some(("max", max)), format!("Must be at most {max}"))
    }

    fn credit_card_invalid(&self, _: InvalidCreditCard) -> Cow<'static, str> {
        coded("credit_card", None, "Must be a card number")
    }

    fn pattern_no_match(&self, _: &dyn Display) -> Cow<'static, str> {
        coded("regex", None, "Does not have the required format")
    }

    fn contains_missing(&self, pattern: &dyn Display) -> Cow<'static, str> {
        coded("contains", None, format!("Must contain {pattern}"))
    }

    fn url_invalid(&self, _: InvalidUrl) -> Cow<'static, str> {
        coded("url", None, "Must be a URL")
    }

    fn prefix_missing(&self, pattern: &dyn Display) -> Cow<'static, str> {
        coded("prefix", None, format!("Must begin with {pattern}"))
    }

    fn suffix_missing(&self, pattern: &dyn Display) -> Cow<'static, str> {
        coded("suffix", None, format!("Must end with {pattern}"))
    }

    fn phone_number_invalid(&self, _: InvalidPhoneNumber) -> Cow<'static, str> {
        coded("phone_number", None, "Must be a phone number")
    }

    fn ip_invalid(&self, kind: IpKind) -> Cow<'static, str> {
        coded(
            "ip",
            None,
            match kind {
                IpKind::V4 => "Must be an IPv4 address",
                IpKind::V6 => "Must be an IPv6 address",
                _ => "Must be an IP address",
            },
        )
    }

    fn matches_field_mismatch(&self, _: &dyn Display) -> Cow<'static, str> {
        coded("must_match", None, "Must be the same as the other field")
    }

    fn email_invalid(&self, _: InvalidEmail) -> Cow<'static, str> {
        coded("email", None, "Must be an email address")
    }

    fn ascii_invalid(&self) -> Cow<'static, str> {
        coded("ascii", None, "Must contain only ASCII characters")
    }

    fn alphanumeric_invalid(&self) -> Cow<'static, str> {
        coded("alphanumeric", None, "Must contain only letters and digits")
    }

    fn required_not_set(&self) -> Cow<'static, str> {
        coded("required", None, "Is required")
    }
}

#[cfg(test)]
#[cfg(all(feature = "json", feature = "query"))]
mod tests {
    use std::collections::HashMap;

    use http_body_util::BodyExt;
    use serde::Deserialize;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::extract::InvalidInput;
    use crate::{Body, Chain, ChainService, Json, Query};

    #[derive(Debug, Deserialize, Validate)]
    #[serde(rename_all = "camelCase")]
    struct NewUser {
        #[garde(length(min = 1))]
        full_name: String,
        #[garde(email)]
        #[serde(rename = "e-mail")]
        email: String,
        #[garde(dive)]
        #[serde(default)]
        lines: HashMap<String, Vec<Line>>,
        #[garde(custom(no_secret))]
        #[serde(default)]
        note: String,
    }

    #[derive(Debug, Deserialize, Validate)]
    struct Line {
        #[garde(range(min = 1, max = 9))]
        qty: u8,
    }

    fn no_secret(_: &str, _: &()) -> garde::Result {
        Err(garde::Error::new("Never right"))
    }

    async fn send(chain: &ChainService, req: http::Request<Body>) -> (u16, Value) {
        let response = chain.clone().oneshot(req).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn the_step_provides_the_data() {
        #[derive(Clone, Deserialize, Validate)]
        struct Name {
            #[garde(length(max = 3))]
            name: String,
        }
        let chain = Chain::new()
            .use_(Garde::<Json<Name>>::step())
            .post(async |Garde(name): Garde<Name>, text: String| Json((name.name, text.len())))
            .build();
        let post = |body: &'static str| {
            http::Request::post("/")
                .header("content-type", "application/json")
                .body(Body::from(body))
                .unwrap()
        };
        assert_eq!(send(&chain, post(r#"{"name":"Ann"}"#)).await, (200, json!(["Ann", 14])));
        assert_eq!(send(&chain, post(r#"{"name":"Anna"}"#)).await.0, 422);
        assert_eq!(send(&chain, post("{")).await.0, 400);
    }

    #[tokio::test]
    async fn errors_have_the_shape_of_the_other_engine() {
        let chain = Chain::new()
            .get(async |Garde(Query(line)): Garde<Query<Line>>| line.qty.to_string())
            .post(async |_: Garde<Json<NewUser>>| "never")
            .build();
        let body = json!({"fullName": "", "e-mail": "CANARY", "lines": {"a/b": [{"qty": 1}, {"qty": 10}]}, "note": "CANARY"});
        let post = || {
            http::Request::post("/")
                .header("content-type", "application/json")
                .body(Body::from(body.to_string()))
                .unwrap()
        };
        let told = InvalidInput::new().tell_keys();
        let told = Chain::new().provide(told).post(async |_: Garde<Json<NewUser>>| "never").build();
        assert_eq!(send(&told, post()).await.1["errors"][2]["pointer"], "/lines/a~1b/1/qty");
        let (status, body) = send(&chain, post()).await;
        assert_eq!(status, 422);
        assert_eq!(
            body["errors"],
            json!([
                {"location": "body", "pointer": "/fullName", "code": "length", "detail": "Must not be empty", "params": {"min": 1}},
                {"location": "body", "pointer": "/e-mail", "code": "email", "detail": "Must be an email address"},
                {"location": "body", "pointer": "/lines/*/1/qty", "code": "range", "detail": "Must be at most 9", "params": {"max": 9}},
                {"location": "body", "pointer": "/note", "code": "invalid", "detail": "Never right"},
            ])
        );
        let get = |uri: &str| http::Request::get(uri).body(Body::empty()).unwrap();
        let (status, body) = send(&chain, get("/?qty=0")).await;
        assert_eq!((status, &body["errors"][0]["location"]), (422, &json!("query")));
        assert_eq!(send(&chain, get("/?qty=3")).await, (200, json!(3)));
    }
}
