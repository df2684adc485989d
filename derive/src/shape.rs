//! The implementation of `Fields` for a type: a constant that describes how serde reads it.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, Error, Fields, GenericParam, Generics, Member as Place, Result, Type,
    parse_quote,
};

use crate::attributes::{Container, Member};
use crate::case::Case;
use crate::rules;

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let container = Container::read(&input.attrs)?;
    let mut types = Types::default();
    let shape = match &input.data {
        Data::Struct(data) => {
            of_struct(&container, &rules_of(&input.attrs, None), &data.fields, &mut types)?
        }
        Data::Enum(data) => of_enum(&container, rules_of(&input.attrs, None), data, &mut types)?,
        Data::Union(data) => {
            let message =
                "serde reads no unions, so they have no fields to report: use an enum or a struct";
            return Err(Error::new_spanned(data.union_token, message));
        }
    };
    let name = &input.ident;
    let mut generics = input.generics.clone();
    bound(&mut generics, &types);
    let (_, arguments, _) = input.generics.split_for_impl();
    let arguments = owned(arguments.to_token_stream());
    generics.params = generics
        .params
        .into_iter()
        .filter(|param| !matches!(param, GenericParam::Lifetime(_)))
        .collect();
    if let Some(clause) = &mut generics.where_clause {
        *clause = syn::parse2(owned(clause.to_token_stream()))?;
    }
    if types.reads_itself && !input.generics.params.is_empty() {
        let clause = generics.make_where_clause();
        clause
            .predicates
            .push(parse_quote!(Self: ::tower_chain::extract::fields::derived::DeserializeOwned));
    }
    let (parameters, _, clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        #[allow(deprecated, clippy::all, clippy::pedantic, unreachable_patterns, unused_qualifications)]
        impl #parameters ::tower_chain::extract::fields::Fields for #name #arguments #clause {
            fn shape() -> &'static ::tower_chain::extract::fields::Shape {
                #[allow(unused_imports)]
                use ::tower_chain::extract::fields::derived::{
                    self, ViaFallback as _, ViaFields as _, ViaSerde as _,
                };
                const { &#shape }
            }
        }
    })
}

/// The types that the fields have.
#[derive(Default)]
struct Types {
    /// Those whose fields are reported.
    described: Vec<TokenStream>,
    /// Whether the type is read as a whole, for which it needs `Deserialize`.
    reads_itself: bool,
}

