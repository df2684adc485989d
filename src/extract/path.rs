//! The parameters of a path.

use std::borrow::Cow;
use std::fmt;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::StatusCode;
use http::request::Parts;
use serde_core::de::value::{CowStrDeserializer, StrDeserializer};
use serde_core::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde_core::forward_to_deserialize_any;

use crate::extract::fields::Unreadable;
use crate::extract::input::{Head, HeadInput, Input, RawInput, RawKind};
use crate::extract::{Document, FieldError, Location};
use crate::route::decode::decode_value;
use crate::route::routes::Matched;
use crate::{Error, Request};

/// Data from the parameters of the matched path, percent-decoded.
///
/// | `T` | reads |
/// | --- | --- |
/// | a number, a text, an enum, .. | the only parameter |
/// | a tuple | the parameters in the order of the pattern, as many as it has |
/// | a struct, a map | the parameters by name |
///
/// A catch-all such as `{*rest}` is a text, or, as a `Vec`, the list of its segments, in which an encoded slash (`%2F`) stays inside of its
/// segment. A slash at the end of the path is in the text, and adds no item to the list.
///
/// `Option<Path<T>>` is `None` if the matched path has no parameters: an optional catch-all, for a handler on `/docs` and on `/docs/{*path}`.
///
/// An invalid value is a 400 with the name of the parameter. A type that does not fit the pattern is a mistake in the program: a 500 whose
/// reason is logged.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::{Chain, Path};
///
/// #[derive(Deserialize)]
/// struct Post {
///     user: u64,
///     slug: String,
/// }
///
/// let chain = Chain::new()
///     .at("/users/{id}", |c| c.get(async |Path(id): Path<u64>| id.to_string()))
///     .at("/users/{user}/posts/{slug}", |c| c.get(async |Path(post): Path<Post>| post.slug))
///     .at("/diff/{a}/{b}", |c| c.get(async |Path((a, b)): Path<(u32, u32)>| a.abs_diff(b).to_string()))
///     .at("/files/{*path}", |c| c.get(async |Path(path): Path<Vec<String>>| path.join(" > ")));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<T>(pub T);

super::transparent!(Path);

impl<T: DeserializeOwned + Send> Input for Path<T> {
    super::data_of!(T);
    const LOCATION: Location = Location::Path;

    async fn read(req: &mut Request) -> Result<RawInput, Error> {
        Self::find((&*req).into())
    }

    fn parse(source: &RawInput) -> Result<Self, Error> {
        match &source.kind {
            RawKind::Path(matched) => read(matched, source).map(Self),
            _ => Err(no_path()),
        }
    }

    fn document(source: &RawInput) -> Option<Document<'_>> {
        match &source.kind {
            RawKind::Path(matched) => Some(Document::path(matched)),
            _ => None,
        }
    }
}

impl<T: DeserializeOwned + Send> HeadInput for Path<T> {
    fn find(head: Head<'_>) -> Result<RawInput, Error> {
        let matched = head.extensions.get::<Matched>().ok_or_else(no_path)?;
        Ok(RawInput::path(matched.clone()).under(head))
    }
}

super::from_head!(Path);

