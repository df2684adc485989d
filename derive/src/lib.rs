//! The derive macro of `tower_chain::Fields`. See its documentation there.

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

mod attributes;
mod case;
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
