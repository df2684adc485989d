//! Extractors: what handlers take from a request.
//!
//! Each extractor implements [`FromRequest`] or [`FromRequestParts`] of axum's core. It therefore works in axum's handlers as well, and the
//! extractors of axum's ecosystem work here. An extractor that reads the body must be the last argument of a handler.
//!
//! | extractor | takes | feature |
//! | --- | --- | --- |
//! | [`Path<T>`] | the parameters of the matched path | - |
//! | [`MatchedPath`] | the pattern that matched | - |
//! | [`RestPath`] | the rest of the path after a mount | - |
//! | [`ClientAddr`] | the address of the client | - |
//! | [`ClientCertificate`] | the client's certificate from the TLS handshake | - |
//! | [`ClientUri`] | the URI that the client sent, with the prefix that the host removed | - |
//! | `Query<T>` | the query string | `query` |
//! | `Form<T>` | a form: the body of a POST, the query of a GET | `form` |
//! | `JsonOrForm<T>` | a JSON body or a form | `json`, `form` |
//! | `Submitted<E>` | a form, its errors and its submitted values | `form` |
//! | `Params<T>` | path parameters and query in one | `query` |
//! | `Json<T>` | a JSON body | `json` |
//! | `Multipart` | a form with files | `multipart` |
//! | `Cookies` | the cookies | `cookies` |
//! | [`Text`], [`Binary`] | the body, unchanged | - |
//!
//! [`ByField<E>`] wraps one of them, and reports every field that is missing or of another type.
//!
//! They refuse a request with a [`crate::Error`], a response of the type `application/problem+json`. If single fields are at fault, its member
//! `errors` lists them, each as a [`FieldError`]. The response never repeats what the client submitted: a key that the client chose, such as that
//! of a map, is `*` in a pointer.
//!
//! `String` and `Bytes` are extractors of axum's core, like [`Text`] and [`Binary`], with a limit of 2 MB if no `BodyLimit` sets another one. In
//! a chain their refusals have the same format. Other extractors of axum's ecosystem have refusals of their own.
//!
//! A body is read up to a limit of 1 MiB; see [`MaxBody`].

/// Implements the common traits of a tuple struct around data.
macro_rules! transparent {
    ($name:ident) => {
        impl<T> std::ops::Deref for $name<T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.0
            }
        }

        impl<T> std::ops::DerefMut for $name<T> {
            fn deref_mut(&mut self) -> &mut T {
                &mut self.0
            }
        }

        impl<T> From<T> for $name<T> {
            fn from(data: T) -> Self {
                Self(data)
            }
        }
    };
}
use transparent;

/// The items of [`Input`] that are the same for each tuple struct around data.
macro_rules! data_of {
    ($data:ident) => {
        type Data = $data;

        fn data(&self) -> &$data {
            &self.0
        }

        fn into_data(self) -> $data {
            self.0
        }
    };
}
use data_of;

/// Implements the extractor of an [`Input`] that reads the body.
#[cfg(any(feature = "form", feature = "json"))]
macro_rules! from_body {
    ($name:ident) => {
        impl<T: DeserializeOwned + Send> $crate::extract::BodyInput for $name<T> {}

        impl<S: Sync, T: DeserializeOwned + Send> FromRequest<S> for $name<T> {
            type Rejection = Error;

            fn from_request(
                req: Request,
                _: &S,
            ) -> impl Future<Output = Result<Self, Error>> + Send {
                $crate::extract::typed_input::take(req)
            }
        }
    };
}
#[cfg(any(feature = "form", feature = "json"))]
use from_body;

/// Implements the methods of a `Deserializer` that read a value as one of another kind.
macro_rules! read_as {
    ($error:ty: $($kind:ident)*) => { $(read_as!(@$kind $error);)* };
    (@newtype_as_its_content $error:ty) => {
        fn deserialize_newtype_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            visitor: V,
        ) -> Result<V::Value, $error> {
            visitor.visit_newtype_struct(self)
        }
    };
    (@tuple_as_list $error:ty) => {
        fn deserialize_tuple<V: Visitor<'de>>(
            self,
            _: usize,
            visitor: V,
        ) -> Result<V::Value, $error> {
            self.deserialize_seq(visitor)
        }

        fn deserialize_tuple_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            _: usize,
            visitor: V,
        ) -> Result<V::Value, $error> {
            self.deserialize_seq(visitor)
        }
    };
    (@unit_struct_as_unit $error:ty) => {
        fn deserialize_unit_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            visitor: V,
        ) -> Result<V::Value, $error> {
            self.deserialize_unit(visitor)
        }
    };
    (@present_as_some $error:ty) => {
        fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, $error> {
            visitor.visit_some(self)
        }
    };
}

