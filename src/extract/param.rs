//! One parameter of a path, as a value.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde_core::de::value::CowStrDeserializer;
use serde_core::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess,
    Visitor,
};
use serde_core::forward_to_deserialize_any;

use crate::extract::InputError;
use crate::extract::failure::{BUFFERED, describe, is_buffered_text, must_be_one_of, not_finite};
use crate::route::decode::decode_value;

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

    fn parse<T: FromStr<Err: fmt::Display>>(self) -> Result<T, Failed> {
        let text = self.text();
        match text.parse() {
            // Rust accepts a plus sign before a number. A path with one is a different path.
            Ok(_) if text.starts_with('+') => Err(Failed::kind("Must be without a plus sign")),
            parsed => parsed.map_err(de::Error::custom),
        }
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $kind:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            visitor.$visit(self.parse::<$kind>()?)
        }
    )*};
}

macro_rules! parsed_finite {
    ($($method:ident $visit:ident $kind:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            let number: $kind = self.parse()?;
            match number.is_finite() {
                true => visitor.$visit(number),
                // NaN would pass range checks.
                false => Err(not_finite(&self.text())),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Param<'de> {
    type Error = Failed;

    read_as! { Failed: newtype_as_its_content tuple_as_list present_as_some }

    parsed! {
        deserialize_bool visit_bool bool;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
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
        let mut segments = self.segments();
        let list = visitor.visit_seq(Items(&mut segments))?;
        // A tuple takes as many as it has items.
        match segments.count() {
            0 => Ok(list),
            more => Err(Failed::Length { name: None, reason: format!("{more} values more") }),
        }
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
pub(crate) struct Items<I>(pub(crate) I);

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

/// Why a parameter or the type as a whole failed.
#[derive(Debug)]
#[doc(hidden)]
pub enum Failed {
    /// The client's mistake.
    Value { name: Option<String>, code: Cow<'static, str>, detail: Cow<'static, str> },
    /// A list has another length than the type. It is the client's mistake only if a catch-all has the items.
    Length { name: Option<String>, reason: String },
    /// The program's mistake.
    Shape(String),
}

impl Failed {
    pub(crate) fn kind(detail: &'static str) -> Self {
        Self::value("type", detail)
    }

    fn value(code: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Value { name: None, code: code.into(), detail: detail.into() }
    }

    pub(crate) fn named(mut self, of: &str) -> Self {
        if let Self::Value { name, .. } | Self::Length { name, .. } = &mut self {
            name.get_or_insert_with(|| of.to_owned());
        }
        self
    }
}

impl de::Error for Failed {
    /// The message may quote the value. Only the parts that describe the type are used.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        if let Some((code, detail)) = InputError::in_message(&message) {
            return Self::value(code, detail);
        }
        let (code, detail, _) = describe(&message);
        Self::value(code, detail)
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match is_buffered_text(unexpected, expected) {
            true => Self::Shape(BUFFERED.to_owned()),
            false => Self::custom(format_args!("invalid type: {unexpected}, expected {expected}")),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Shape(format!("it has no parameter `{field}`"))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Shape(format!("the type takes {expected:?} alone"))
    }

    fn unknown_variant(_: &str, choices: &'static [&'static str]) -> Self {
        Self::value("choice", must_be_one_of(choices))
    }

    fn invalid_length(len: usize, expected: &dyn de::Expected) -> Self {
        let reason = format!("{len} values where {expected} is expected");
        Self::Length { name: None, reason }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { detail, .. } => f.write_str(detail),
            Self::Length { reason, .. } | Self::Shape(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Failed {}
