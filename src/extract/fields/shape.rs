//! The description of a type that [`Fields`] returns.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

use serde_core::de::DeserializeOwned;

use crate::extract::fields::Fields;
use crate::extract::fields::document::{Tree, Unreadable};
use crate::extract::fields::read::read;

/// How a type is read: its fields, or those of the types that it consists of.
pub enum Shape {
    /// A value without fields, or whose fields are not known.
    #[doc(hidden)]
    Value { read: Read },
    #[doc(hidden)]
    Struct(Struct),
    #[doc(hidden)]
    List { item: ShapeOf, inside: Inside, len: Option<usize> },
    /// A list without positions.
    #[doc(hidden)]
    Set { item: ShapeOf },
    #[doc(hidden)]
    Map { value: ShapeOf, inside: Inside, positions: Positions, is_key: fn(&str) -> bool },
    #[doc(hidden)]
    Tuple { items: &'static [ShapeOf], required: usize, inside: Inside, rules: Rules },
    #[doc(hidden)]
    Option { some: ShapeOf, inside: Inside },
    /// A type that is read as another one: a box, a newtype, a transparent struct. The paths of rules have `step` for its field, and the wire has none.
    #[doc(hidden)]
    Same { inner: ShapeOf, inside: Inside, step: Option<&'static str>, rules: Rules },
    /// A type that is made from another one.
    #[doc(hidden)]
    Via { inner: ShapeOf, read: Read },
    #[doc(hidden)]
    Enum(Enum),
}

/// The functions are pointers because types may contain themselves.
pub(crate) type ShapeOf = fn() -> &'static Shape;
/// Reads a value, and drops it.
pub(crate) type Read = fn(&Tree<'_>) -> Result<(), Unreadable>;
/// The item of a value at an index. A box, an option and a newtype have one.
pub(crate) type Inside = fn(&dyn Any, usize) -> Option<&dyn Any>;
/// The positions of keys, as the client writes them, in the order of iteration of a map.
pub(crate) type Positions = fn(&dyn Any, &[&str]) -> Vec<Option<usize>>;
/// The rules that no schema can express, in words.
pub(crate) type Rules = &'static [&'static str];
/// The value of a field.
pub(crate) type Get = fn(&dyn Any) -> Option<&dyn Any>;

#[doc(hidden)]
#[derive(Debug)]
pub struct Struct {
    pub fields: &'static [Field],
    pub deny_unknown: bool,
    /// The members that serde accepts without a field.
    pub tags: &'static [&'static str],
    pub rules: Rules,
}

/// A field of a struct.
pub struct Field {
    #[doc(hidden)]
    pub rust: &'static str,
    /// The name on the wire, and its aliases.
    #[doc(hidden)]
    pub names: &'static [&'static str],
    #[doc(hidden)]
    pub flatten: bool,
    #[doc(hidden)]
    pub may_be_missing: fn() -> bool,
    #[doc(hidden)]
    pub shape: ShapeOf,
    #[doc(hidden)]
    pub get: Get,
    #[doc(hidden)]
    pub rules: Rules,
}

#[doc(hidden)]
#[derive(Debug)]
pub struct Enum {
    pub tag: Tag,
    pub variants: &'static [Variant],
    pub read: Read,
    pub rules: Rules,
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Tag {
    External,
    Internal(&'static str),
    Adjacent(&'static str, &'static str),
    Untagged,
}

#[doc(hidden)]
#[derive(Debug)]
pub struct Variant {
    pub names: &'static [&'static str],
    pub content: Content,
    pub is_other: bool,
    pub is_untagged: bool,
}

#[doc(hidden)]
#[derive(Debug)]
pub enum Content {
    Unit,
    /// Whether the paths of rules have a step for the field.
    Newtype(ShapeOf, Get, bool),
    /// The items, and how many of them must be there.
    Tuple(&'static [ShapeOf], usize),
    Struct(Struct),
}

impl Variant {
    /// Whether its content may be missing.
    pub(crate) fn may_be_empty(&self) -> bool {
        match &self.content {
            Content::Unit => true,
            Content::Newtype(inner, ..) => matches!(inner(), Shape::Option { .. }),
            Content::Tuple(..) | Content::Struct(_) => false,
        }
    }

