//! The descriptions of results.

use std::borrow::Cow;
use std::convert::Infallible;

use axum_core::response::AppendHeaders;
use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap, StatusCode};
use serde_json::{Value, json};

#[cfg(any(feature = "json", feature = "ndjson"))]
use super::arguments::HasSchema;
use crate::Error;
use crate::declare::Field;
use crate::declare::operation::{PROBLEM_JSON, Reply, Schemas, Status, problem_schema};
use crate::extract::Binary;
#[cfg(feature = "json")]
use crate::extract::Json;
use crate::respond::{Created, Html, NoContent, Redirect, WithStatus};

/// The result of a handler, or the error of a guard, in a [documented](crate::Chain::documented) chain: it describes its responses.
///
/// | result | description |
/// | --- | --- |
/// | `Json<T>`, where `T` derives `schemars::JsonSchema` | 200 with the schema |
/// | [`Created<T>`], [`WithStatus<202, T>`](WithStatus), [`NoContent`] | this status |
/// | `(StatusCode, T)`, `StatusCode` | `default`: the status is known only at run time |
/// | `Result<T, E>` | both |
/// | [`Error`] | `4XX` and `5XX` as problem+json |
/// | `String`, `&str`, [`Html<T>`], `Bytes`, `()` | 200 with its media type |
/// | `([(name, value); N], T)` | that of `T`; of a text or bytes, the media type may be set at run time, so it is `*/*` |
/// | [`Redirect`] | `3XX` with `Location` |
/// | `Sse<S>`, `NdJson<S>` | 200, a stream |
///
/// A `Response` can't be described. Return one of these types, or a type of your own that implements this trait.
///
/// # Example
///
/// ```
/// use tower_chain::openapi::{DescribeResponse, Reply, Schemas};
/// use tower_chain::{Chain, IntoResponse, Json, Response, StatusCode};
///
/// #[derive(serde::Serialize, schemars::JsonSchema)]
/// struct Order {
///     id: u64,
/// }
///
/// enum Placed {
///     Now(Order),
///     Later,
/// }
///
/// impl IntoResponse for Placed {
///     fn into_response(self) -> Response {
///         match self {
///             Self::Now(order) => (StatusCode::CREATED, Json(order)).into_response(),
///             Self::Later => StatusCode::ACCEPTED.into_response(),
///         }
///     }
/// }
///
/// impl DescribeResponse for Placed {
///     fn describe(schemas: &mut Schemas) -> Vec<Reply> {
///         vec![
///             Reply::new(StatusCode::CREATED, "The order is placed").json::<Order>(schemas),
///             Reply::new(StatusCode::ACCEPTED, "The order is placed when the goods are in stock"),
///         ]
///     }
/// }
///
/// let chain = Chain::new().documented().post(async || Placed::Now(Order { id: 1 }));
/// # let _ = chain.build();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no description, and the chain is documented",
    label = "the result of this handler or the error of this guard has a `{Self}`",
    note = "return a type whose responses are known, such as `Json<T>`, `Result<Json<T>, Error>` or `WithStatus<201, T>`, instead of `Response` or `impl IntoResponse`",
    note = "a type of your own implements `tower_chain::openapi::DescribeResponse`",
    note = "`tower_chain::openapi::undescribed(handler)` exempts one handler"
)]
pub trait DescribeResponse {
    /// The responses.
    fn describe(schemas: &mut Schemas) -> Vec<Reply>;
}

/// A part of a response in a tuple, such as header fields, in a [documented](crate::Chain::documented) chain.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no description, and the chain is documented",
    label = "in the tuple that this handler returns",
    note = "implement `tower_chain::openapi::DescribeParts` for it, or exempt the handler with `tower_chain::openapi::undescribed(handler)`"
)]
pub trait DescribeParts {
    /// Describes what it changes in a response.
    fn describe(reply: &mut Reply);
}

macro_rules! content {
    ($($media_type:literal, $schema:expr, $($type:ty)*;)*) => {$($(
        impl DescribeResponse for $type {
            fn describe(_: &mut Schemas) -> Vec<Reply> {
                vec![Reply::success().content($media_type, $schema)]
            }
        }
    )*)*};
}

