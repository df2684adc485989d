//! The macros of `tower-chain`. See their documentation there.

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, parse_macro_input};

mod attributes;
mod case;
mod docs;
mod rules;
mod shape;

/// Derives `tower_chain::Fields`: the Rust name and the wire names of each field, whether it is required, and how it is read alone.
///
/// The macro reads the attributes of serde, and from those of `validator` and `garde` the rules that no schema can express. Its own attribute is `#[fields(value)]`, for a field whose type reads itself as one value: the errors
/// inside it are reported one at a time.
#[proc_macro_derive(Fields, attributes(fields, serde))]
pub fn fields(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    shape::derive(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Makes the doc comment of a handler a part of its description in a document.
///
/// The function stays as it is. Beside it is a module of the same name, whose function `docs` is an argument of `tower_chain::openapi::described`.
/// The first paragraph is the title of the operation, the others are its description.
#[proc_macro_attribute]
pub fn documented(_: TokenStream, input: TokenStream) -> TokenStream {
    let function = parse_macro_input!(input as ItemFn);
    docs::documented(&function).unwrap_or_else(|error| error.into_compile_error()).into()
}
