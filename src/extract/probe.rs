//! Finds the wire names of a type's fields through its `Deserialize` implementation.

use std::fmt;

use serde_core::de::value::StrDeserializer;
use serde_core::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde_core::forward_to_deserialize_any;

/// The names of the fields at `path` inside `T`, in the order of the type and with aliases, if there is a struct without flattened fields.
pub(crate) fn fields<'de, T: Deserialize<'de>>(path: &[&str]) -> Option<&'static [&'static str]> {
    match names::<T>(path) {
        FieldNames::Of(fields) => Some(fields),
        _ => None,
    }
}

/// Whether the client chooses, or may choose, the names at `path` inside `T`.
pub(crate) fn has_free_names<'de, T: Deserialize<'de>>(path: &[&str]) -> bool {
    match names::<T>(path) {
        FieldNames::Of(_) | FieldNames::Flattened => false,
        FieldNames::Free => true,
        // An enum without a name around it, for instance.
        FieldNames::Unknown => !path.is_empty(),
    }
}

/// The names at `path` inside `T`.
pub(crate) fn names<'de, T: Deserialize<'de>>(path: &[&str]) -> FieldNames {
    T::deserialize(Probe { path }).err().unwrap_or(FieldNames::Unknown)
}

/// The names at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldNames {
    Of(&'static [&'static str]),
    /// Those of a struct with flattened fields, which does not report them.
    Flattened,
    /// Any name: it is a map.
    Free,
    Unknown,
}

/// Follows its path, and at the end fails with the names as the error: nothing is ever deserialized.
struct Probe<'p> {
    path: &'p [&'p str],
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = FieldNames;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, FieldNames> {
        Err(FieldNames::Unknown)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldNames> {
        match self.path {
            [] => Err(FieldNames::Of(fields)),
            [step, ..] if fields.contains(step) => visitor.visit_map(One(Some(self.path))),
            _ => Err(FieldNames::Unknown),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldNames> {
        match self.path {
            // A struct with flattened fields is read as a map, but its visitor says `struct`.
            [] if (&visitor as &dyn Expected).to_string().starts_with("struct ") => {
                Err(FieldNames::Flattened)
            }
            [] => Err(FieldNames::Free),
            path => visitor.visit_map(One(Some(path))),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldNames> {
        match self.path {
            [] => Err(FieldNames::Unknown),
            path => visitor.visit_seq(One(Some(path))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldNames> {
        match self.path {
            [variant, path @ ..] if variants.contains(variant) => {
                visitor.visit_enum(ProbedVariant { variant, path })
            }
            _ => Err(FieldNames::Unknown),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldNames> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldNames> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// A map or list with only the member or item on the path.
struct One<'p>(Option<&'p [&'p str]>);

impl<'de> MapAccess<'de> for One<'_> {
    type Error = FieldNames;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, FieldNames> {
        match self.0 {
            Some([step, ..]) => seed.deserialize(StrDeserializer::new(step)).map(Some),
            _ => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, FieldNames> {
        match self.0.take() {
            Some([_, path @ ..]) => seed.deserialize(Probe { path }),
            _ => Err(FieldNames::Unknown),
        }
    }
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = FieldNames;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, FieldNames> {
        match self.0.take() {
            Some([_, path @ ..]) => seed.deserialize(Probe { path }).map(Some),
            _ => Ok(None),
        }
    }
}

/// An enum with the variant on the path.
struct ProbedVariant<'p> {
    variant: &'p str,
    path: &'p [&'p str],
}

impl<'de, 'p> EnumAccess<'de> for ProbedVariant<'p> {
    type Error = FieldNames;
    type Variant = Probe<'p>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Probe<'p>), FieldNames> {
        let variant = seed.deserialize(StrDeserializer::new(self.variant))?;
        Ok((variant, Probe { path: self.path }))
    }
}

impl<'de> VariantAccess<'de> for Probe<'_> {
    type Error = FieldNames;

    fn unit_variant(self) -> Result<(), FieldNames> {
        Err(FieldNames::Unknown)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, FieldNames> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, FieldNames> {
        Err(FieldNames::Unknown)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldNames> {
        self.deserialize_struct("", fields, visitor)
    }
}

impl de::Error for FieldNames {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Unknown
    }
}

impl fmt::Display for FieldNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("probe")
    }
}

impl std::error::Error for FieldNames {}
