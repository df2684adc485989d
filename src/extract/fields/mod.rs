//! The fields of a type: the names that a client uses for them, and how each one is read alone.
//!
//! No validation engine knows wire names, and serde does not report which wire name belongs to which field.
//! [`#[derive(Fields)]`](trait@crate::Fields) reports both, from the attributes of serde. [`ByField<E>`](crate::extract::ByField) uses them.

pub(super) mod document;
mod impls;
#[cfg(any(feature = "form", feature = "query"))]
pub(super) mod named;
pub(super) mod names;
mod read;
pub(super) mod reader;
pub(super) mod shape;
mod stand_in;
#[cfg(test)]
#[cfg(all(feature = "fields", feature = "form", feature = "json", feature = "validate"))]
mod tests;

pub use self::document::Document;
#[doc(hidden)]
pub use self::reader::Partial;
pub use self::shape::{Field, Shape};

/// A type that reports its fields: the Rust name and the wire names of each, whether it is required, and how it is read.
///
/// Derive it beside `Deserialize`. It honours the attributes of serde: `rename`, `rename_all`, `rename_all_fields`, `alias`, `default`, `skip`,
/// `borrow`, `flatten`, `transparent`, `tag`, `content`, `untagged`, `other`, `with`, `deserialize_with`, `from`, `try_from`, `remote` and
/// `deny_unknown_fields`. A field whose type does not implement `Fields` is read as one value: an error in it is reported, but not all of them.
/// `#[fields(value)]` does the same for a type that implements it, and for a type parameter.
///
/// [`ByField`](crate::extract::ByField) shows what it is for.
///
/// # Example
///
/// ```
/// # #[cfg(feature = "fields")] {
/// use serde::Deserialize;
/// use tower_chain::Fields;
///
/// #[derive(Deserialize, Fields)]
/// #[serde(rename_all = "camelCase")]
/// struct NewUser {
///     full_name: String,
///     #[serde(rename = "e-mail", alias = "mail")]
///     email: Option<String>,
/// }
///
/// let fields = NewUser::shape().fields();
/// assert_eq!((fields[0].name(), fields[0].wire_name()), ("full_name", Some("fullName")));
/// assert_eq!(fields[1].wire_names(), ["e-mail", "mail"]);
/// assert!(fields[0].is_required() && !fields[1].is_required());
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not report its fields",
    label = "add `#[derive(tower_chain::Fields)]` to this type",
    note = "a field that is to be read as one value takes `#[fields(value)]`"
)]
pub trait Fields: 'static {
    /// The fields of the type.
    fn shape() -> &'static Shape;
}

/// The items that the derive macro writes.
#[doc(hidden)]
pub mod derived {
    pub use serde_core::de::DeserializeOwned;

    pub use super::read::{Reader, may_be_missing, read, read_with};
    pub use super::shape::{
        Content, Enum, Field, Probe, Shape, Struct, Tag, Variant, ViaFallback, ViaFields, ViaSerde,
        got,
    };
}