content! {
    "text/plain; charset=utf-8", json!({ "type": "string" }), &'static str String Box<str> Cow<'static, str>;
    "application/octet-stream", json!({ "type": "string", "format": "binary" }), Bytes BytesMut Vec<u8> &'static [u8] Box<[u8]> Cow<'static, [u8]> Binary;
}

impl<const N: usize> DescribeResponse for [u8; N] {
    fn describe(schemas: &mut Schemas) -> Vec<Reply> {
        Bytes::describe(schemas)
    }
}

impl<const N: usize> DescribeResponse for &'static [u8; N] {
    fn describe(schemas: &mut Schemas) -> Vec<Reply> {
        Bytes::describe(schemas)
    }
}

impl DescribeResponse for () {
    fn describe(_: &mut Schemas) -> Vec<Reply> {
        vec![Reply::success()]
    }
}

impl DescribeResponse for Infallible {
    fn describe(_: &mut Schemas) -> Vec<Reply> {
        Vec::new()
    }
}

impl DescribeResponse for StatusCode {
    fn describe(_: &mut Schemas) -> Vec<Reply> {
        vec![Reply::any(AT_RUN_TIME)]
    }
}

impl DescribeResponse for Error {
    fn describe(_: &mut Schemas) -> Vec<Reply> {
        let class = |class, text| Reply::class(class, text).content(PROBLEM_JSON, problem_schema());
        vec![class(4, "The request is refused"), class(5, "The server failed")]
    }
}

#[cfg(feature = "json")]
impl<T: HasSchema> DescribeResponse for Json<T> {
    fn describe(schemas: &mut Schemas) -> Vec<Reply> {
        vec![Reply::success().json::<T>(schemas)]
    }
}

impl<T, E> DescribeResponse for Result<T, E>
where
    T: DescribeResponse,
    E: DescribeResponse,
{
    fn describe(schemas: &mut Schemas) -> Vec<Reply> {
        let mut replies = T::describe(schemas);
        replies.extend(E::describe(schemas));
        replies
    }
}

impl DescribeResponse for Redirect {
    fn describe(_: &mut Schemas) -> Vec<Reply> {
        let location = Field::new("location", "The target");
        vec![
            Reply::class(3, "A redirect").header(location),
            Reply::problem(StatusCode::BAD_REQUEST, "The target is on another origin"),
        ]
    }
}

impl<T> DescribeResponse for Html<T> {
    fn describe(_: &mut Schemas) -> Vec<Reply> {
        vec![Reply::success().content("text/html; charset=utf-8", json!({ "type": "string" }))]
    }
}

#[cfg(feature = "axum")]
impl<T> DescribeResponse for axum::response::Html<T> {
    fn describe(schemas: &mut Schemas) -> Vec<Reply> {
        Html::<T>::describe(schemas)
    }
}

impl<const STATUS: u16, T: DescribeResponse> DescribeResponse for WithStatus<STATUS, T> {
    fn describe(schemas: &mut Schemas) -> Vec<Reply> {
        let replies = T::describe(schemas).into_iter();
        replies.map(|reply| reply.with_status(Status::Exact(STATUS))).collect()
    }
}

impl<T: DescribeResponse> DescribeResponse for Created<T> {
    fn describe(schemas: &mut Schemas) -> Vec<Reply> {
        WithStatus::<201, T>::describe(schemas)
    }
}

impl DescribeResponse for NoContent {
    fn describe(_: &mut Schemas) -> Vec<Reply> {
        vec![Reply::new(StatusCode::NO_CONTENT, "")]
    }
}

#[cfg(feature = "sse")]
impl<S> DescribeResponse for crate::respond::Sse<S> {
    fn describe(_: &mut Schemas) -> Vec<Reply> {
        let text = json!({ "type": "string" });
        let event = json!({
            "type": "object",
            "properties": { "data": text, "event": text, "id": text, "retry": { "type": "integer", "minimum": 0 } }
        });
        let reply = Reply::success().stream("text/event-stream", event);
        vec![reply.header("cache-control").header("x-accel-buffering")]
    }
}