    /// Whether the data is this variant; not known of a variant without fields that are read.
    pub(crate) fn is_of(&self, data: &dyn Any) -> bool {
        match &self.content {
            Content::Newtype(_, get, _) => get(data).is_some(),
            Content::Struct(found) => found.fields.iter().any(|field| (field.get)(data).is_some()),
            Content::Unit | Content::Tuple(..) => false,
        }
    }
}

impl Shape {
    /// The fields of a struct; none for other types.
    pub fn fields(&self) -> &'static [Field] {
        match self.unwrapped() {
            Self::Struct(found) => found.fields,
            _ => &[],
        }
    }

    /// The type inside options, boxes and newtypes. A type that contains nothing but itself, as `struct A(Option<Box<A>>)`, stays one of
    /// these.
    pub(crate) fn unwrapped(&self) -> &Self {
        let mut shape = self;
        for _ in 0..MAX_WRAPPERS {
            match shape {
                Self::Option { some: inner, .. }
                | Self::Same { inner, .. }
                | Self::Via { inner, .. } => shape = inner(),
                _ => break,
            }
        }
        shape
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shape").field("fields", &self.fields()).finish_non_exhaustive()
    }
}

impl Field {
    #[doc(hidden)]
    pub const fn skipped(rust: &'static str) -> Self {
        Self {
            rust,
            names: &[],
            flatten: false,
            may_be_missing: || true,
            shape: || const { &Shape::Value { read: |_| Ok(()) } },
            get: |_| None,
            rules: &[],
        }
    }

    /// The Rust name.
    pub fn name(&self) -> &'static str {
        self.rust
    }

    /// The name on the wire; `None` if the field is skipped or flattened.
    pub fn wire_name(&self) -> Option<&'static str> {
        self.wire_names().first().copied()
    }

    /// The name on the wire, followed by its aliases.
    pub fn wire_names(&self) -> &'static [&'static str] {
        if self.flatten { &[] } else { self.names }
    }

    /// Whether the fields of this field are members of the object around it.
    pub fn is_flattened(&self) -> bool {
        self.flatten
    }

    /// Whether the input must contain the field.
    pub fn is_required(&self) -> bool {
        !(self.may_be_missing)()
    }

    /// The fields of the field's type.
    pub fn shape(&self) -> &'static Shape {
        (self.shape)()
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field")
            .field("name", &self.rust)
            .field("wire_names", &self.wire_names())
            .field("is_flattened", &self.flatten)
            .field("is_required", &self.is_required())
            .finish_non_exhaustive()
    }
}

/// Selects the shape of a field's type, when the type is known: method calls prefer [`ViaFields`].
#[doc(hidden)]
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T> Probe<T> {
    #[allow(clippy::new_without_default, reason = "only the derive macro writes it")]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

#[doc(hidden)]
pub trait ViaFields {
    fn shape(&self) -> &'static Shape;

    fn shape_or(&self, _: &'static Shape) -> &'static Shape {
        self.shape()
    }
}

impl<T: Fields> ViaFields for Probe<T> {
    fn shape(&self) -> &'static Shape {
        T::shape()
    }
}

#[doc(hidden)]
pub trait ViaSerde {
    fn shape(&self) -> &'static Shape;
}

impl<T: DeserializeOwned + 'static> ViaSerde for &Probe<T> {
    fn shape(&self) -> &'static Shape {
        const { &Shape::Value { read: read::<T> } }
    }
}

#[doc(hidden)]
pub trait ViaFallback {
    fn shape_or(&self, other: &'static Shape) -> &'static Shape;
}

impl<T> ViaFallback for &Probe<T> {
    fn shape_or(&self, other: &'static Shape) -> &'static Shape {
        other
    }
}

/// Calls `get`, whose type a closure has from here.
#[doc(hidden)]
pub fn got(get: Get, data: &dyn Any) -> Option<&dyn Any> {
    get(data)
}

/// How many options, boxes and newtypes are entered.
pub(crate) const MAX_WRAPPERS: usize = 64;
