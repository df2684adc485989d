//! Names with brackets that a type would ignore.

use std::fmt;

use serde_core::de::{self, DeserializeOwned, Deserializer, Expected, Visitor};
use serde_core::forward_to_deserialize_any;

/// A name in brackets that a type would ignore, although its text may be one of its fields.
pub(super) enum Ignored {
    Field(&'static str),
    /// The type does not report its fields.
    Unknown,
}

/// The names that a `T` has at its root.
pub(super) fn at_root<T: DeserializeOwned>() -> Option<RootNames> {
    T::deserialize(Root).err()
}

/// The first of `names` that a type with these names at its root would ignore.
pub(super) fn ignored<'n>(
    known: RootNames,
    names: impl Iterator<Item = &'n str>,
) -> Option<Ignored> {
    let mut bases = names.filter(|name| name.ends_with(']')).filter_map(|name| {
        let (base, _) = name.split_once('[')?;
        (!base.is_empty()).then_some((name, base))
    });
    match known {
        RootNames::Any => None,
        RootNames::Unknown => bases.next().map(|_| Ignored::Unknown),
        RootNames::Fields(fields) => {
            let declared = |name: &str| fields.iter().find(|field| **field == name);
            let ignored = |(name, base)| match declared(name) {
                Some(_) => None,
                None => declared(base),
            };
            bases.find_map(ignored).map(|field| Ignored::Field(field))
        }
    }
}

/// Fails with the names that a type has at its root.
struct Root;

/// The names that a type has at its root.
#[derive(Debug)]
pub(super) enum RootNames {
    Fields(&'static [&'static str]),
    /// It takes every name, as a map does.
    Any,
    /// It has flattened fields, or is an enum without a name around it.
    Unknown,
}

impl<'de> Deserializer<'de> for Root {
    type Error = RootNames;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RootNames> {
        let expected = (&visitor as &dyn Expected).to_string();
        Err(match &*expected {
            "a map" | "any valid JSON value" => RootNames::Any,
            _ => RootNames::Unknown,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, RootNames> {
        Err(RootNames::Fields(fields))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, RootNames> {
        Err(RootNames::Any)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, RootNames> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RootNames> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct map enum identifier ignored_any
    }
}

impl de::Error for RootNames {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Unknown
    }
}

impl fmt::Display for RootNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the names of a type")
    }
}

impl std::error::Error for RootNames {}