impl<S: Sync, T: DeserializeOwned + Send> OptionalFromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        match parts.extensions.get::<Matched>() {
            Some(matched) if matched.raw_params().next().is_some() => {
                Self::parse(&Self::find((&*parts).into())?).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn no_path() -> Error {
    Error::internal("`Path` stands in a handler that answers on any path")
}

fn read<T: DeserializeOwned>(matched: &Matched, source: &RawInput) -> Result<T, Error> {
    T::deserialize(PathParams { matched }).map_err(|failed| match failed {
        Failed::Value { name, code, detail } => {
            let mut error = FieldError::new(Location::Path, code, detail);
            if let Some(name) = name {
                error = error.at(name);
            }
            source.refuse(
                StatusCode::BAD_REQUEST,
                "A parameter of the path is not valid",
                vec![error],
            )
        }
        Failed::Shape(reason) => Error::internal(format!(
            "`Path<{}>` doesn't fit the pattern `{}`: {reason}",
            std::any::type_name::<T>(),
            matched.pattern()
        )),
    })
}

/// Why a parameter or the type as a whole failed.
#[derive(Debug)]
#[doc(hidden)]
pub enum Failed {
    /// The client's mistake.
    Value { name: Option<String>, code: &'static str, detail: &'static str },
    /// The program's mistake.
    Shape(String),
}

impl Failed {
    fn kind(detail: &'static str) -> Self {
        Self::Value { name: None, code: "type", detail }
    }

    fn named(self, of: &str) -> Self {
        match self {
            Self::Value { name: None, code, detail } => {
                Self::Value { name: Some(of.to_owned()), code, detail }
            }
            other => other,
        }
    }
}

impl de::Error for Failed {
    /// The message may quote the value, and is dropped.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Value { name: None, code: "invalid", detail: "Is not valid" }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Shape(format!("it has no parameter `{field}`"))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Shape(format!("the type takes {expected:?} alone"))
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::Value {
            name: None,
            code: "choice",
            detail: "Is not one of the values that are possible here",
        }
    }

    fn invalid_length(len: usize, expected: &dyn de::Expected) -> Self {
        Self::Shape(format!("{len} values where {expected} is expected"))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { detail, .. } => f.write_str(detail),
            Self::Shape(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Failed {}

impl From<Failed> for Unreadable {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Value { code, detail, .. } => Self::new(code, detail),
            Failed::Shape(_) => Self::new("invalid", "Is not valid"),
        }
    }
}

/// All parameters.
struct PathParams<'de> {
    matched: &'de Matched,
}

impl<'de> PathParams<'de> {
    fn all(&self) -> impl Iterator<Item = Param<'de>> + use<'de> {
        self.matched.raw_params().map(|(name, raw)| Param { name, raw })
    }

    fn only(&self) -> Result<Param<'de>, Failed> {
        let mut params = self.all();
        match (params.next(), params.next()) {
            (Some(param), None) => Ok(param),
            _ => Err(Failed::Shape("it has not exactly one parameter".to_owned())),
        }
    }

    fn fixed<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failed> {
        let count = self.all().count();
        if count != len {
            return Err(Failed::Shape(format!(
                "it has {count} parameters, and the type takes {len}"
            )));
        }
        visitor.visit_seq(Items(self.all()))
    }

    fn named<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_map(PathMembers { params: self.all(), value: None })
    }
}

macro_rules! of_the_only_one {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            let param = self.only()?;
            param.$method(visitor).map_err(|failed| failed.named(param.name))
        }
    )*};
}

impl<'de> Deserializer<'de> for PathParams<'de> {
    type Error = Failed;

    of_the_only_one! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.named(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.named(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.named(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.fixed(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.fixed(len, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        match self.only() {
            Ok(param) => param.deserialize_seq(visitor).map_err(|failed| failed.named(param.name)),
            Err(_) => visitor.visit_seq(Items(self.all())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        let param = self.only()?;
        param.deserialize_enum(name, variants, visitor).map_err(|failed| failed.named(param.name))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }
}

/// One parameter: its name, and its value with slashes inside it still encoded.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Param<'de> {
    pub(crate) name: &'de str,
    pub(crate) raw: &'de str,
}

/// Leaves out the submitted data.
impl fmt::Debug for Param<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Param").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'de> Param<'de> {
    /// The segments: more than one only in a catch-all.
    pub(crate) fn segments(self) -> impl Iterator<Item = Self> {
        // A slash at the end of the path does not change the path.
        let raw = self.raw.strip_suffix('/').unwrap_or(self.raw);
        let segments = raw.split('/').filter(move |_| !self.raw.is_empty());
        segments.map(move |raw| Self { name: self.name, raw })
    }

    fn text(self) -> Cow<'de, str> {
        decode_value(self.raw)
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $kind:ty, $detail:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            let text = self.text();
            // Rust accepts a plus sign before a number. A path with one is a different path.
            match text.parse::<$kind>() {
                Ok(value) if !text.starts_with('+') => visitor.$visit(value),
                _ => Err(Failed::kind($detail)),
            }
        }
    )*};
}

