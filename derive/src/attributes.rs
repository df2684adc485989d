//! The attributes of serde that decide how a type is read.

use proc_macro2::{Span, TokenStream};
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Expr, LitStr, Token, Type};

use crate::case::Case;

/// The attributes of a type.
#[derive(Default)]
pub(crate) struct Container {
    pub(crate) rename_all: Option<Case>,
    pub(crate) rename_all_fields: Option<Case>,
    pub(crate) has_default: bool,
    pub(crate) deny_unknown_fields: bool,
    pub(crate) is_transparent: bool,
    /// `#[garde(transparent)]`.
    pub(crate) is_transparent_for_garde: bool,
    pub(crate) is_untagged: bool,
    pub(crate) tag: Option<String>,
    pub(crate) content: Option<String>,
    /// The type of `from` or `try_from`.
    pub(crate) from: Option<Type>,
    /// The type of `remote`, which the fields belong to.
    pub(crate) is_remote: bool,
    pub(crate) is_identifier: bool,
}

/// The attributes of a field or a variant.
#[derive(Default)]
pub(crate) struct Member {
    pub(crate) rename: Option<String>,
    pub(crate) aliases: Vec<String>,
    /// The case of the fields of a variant.
    pub(crate) rename_all: Option<Case>,
    pub(crate) has_default: bool,
    pub(crate) is_skipped: bool,
    pub(crate) is_flattened: bool,
    pub(crate) is_untagged: bool,
    pub(crate) is_other: bool,
    /// The function of `deserialize_with`, or of the module or type of `with`.
    pub(crate) read_with: Option<TokenStream>,
    /// The path of `with`, if it is a type, such as the mirror of a remote type.
    pub(crate) mirror: Option<Type>,
    pub(crate) borrow: Option<Span>,
    /// `#[fields(value)]`.
    pub(crate) is_value: bool,
}

impl Container {
    pub(crate) fn read(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut found = Self::default();
        for attribute in attributes {
            if attribute.path().is_ident("fields") {
                let message =
                    "`#[fields(..)]` is for a field: `#[fields(value)]` reads it as one value";
                return Err(syn::Error::new_spanned(attribute, message));
            }
            if attribute.path().is_ident("garde") {
                // Its derive macro reports an attribute that can't be read.
                let _ = attribute.parse_nested_meta(|meta| {
                    found.is_transparent_for_garde |= meta.path.is_ident("transparent");
                    skip(&meta)
                });
            }
            if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| found.set(&meta))?;
            }
        }
        Ok(found)
    }

    fn set(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match name(meta).as_str() {
            "rename_all" => {
                for rule in for_deserialize(meta)? {
                    self.rename_all = Some(Case::parse(&rule)?);
                }
            }
            "rename_all_fields" => {
                for rule in for_deserialize(meta)? {
                    self.rename_all_fields = Some(Case::parse(&rule)?);
                }
            }
            "default" => {
                self.has_default = true;
                skip(meta)?;
            }
            "deny_unknown_fields" => self.deny_unknown_fields = true,
            "transparent" => self.is_transparent = true,
            "untagged" => self.is_untagged = true,
            "tag" => self.tag = Some(text(meta)?.value()),
            "content" => self.content = Some(text(meta)?.value()),
            "from" | "try_from" => self.from = Some(text(meta)?.parse()?),
            "remote" => {
                self.is_remote = true;
                skip(meta)?;
            }
            "field_identifier" | "variant_identifier" => self.is_identifier = true,
            _ => skip(meta)?,
        }
        Ok(())
    }
}

impl Member {
    pub(crate) fn read(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut found = Self::default();
        for attribute in attributes {
            if attribute.path().is_ident("fields") {
                attribute.parse_nested_meta(|meta| {
                    if meta.path.is_ident("value") {
                        found.is_value = true;
                        return Ok(());
                    }
                    Err(meta.error("the attribute of `Fields` is `#[fields(value)]`: the field is read as one value"))
                })?;
            }
            if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| found.set(&meta))?;
            }
        }
        Ok(found)
    }

    fn set(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match name(meta).as_str() {
            "rename" => {
                // The names after the first one are aliases.
                for name in for_deserialize(meta)? {
                    match self.rename {
                        None => self.rename = Some(name.value()),
                        Some(_) => self.aliases.push(name.value()),
                    }
                }
            }
            "alias" => self.aliases.push(text(meta)?.value()),
            "rename_all" => {
                for rule in for_deserialize(meta)? {
                    self.rename_all = Some(Case::parse(&rule)?);
                }
            }
            "default" => {
                self.has_default = true;
                skip(meta)?;
            }
            "skip" | "skip_deserializing" => self.is_skipped = true,
            "flatten" => self.is_flattened = true,
            "untagged" => self.is_untagged = true,
            "other" => self.is_other = true,
            "deserialize_with" => {
                let path: TokenStream = text(meta)?.parse()?;
                self.read_with = Some(path);
            }
            "with" => {
                let path = text(meta)?;
                let tokens: TokenStream = path.parse()?;
                self.read_with = Some(quote::quote!(#tokens::deserialize));
                // A type, unlike a module, begins with a capital letter.
                let last = path.value();
                let last = last.rsplit("::").next().unwrap_or_default();
                if last.trim_start().starts_with(|letter: char| letter.is_uppercase()) {
                    self.mirror = Some(path.parse()?);
                    self.read_with = Some({
                        let mirror = &self.mirror;
                        quote::quote!(<#mirror>::deserialize)
                    });
                }
            }
            "borrow" => {
                self.borrow = meta.path.get_ident().map(syn::Ident::span);
                skip(meta)?;
            }
            _ => skip(meta)?,
        }
        Ok(())
    }
}

fn name(meta: &ParseNestedMeta<'_>) -> String {
    meta.path.get_ident().map(ToString::to_string).unwrap_or_default()
}

fn text(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    meta.value()?.parse()
}

/// The text of `name = ".."`, or the texts of `name(deserialize = "..")`. `name(serialize = "..")` has none.
fn for_deserialize(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<LitStr>> {
    if meta.input.peek(Token![=]) {
        return Ok(vec![text(meta)?]);
    }
    let mut found = Vec::new();
    meta.parse_nested_meta(|inner| {
        let value = text(&inner)?;
        if inner.path.is_ident("deserialize") {
            found.push(value);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Skips the value of an attribute that does not matter here.
fn skip(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    if meta.input.peek(Token![=]) {
        let _: Expr = meta.value()?.parse()?;
    } else if meta.input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in meta.input);
        let _: TokenStream = content.parse()?;
    }
    Ok(())
}
