//! `#[documented]`: the doc comment of a handler as data.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Expr, ItemFn, Meta};

/// Returns the function as it is, and a module of its name with the doc comment.
pub(crate) fn documented(function: &ItemFn) -> syn::Result<TokenStream> {
    let lines: Vec<&Expr> = function
        .attrs
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(doc) if doc.path.is_ident("doc") => Some(&doc.value),
            _ => None,
        })
        .collect();
    if lines.is_empty() {
        let message = "this function has no doc comment, which `#[documented]` would read";
        return Err(syn::Error::new_spanned(&function.sig.ident, message));
    }
    let (visibility, name) = (&function.vis, &function.sig.ident);
    Ok(quote! {
        #function

        #[doc(hidden)]
        #visibility mod #name {
            pub fn docs(to: &mut ::tower_chain::declare::Declaration) {
                to.doc_comment(::core::concat!(#(#lines, "\n"),*));
            }
        }
    })
}