macro_rules! parsed_finite {
    ($($method:ident $visit:ident $kind:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            let text = self.text();
            match text.parse::<$kind>() {
                // NaN would pass range checks.
                Ok(value) if value.is_finite() && !text.starts_with('+') => visitor.$visit(value),
                _ => Err(Failed::kind("Must be a number")),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Param<'de> {
    type Error = Failed;

    parsed! {
        deserialize_bool visit_bool bool, "Must be true or false";
        deserialize_i8 visit_i8 i8, "Must be a whole number in range";
        deserialize_i16 visit_i16 i16, "Must be a whole number in range";
        deserialize_i32 visit_i32 i32, "Must be a whole number in range";
        deserialize_i64 visit_i64 i64, "Must be a whole number in range";
        deserialize_i128 visit_i128 i128, "Must be a whole number in range";
        deserialize_u8 visit_u8 u8, "Must be a whole number of at least 0, in range";
        deserialize_u16 visit_u16 u16, "Must be a whole number of at least 0, in range";
        deserialize_u32 visit_u32 u32, "Must be a whole number of at least 0, in range";
        deserialize_u64 visit_u64 u64, "Must be a whole number of at least 0, in range";
        deserialize_u128 visit_u128 u128, "Must be a whole number of at least 0, in range";
    }

    parsed_finite! {
        deserialize_f32 visit_f32 f32;
        deserialize_f64 visit_f64 f64;
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        let text = self.text();
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => visitor.visit_char(c),
            _ => Err(Failed::kind("Must be a single character")),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        match self.text() {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        match self.text() {
            Cow::Borrowed(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
            Cow::Owned(text) => visitor.visit_byte_buf(text.into_bytes()),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_seq(Items(self.segments()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failed> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_enum(PathVariant(self.text()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failed> {
        Err(Failed::Shape(format!("the parameter `{}` is no map", self.name)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Failed> {
        Err(Failed::Shape(format!("the parameter `{}` is no struct `{name}`", self.name)))
    }

    forward_to_deserialize_any! { str string identifier unit unit_struct ignored_any }
}

/// A variant without fields.
struct PathVariant<'de>(Cow<'de, str>);

impl<'de> EnumAccess<'de> for PathVariant<'de> {
    type Error = Failed;
    type Variant = UnitOnly;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, UnitOnly), Failed> {
        let text: CowStrDeserializer<'de, Failed> = self.0.into_deserializer();
        Ok((seed.deserialize(text)?, UnitOnly))
    }
}

struct UnitOnly;

impl UnitOnly {
    fn refuse<T>() -> Result<T, Failed> {
        Err(Failed::Shape("a variant with fields can't be read from a path".to_owned()))
    }
}

impl<'de> VariantAccess<'de> for UnitOnly {
    type Error = Failed;

    fn unit_variant(self) -> Result<(), Failed> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Failed> {
        Self::refuse()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Failed> {
        Self::refuse()
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Failed> {
        Self::refuse()
    }
}

/// Parameters, or segments of one, by position.
struct Items<I>(I);

impl<'de, I: Iterator<Item = Param<'de>>> SeqAccess<'de> for Items<I> {
    type Error = Failed;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failed> {
        let Some(param) = self.0.next() else { return Ok(None) };
        seed.deserialize(param).map(Some).map_err(|failed| failed.named(param.name))
    }
}

/// Parameters by name.
struct PathMembers<'de, I> {
    params: I,
    value: Option<Param<'de>>,
}

impl<'de, I: Iterator<Item = Param<'de>>> MapAccess<'de> for PathMembers<'de, I> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failed> {
        self.value = self.params.next();
        let Some(param) = self.value else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(param.name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failed> {
        let Some(param) = self.value.take() else {
            return Err(Failed::Shape("a value was asked for without its name".to_owned()));
        };
        seed.deserialize(param).map_err(|failed| failed.named(param.name))
    }
}