#[cfg(feature = "ndjson")]
impl<S, T, E> DescribeResponse for crate::respond::NdJson<S>
where
    S: futures_util::Stream<Item = Result<T, E>>,
    T: HasSchema,
{
    fn describe(schemas: &mut Schemas) -> Vec<Reply> {
        let item = schemas.output::<T>();
        let reply = Reply::success().stream("application/x-ndjson", item);
        vec![reply.header("x-accel-buffering")]
    }
}

#[cfg(feature = "cookies")]
impl DescribeResponse for crate::extract::Cookies {
    fn describe(_: &mut Schemas) -> Vec<Reply> {
        let mut reply = Reply::success();
        <Self as DescribeParts>::describe(&mut reply);
        vec![reply]
    }
}

#[cfg(feature = "cookies")]
impl DescribeParts for crate::extract::Cookies {
    fn describe(reply: &mut Reply) {
        reply.headers.push(Field::new("set-cookie", "The cookies that are set").optional());
    }
}

impl DescribeParts for () {
    fn describe(_: &mut Reply) {}
}

impl DescribeParts for Extensions {
    fn describe(_: &mut Reply) {}
}

impl<T: DescribeParts> DescribeParts for Option<T> {
    fn describe(reply: &mut Reply) {
        let first = reply.headers.len();
        T::describe(reply);
        for field in reply.headers.split_off(first) {
            reply.headers.push(field.optional());
        }
    }
}

impl DescribeParts for HeaderMap {
    fn describe(reply: &mut Reply) {
        any_fields(reply);
    }
}

impl<K, V, const N: usize> DescribeParts for [(K, V); N] {
    fn describe(reply: &mut Reply) {
        any_fields(reply);
    }
}

impl<I> DescribeParts for AppendHeaders<I> {
    fn describe(reply: &mut Reply) {
        any_fields(reply);
    }
}

/// Header fields alone are a response without content.
macro_rules! fields_alone {
    ($([$($generics:tt)*] $type:ty,)*) => {$(
        impl<$($generics)*> DescribeResponse for $type {
            fn describe(_: &mut Schemas) -> Vec<Reply> {
                vec![Reply::success()]
            }
        }
    )*};
}

fields_alone! {
    [] HeaderMap,
    [] Extensions,
    [I] AppendHeaders<I>,
    [K, V, const N: usize] [(K, V); N],
}

/// Header fields that are known only at run time. One of them may be the media type of a text or of bytes.
fn any_fields(reply: &mut Reply) {
    let has_own = reply.content.iter().any(|content| content.media_type.ends_with("json"));
    if let ([content], false) = (&mut *reply.content, has_own)
        && content.item.is_none()
    {
        content.media_type = "*/*".to_owned();
        content.schema = Value::Object(serde_json::Map::new());
    }
}

macro_rules! tuples {
    ($($part:ident)*) => {
        impl<$($part: DescribeParts,)* R: DescribeResponse> DescribeResponse for ($($part,)* R,) {
            fn describe(schemas: &mut Schemas) -> Vec<Reply> {
                let mut replies = R::describe(schemas);
                for reply in &mut replies {
                    let _ = &reply;
                    $($part::describe(reply);)*
                }
                replies
            }
        }

        impl<$($part: DescribeParts,)* R: DescribeResponse> DescribeResponse for (StatusCode, $($part,)* R,) {
            fn describe(schemas: &mut Schemas) -> Vec<Reply> {
                let replies = <($($part,)* R,)>::describe(schemas).into_iter();
                replies
                    .map(|reply| {
                        let is_described = !reply.is_default || !reply.description.is_empty();
                        let reply = reply.with_status(Status::Any);
                        if is_described { reply } else { Reply { description: AT_RUN_TIME.to_owned(), ..reply } }
                    })
                    .collect()
            }
        }
    };
}

tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

macro_rules! parts {
    ($($part:ident)*) => {
        impl<$($part: DescribeParts),*> DescribeParts for ($($part,)*) {
            fn describe(reply: &mut Reply) {
                $($part::describe(reply);)*
            }
        }
    };
}

parts!(A);
parts!(A B);
parts!(A B C);
parts!(A B C D);

const AT_RUN_TIME: &str = "The handler sets the status";
