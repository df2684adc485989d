//! Which fields a type has on the wire, asked of its `Deserialize` alone.

use std::fmt;

use serde_core::de::value::StrDeserializer;
use serde_core::de::{
    self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
};
use serde_core::forward_to_deserialize_any;

/// The names of the fields at `path` inside `T`, in the order of the type, if a struct without flattened fields stands there.
/// Aliases are among them.
pub(crate) fn fields<'de, T: Deserialize<'de>>(path: &[&str]) -> Option<&'static [&'static str]> {
    match T::deserialize(Probe { path }) {
        Err(Seen::Struct(fields)) => Some(fields),
        _ => None,
    }
}

/// Leads to the end of its path, and fails there with what is asked for.
struct Probe<'p> {
    path: &'p [&'p str],
}

#[derive(Debug)]
enum Seen {
    Struct(&'static [&'static str]),
    Other,
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Seen;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        Err(Seen::Other)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Seen> {
        match self.path {
            [] => Err(Seen::Struct(fields)),
            [step, ..] if fields.contains(step) => visitor.visit_map(One(Some(self.path))),
            _ => Err(Seen::Other),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        match self.path {
            [] => Err(Seen::Other),
            path => visitor.visit_map(One(Some(path))),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        match self.path {
            [] => Err(Seen::Other),
            path => visitor.visit_seq(One(Some(path))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Seen> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

/// The one member, or item, on the path.
struct One<'p>(Option<&'p [&'p str]>);

impl<'de> MapAccess<'de> for One<'_> {
    type Error = Seen;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Seen> {
        match self.0 {
            Some([step, ..]) => seed.deserialize(StrDeserializer::new(step)).map(Some),
            _ => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Seen> {
        match self.0.take() {
            Some([_, path @ ..]) => seed.deserialize(Probe { path }),
            _ => Err(Seen::Other),
        }
    }
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Seen;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Seen> {
        match self.0.take() {
            Some([_, path @ ..]) => seed.deserialize(Probe { path }).map(Some),
            _ => Ok(None),
        }
    }
}

impl de::Error for Seen {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("probe")
    }
}

impl std::error::Error for Seen {}
