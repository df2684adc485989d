//! Reads one value of a document.

use serde_core::de::{DeserializeOwned, Deserializer, Visitor};
use serde_core::forward_to_deserialize_any;

use crate::extract::budget::Budget;
use crate::extract::fields::document::{Tree, Unreadable};
use crate::extract::objects::Objects;

/// The deserializer that a value is read from.
#[doc(hidden)]
pub type Reader<'t> = Objects<'t, &'t Tree<'t>>;

/// Reads a value, and drops it.
#[doc(hidden)]
pub fn read<T: DeserializeOwned>(tree: &Tree<'_>) -> Result<(), Unreadable> {
    T::deserialize(Objects::new(tree, &Budget::unlimited())).map(drop)
}

/// Reads a value with a function, such as that of `deserialize_with`.
#[doc(hidden)]
pub fn read_with<T>(
    tree: &Tree<'_>,
    read: impl for<'t> FnOnce(Reader<'t>) -> Result<T, Unreadable>,
) -> Result<(), Unreadable> {
    read(Objects::new(tree, &Budget::unlimited())).map(drop)
}

/// Whether serde reads a missing member as a value, such as `None`.
#[doc(hidden)]
pub fn may_be_missing<T: DeserializeOwned>() -> bool {
    struct Missing;

    impl<'de> Deserializer<'de> for Missing {
        type Error = Unreadable;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unreadable> {
            Err(missing())
        }

        fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
            visitor.visit_none()
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
            newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }

    T::deserialize(Missing).is_ok()
}

/// The error of a member that is not there.
pub(super) fn missing() -> Unreadable {
    Unreadable::new("missing", "Is missing")
}
