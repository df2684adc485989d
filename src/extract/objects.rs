//! Input for types that serde derives: a struct is an object, a number is finite, and values are counted.
//!
//! A type that serde derives also accepts a list, its fields in their order. No author of a struct intends that, and a field that is added
//! would change the meaning of such a list. Rust reads `NaN`, `inf` and `1e999` as numbers, which pass range checks, and rounds `1e39` to an infinite `f32`.
//! What serde first reads into a buffer of its own is not seen here: the contents of untagged and
//! internally tagged enums, and of flattened fields.

use std::fmt::{self, Write as _};

use serde_core::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

use crate::extract::budget::{Budget, Depth};

/// A deserializer that accepts a struct only as an object, and counts values.
#[doc(hidden)]
#[derive(Debug)]
pub struct Objects<'b, D> {
    value: D,
    depth: Depth<'b>,
}

impl<'b, D> Objects<'b, D> {
    pub(super) fn new(value: D, budget: &'b Budget) -> Self {
        Self { value, depth: Depth::root(budget) }
    }
}

macro_rules! forward {
    ($($method:ident)*) => { $(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.value.$method(visitor)
        }
    )* };
}

macro_rules! forward_inside {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => { $(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $kind,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            self.value.$method($($argument,)* Counting::<V, OTHER> { inner: visitor, depth: self.depth })
        }
    )* };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Objects<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_identifier deserialize_ignored_any
    }

    forward_inside! {
        deserialize_option();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.value.deserialize_f32(Counting::<V, F32> { inner: visitor, depth: self.depth })
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.value.deserialize_f64(Counting::<V, F64> { inner: visitor, depth: self.depth })
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.value.deserialize_any(Counting::<V, ANY> { inner: visitor, depth: self.depth })
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        // serde reads a struct with flattened fields as a map. Its own fields are not known here.
        if self.depth.is_bounded() && expects_struct(&visitor) {
            return self
                .value
                .deserialize_map(Counting::<V, FLATTENED> { inner: visitor, depth: self.depth });
        }
        self.value.deserialize_map(Counting::<V, OTHER> { inner: visitor, depth: self.depth })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.depth.declare(fields);
        self.depth.spend(fields.len())?;
        let visitor = Counting::<V, STRUCT> { inner: visitor, depth: self.depth };
        self.value.deserialize_struct(name, fields, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.value.is_human_readable()
    }
}

/// Whether a visitor expects a struct, as visitors that serde derives report it.
fn expects_struct(visitor: &dyn de::Expected) -> bool {
    /// Compares the first bytes that are written with `struct `, without allocating.
    struct StructPrefix<'p>(&'p [u8]);

    impl fmt::Write for StructPrefix<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let length = self.0.len().min(text.len());
            let (expected, rest) = self.0.split_at(length);
            if text.as_bytes().get(..length) != Some(expected) {
                return Err(fmt::Error);
            }
            self.0 = rest;
            Ok(())
        }
    }

    let mut prefix = StructPrefix(b"struct ");
    write!(prefix, "{visitor}").is_ok() && prefix.0.is_empty()
}

#[cold]
fn not_finite<E: Error>(value: f64) -> E {
    E::invalid_value(Unexpected::Float(value), &"a number in range")
}

/// A visitor, an access or a seed one level further in.
struct Counting<'b, T, const KIND: u8> {
    inner: T,
    depth: Depth<'b>,
}

/// The value is a struct whose fields are known.
const STRUCT: u8 = 1;
/// The value may be of any kind. An object may be a struct, whose fields are not known.
const ANY: u8 = 2;
/// The value is an item of a list.
const ITEM: u8 = 3;
/// The value is a struct with flattened fields, which serde reads as a map.
const FLATTENED: u8 = 4;
/// The value is a number, which must be finite.
const F32: u8 = 5;
const F64: u8 = 6;
const OTHER: u8 = 0;

/// An object whose fields are not known counts as this many fields.
const UNKNOWN_FIELDS: usize = 16;

macro_rules! forward_values {
    ($($method:ident($kind:ty))*) => { $(
        #[inline]
        fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )* };
}

impl<'de, V: Visitor<'de>, const KIND: u8> Visitor<'de> for Counting<'_, V, KIND> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    forward_values! {
        visit_bool(bool)
        visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_char(char)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    #[inline]
    fn visit_f32<E: Error>(self, value: f32) -> Result<V::Value, E> {
        match (KIND == F32 || KIND == F64) && !value.is_finite() {
            true => Err(not_finite(value.into())),
            false => self.inner.visit_f32(value),
        }
    }

    #[inline]
    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        match (KIND == F32 && !(value as f32).is_finite()) || (KIND == F64 && !value.is_finite()) {
            true => Err(not_finite(value)),
            false => self.inner.visit_f64(value),
        }
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Objects { value, depth: self.depth })
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Objects { value, depth: self.depth })
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        if KIND == STRUCT {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        self.inner.visit_seq(Counting::<A, OTHER> { inner: items, depth: self.depth })
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        let depth = match KIND {
            STRUCT => self.depth.inside_struct()?,
            ANY | FLATTENED => {
                self.depth.spend(UNKNOWN_FIELDS)?;
                self.depth.inside_struct()?
            }
            _ => self.depth,
        };
        self.inner.visit_map(Counting::<A, KIND> { inner: members, depth })
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Counting::<A, OTHER> { inner: variant, depth: self.depth })
    }
}

impl<'de, S: DeserializeSeed<'de>, const KIND: u8> DeserializeSeed<'de> for Counting<'_, S, KIND> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<S::Value, D::Error> {
        if KIND == ITEM {
            self.depth.spend(1)?;
        }
        self.inner.deserialize(Objects { value, depth: self.depth })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Counting<'_, A, OTHER> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = Counting::<S, ITEM> { inner: seed, depth: self.depth };
        self.inner.next_element_seed(seed).inspect_err(|_| self.depth.failed_inside(true))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>, const KIND: u8> MapAccess<'de> for Counting<'_, A, KIND> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        if KIND != STRUCT {
            self.depth.spend(1)?;
        }
        let seed = Counting::<S, OTHER> { inner: seed, depth: self.depth };
        let is_declared = KIND == STRUCT || KIND == FLATTENED;
        self.inner.next_value_seed(seed).inspect_err(|_| self.depth.failed_inside(is_declared))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for Counting<'b, A, OTHER> {
    type Error = A::Error;
    type Variant = Counting<'b, A::Variant, OTHER>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (variant, inner) = self.inner.variant_seed(seed)?;
        Ok((variant, Counting { inner, depth: self.depth }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Counting<'_, A, OTHER> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = Counting::<S, OTHER> { inner: seed, depth: self.depth };
        self.inner.newtype_variant_seed(seed).inspect_err(|_| self.depth.failed_inside(true))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = Counting::<V, OTHER> { inner: visitor, depth: self.depth };
        self.inner.tuple_variant(len, visitor).inspect_err(|_| self.depth.failed_inside(true))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.depth.declare(fields);
        self.depth.spend(fields.len())?;
        let visitor = Counting::<V, STRUCT> { inner: visitor, depth: self.depth };
        self.inner.struct_variant(fields, visitor).inspect_err(|_| self.depth.failed_inside(true))
    }
}