/// Implements the extractor of an [`Input`] that reads the head.
macro_rules! from_head {
    ($name:ident) => {
        impl<S: Sync, T: DeserializeOwned + Send> FromRequestParts<S> for $name<T> {
            type Rejection = Error;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
                Self::parse(&Self::find((&*parts).into())?)
            }
        }
    };
}
use from_head;

mod body;
#[cfg(any(feature = "form", feature = "query"))]
mod bracket_syntax;
mod budget;
mod by_field;
mod check;
mod client_addr;
mod client_certificate;
mod client_uri;
#[cfg(feature = "multipart")]
mod content_disposition;
#[cfg(feature = "cookies")]
#[cfg_attr(docsrs, doc(cfg(feature = "cookies")))]
pub mod cookies;
mod failure;
mod field_error;
pub mod fields;
#[cfg(feature = "form")]
mod form;
#[cfg(any(feature = "form", feature = "query"))]
mod form_data;
pub(crate) mod input;
mod input_error;
#[cfg(feature = "json")]
mod json;
#[cfg(all(feature = "form", feature = "json"))]
mod json_or_form;
mod matched_path;
mod media_type;
#[cfg(feature = "multipart")]
mod multipart;
mod objects;
#[cfg(feature = "fields")]
pub(crate) mod off_thread;
mod param;
#[cfg(feature = "query")]
mod params;
mod path;
#[cfg(feature = "query")]
mod query;
mod rest_path;
#[cfg(feature = "form")]
mod submitted;
#[cfg(test)]
#[cfg(all(feature = "form", feature = "json", feature = "query"))]
mod tests;
mod text;
#[cfg(feature = "json")]
mod text_as_json;
mod typed_input;
mod unchecked;
mod violation;

pub use axum_core::extract::{FromRequest, FromRequestParts};

pub use self::body::{MaxBody, read_body};
#[cfg(any(feature = "form", feature = "query"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "form", feature = "query"))))]
pub use self::bracket_syntax::BracketSyntax;
pub use self::by_field::ByField;
#[doc(hidden)]
pub use self::check::check_result;
pub use self::check::{check, check_parsed};
pub use self::client_addr::{
    ClientAddr, ForwardedHeader, Network, PeerAddr, TrustedProxies, TrustedProxiesError,
};
pub use self::client_certificate::ClientCertificate;
pub use self::client_uri::ClientUri;
#[cfg(feature = "cookies")]
#[cfg_attr(docsrs, doc(cfg(feature = "cookies")))]
pub use self::cookies::Cookies;
pub use self::field_error::{FieldError, Location};
pub use self::fields::{Document, Fields, Shape};
#[cfg(feature = "form")]
#[cfg_attr(docsrs, doc(cfg(feature = "form")))]
pub use self::form::Form;
pub use self::input::{Head, InvalidInput, RawInput};
pub use self::input_error::InputError;
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use self::json::Json;
#[cfg(all(feature = "form", feature = "json"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "form", feature = "json"))))]
pub use self::json_or_form::JsonOrForm;
pub use self::matched_path::MatchedPath;
#[cfg(feature = "multipart")]
#[cfg_attr(docsrs, doc(cfg(feature = "multipart")))]
pub use self::multipart::{Multipart, MultipartLimits, Part};
#[cfg(feature = "query")]
#[cfg_attr(docsrs, doc(cfg(feature = "query")))]
pub use self::params::Params;
pub use self::path::Path;
#[cfg(feature = "query")]
#[cfg_attr(docsrs, doc(cfg(feature = "query")))]
pub use self::query::Query;
pub use self::rest_path::RestPath;
#[cfg(feature = "form")]
#[cfg_attr(docsrs, doc(cfg(feature = "form")))]
pub use self::submitted::Submitted;
pub use self::text::{Binary, Text};
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use self::text_as_json::TextAsJson;
pub use self::typed_input::{BodyInput, HeadInput, Input};
pub use self::unchecked::Unchecked;
pub use self::violation::{FieldStep, Violation};