fn of_struct(
    container: &Container,
    rules: &[String],
    fields: &Fields,
    types: &mut Types,
) -> Result<TokenStream> {
    if let Some(from) = &container.from {
        types.reads_itself = true;
        let inner = probe(from, from.span());
        return Ok(quote!(derived::Shape::Via { inner: #inner, read: derived::read::<Self> }));
    }
    if container.is_identifier {
        types.reads_itself = true;
        return Ok(quote!(derived::Shape::Value { read: derived::read::<Self> }));
    }
    let access = |place: &Place| {
        if container.is_remote {
            return quote!(|_| ::core::option::Option::None);
        }
        quote!(|data| ::core::option::Option::Some(&data.downcast_ref::<Self>()?.#place as &dyn ::core::any::Any))
    };
    let only = match fields {
        Fields::Unnamed(unnamed) if unnamed.unnamed.len() == 1 => Some(0),
        _ if container.is_transparent => transparent(fields)?,
        _ => None,
    };
    if let Some(index) = only
        && let Some(field) = fields.iter().nth(index)
    {
        let attributes = Member::read(&field.attrs)?;
        let place = place(index, field);
        let shape = shape_of(field, &attributes, types)?;
        let get = access(&place);
        let own = rules_of(&field.attrs, Some(&field.ty));
        let rules = rules.iter().chain(&own);
        // The paths of garde have a step for the field, unless the type is transparent for it. Those of validator have none for a field without a name.
        let step = match &place {
            _ if container.is_transparent_for_garde => None,
            Place::Named(ident) => Some(ident.unraw().to_string()),
            Place::Unnamed(_) => has_garde(field).then(|| index.to_string()),
        };
        let step = option(step);
        return Ok(quote! {
            derived::Shape::Same {
                inner: #shape,
                inside: |data, _| derived::got(#get, data),
                step: #step,
                rules: &[#(#rules),*],
            }
        });
    }
    match fields {
        Fields::Named(_) => {
            let fields = named(container, container.rename_all, fields, types, &access)?;
            let deny = container.deny_unknown_fields;
            let tag = container.tag.iter();
            Ok(quote! {
                derived::Shape::Struct(derived::Struct {
                    fields: &[#(#fields),*],
                    deny_unknown: #deny,
                    tags: &[#(#tag),*],
                    rules: &[#(#rules),*],
                })
            })
        }
        Fields::Unnamed(_) => {
            let (items, places, required) = unnamed(container, fields, types)?;
            let indices = 0..places.len();
            let gets = places.iter().map(access);
            let of_items = of_items(fields);
            let rules = rules.iter().chain(&of_items);
            Ok(quote! {
                derived::Shape::Tuple {
                    items: &[#(#items),*],
                    required: #required,
                    inside: |data, index| match index {
                        #(#indices => derived::got(#gets, data),)*
                        _ => ::core::option::Option::None,
                    },
                    rules: &[#(#rules),*],
                }
            })
        }
        Fields::Unit => {
            let read = read_itself(container, types);
            Ok(quote!(derived::Shape::Value { read: #read }))
        }
    }
}

fn read_itself(container: &Container, types: &mut Types) -> TokenStream {
    match container.is_remote {
        // serde derives an inherent function instead of the trait.
        true => quote!(|document| derived::read_with(document, |reader| Self::deserialize(reader))),
        false => {
            types.reads_itself = true;
            quote!(derived::read::<Self>)
        }
    }
}

fn of_enum(
    container: &Container,
    mut rules: Vec<String>,
    data: &syn::DataEnum,
    types: &mut Types,
) -> Result<TokenStream> {
    if let Some(from) = &container.from {
        types.reads_itself = true;
        let inner = probe(from, from.span());
        return Ok(quote!(derived::Shape::Via { inner: #inner, read: derived::read::<Self> }));
    }
    let read = read_itself(container, types);
    if container.is_identifier {
        return Ok(quote!(derived::Shape::Value { read: #read }));
    }
    let tag = match (container.is_untagged, &container.tag, &container.content) {
        (true, ..) => quote!(derived::Tag::Untagged),
        (_, Some(tag), Some(content)) => quote!(derived::Tag::Adjacent(#tag, #content)),
        (_, Some(tag), None) => quote!(derived::Tag::Internal(#tag)),
        _ => quote!(derived::Tag::External),
    };
    let mut variants = Vec::new();
    for variant in &data.variants {
        let attributes = Member::read(&variant.attrs)?;
        if attributes.is_skipped {
            continue;
        }
        let ident = &variant.ident;
        let rust = ident.unraw().to_string();
        let wire = attributes.rename.clone().unwrap_or_else(|| match container.rename_all {
            Some(case) => case.of_variant(&rust),
            None => rust.clone(),
        });
        let names = std::iter::once(&wire).chain(&attributes.aliases);
        let access = |place: &Place| {
            if container.is_remote {
                return quote!(|_| ::core::option::Option::None);
            }
            quote! {
                |data| match data.downcast_ref::<Self>()? {
                    Self::#ident { #place: found, .. } => ::core::option::Option::Some(found as &dyn ::core::any::Any),
                    _ => ::core::option::Option::None,
                }
            }
        };
        let fields = &variant.fields;
        if !matches!(fields, Fields::Named(_)) {
            rules.extend(of_items(fields).iter().map(|rule| format!("`{wire}`: {rule}")));
        }
        let content = if let Some(with) = &attributes.read_with {
            let read = quote!(|document| derived::read_with(document, |reader| #with(reader)));
            quote!(derived::Content::Newtype(|| const { &derived::Shape::Value { read: #read } }, |_| ::core::option::Option::None, false))
        } else {
            match fields {
                Fields::Unit => quote!(derived::Content::Unit),
                Fields::Unnamed(unnamed)
                    if unnamed.unnamed.len() == 1
                        && Member::read(&unnamed.unnamed[0].attrs)?.is_skipped =>
                {
                    quote!(derived::Content::Unit)
                }
                Fields::Named(_) => {
                    let case = attributes.rename_all.or(container.rename_all_fields);
                    let fields = named(container, case, fields, types, &access)?;
                    let deny = container.deny_unknown_fields;
                    quote! {
                        derived::Content::Struct(derived::Struct {
                            fields: &[#(#fields),*],
                            deny_unknown: #deny,
                            tags: &[],
                            rules: &[],
                        })
                    }
                }
                Fields::Unnamed(unnamed) if unnamed.unnamed.len() == 1 => {
                    let field = &unnamed.unnamed[0];
                    let shape = shape_of(field, &Member::read(&field.attrs)?, types)?;
                    let get = access(&place(0, field));
                    let has_step = has_garde(field);
                    quote!(derived::Content::Newtype(#shape, #get, #has_step))
                }
                Fields::Unnamed(_) => {
                    let (items, _, required) = self::unnamed(container, fields, types)?;
                    quote!(derived::Content::Tuple(&[#(#items),*], #required))
                }
            }
        };
        let (is_other, is_untagged) = (attributes.is_other, attributes.is_untagged);
        variants.push(quote! {
            derived::Variant { names: &[#(#names),*], content: #content, is_other: #is_other, is_untagged: #is_untagged }
        });
    }
    Ok(quote! {
        derived::Shape::Enum(derived::Enum {
            tag: #tag,
            variants: &[#(#variants),*],
            read: #read,
            rules: &[#(#rules),*],
        })
    })
}

/// Whether garde checks the field.
fn has_garde(field: &syn::Field) -> bool {
    field.attrs.iter().any(|attribute| attribute.path().is_ident("garde"))
}

fn option(text: Option<String>) -> TokenStream {
    match text {
        Some(text) => quote!(::core::option::Option::Some(#text)),
        None => quote!(::core::option::Option::None),
    }
}

/// The field that a transparent struct is read from.
fn transparent(fields: &Fields) -> Result<Option<usize>> {
    for (index, field) in fields.iter().enumerate() {
        let attributes = Member::read(&field.attrs)?;
        if !attributes.is_skipped && !attributes.has_default && !is_phantom(&field.ty) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// The fields of a struct, or of a variant like one.
fn named(
    container: &Container,
    case: Option<Case>,
    fields: &Fields,
    types: &mut Types,
    access: &dyn Fn(&Place) -> TokenStream,
) -> Result<Vec<TokenStream>> {
    let mut described = Vec::new();
    let wire_name = |rust: &str| wire_name(case, fields, rust);
    for field in fields {
        let Some(ident) = &field.ident else { continue };
        let attributes = Member::read(&field.attrs)?;
        let rust = ident.unraw().to_string();
        if attributes.is_skipped {
            described.push(quote! {
                derived::Field::skipped(#rust)
            });
            continue;
        }
        let wire = attributes.rename.clone().unwrap_or_else(|| match case {
            Some(case) => case.of_field(&rust),
            None => rust.clone(),
        });
        let mut names = vec![&wire];
        names.extend(attributes.aliases.iter().filter(|alias| **alias != wire));
        let shape = shape_of(field, &attributes, types)?;
        let get = access(&Place::Named(ident.clone()));
        let rules = rules::in_words(&field.attrs, Some(&field.ty), &wire_name);
        let flatten = attributes.is_flattened;
        let may_be_missing = if attributes.has_default || container.has_default || flatten {
            quote!(|| true)
        } else if attributes.read_with.is_some() {
            quote!(|| false)
        } else {
            let kind = owned(field.ty.to_token_stream());
            quote_spanned!(field.ty.span()=> derived::may_be_missing::<#kind>)
        };
        described.push(quote! {
            derived::Field {
                rust: #rust,
                names: &[#(#names),*],
                flatten: #flatten,
                may_be_missing: #may_be_missing,
                shape: #shape,
                get: #get,
                rules: &[#(#rules),*],
            }
        });
    }
    Ok(described)
}

/// The name that a client uses for a field of the program.
fn wire_name(case: Option<Case>, fields: &Fields, rust: &str) -> String {
    let is_named =
        |field: &&syn::Field| field.ident.as_ref().is_some_and(|own| own.unraw() == rust);
    let field = fields.iter().find(is_named);
    let renamed = field.and_then(|field| Member::read(&field.attrs).ok()?.rename);
    renamed.or_else(|| Some(case?.of_field(rust))).unwrap_or_else(|| rust.to_owned())
}

/// The rules of a type or of a field without a name.
fn rules_of(attributes: &[syn::Attribute], of: Option<&syn::Type>) -> Vec<String> {
    rules::in_words(attributes, of, &str::to_owned)
}

/// The rules of the items of a tuple.
fn of_items(fields: &Fields) -> Vec<String> {
    let of_item = |(index, field): (usize, &syn::Field)| {
        let rules = rules_of(&field.attrs, Some(&field.ty)).into_iter();
        rules.map(move |rule| format!("Item {index}: {rule}")).collect::<Vec<_>>()
    };
    fields.iter().enumerate().flat_map(of_item).collect()
}

/// The items of a tuple, the place of each, and how many of them must be there.
fn unnamed(
    container: &Container,
    fields: &Fields,
    types: &mut Types,
) -> Result<(Vec<TokenStream>, Vec<Place>, usize)> {
    let mut items = Vec::new();
    let mut places = Vec::new();
    let mut required = 0;
    for (index, field) in fields.iter().enumerate() {
        let attributes = Member::read(&field.attrs)?;
        if !attributes.is_skipped {
            items.push(shape_of(field, &attributes, types)?);
            places.push(place(index, field));
            if !attributes.has_default && !container.has_default {
                required = items.len();
            }
        }
    }
    Ok((items, places, required))
}

/// A function that returns the shape of a field.
fn shape_of(field: &syn::Field, attributes: &Member, types: &mut Types) -> Result<TokenStream> {
    if let Some(reference) = reference(&field.ty) {
        let message = "the data of a request is owned: use `String` or `Vec<u8>`, not a reference";
        return Err(Error::new_spanned(reference, message));
    }
    let kind = owned(field.ty.to_token_stream());
    let span = field.ty.span();
    if let Some(with) = &attributes.read_with {
        let read =
            quote_spanned!(span=> |document| derived::read_with(document, |reader| #with(reader)));
        let value = quote!(const { &derived::Shape::Value { read: #read } });
        return Ok(match &attributes.mirror {
            Some(mirror) => quote!(|| (&derived::Probe::<#mirror>::new()).shape_or(#value)),
            None => quote!(|| #value),
        });
    }
    if attributes.is_value || is_phantom(&field.ty) {
        return Ok(
            quote_spanned!(span=> || const { &derived::Shape::Value { read: derived::read::<#kind> } }),
        );
    }
    types.described.push(kind.clone());
    Ok(probe(&kind, span))
}

/// A function that returns the shape of a type, or that of a single value if the type does not implement `Fields`.
fn probe(kind: &impl ToTokens, span: proc_macro2::Span) -> TokenStream {
    quote_spanned!(span=> || (&derived::Probe::<#kind>::new()).shape())
}

fn place(index: usize, field: &syn::Field) -> Place {
    match &field.ident {
        Some(ident) => Place::Named(ident.clone()),
        None => Place::Unnamed(index.into()),
    }
}

/// The reference in a type such as `&str` or `Option<&str>`.
fn reference(kind: &Type) -> Option<&Type> {
    match kind {
        Type::Reference(_) => Some(kind),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            arguments.args.iter().find_map(|argument| match argument {
                syn::GenericArgument::Type(kind) => reference(kind),
                _ => None,
            })
        }
        Type::Tuple(tuple) => tuple.elems.iter().find_map(reference),
        Type::Array(array) => reference(&array.elem),
        _ => None,
    }
}

fn is_phantom(kind: &Type) -> bool {
    matches!(kind, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "PhantomData"))
}

/// Adds the bounds of the type parameters.
fn bound(generics: &mut Generics, types: &Types) {
    for param in &mut generics.params {
        let GenericParam::Type(param) = param else { continue };
        let is_described = types.described.iter().any(|kind| mentions(kind.clone(), &param.ident));
        param.default = None;
        param.bounds.push(parse_quote!(::tower_chain::extract::fields::derived::DeserializeOwned));
        param.bounds.push(parse_quote!('static));
        if is_described {
            param.bounds.push(parse_quote!(::tower_chain::extract::fields::Fields));
        }
    }
}

fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => mentions(group.stream(), name),
        _ => false,
    })
}

/// Replaces each lifetime by `'static`: what is read from a request is owned.
fn owned(tokens: TokenStream) -> TokenStream {
    let mut after_quote = false;
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Punct(punct) => {
                after_quote = punct.as_char() == '\'';
                TokenTree::Punct(punct)
            }
            TokenTree::Ident(ident) if after_quote => {
                after_quote = false;
                TokenTree::Ident(Ident::new("static", ident.span()))
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), owned(group.stream()));
                inner.set_span(group.span());
                TokenTree::Group(inner)
            }
            other => other,
        })
        .collect()
}
