//! The rules of `validator` and `garde` that no schema can express, in words.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, GenericArgument, Lit, PathArguments, Token, Type};

/// The rules in the attributes of a type, or of a field of the type `of`. `wire` returns the name that a client uses for a field.
pub(crate) fn in_words(
    attributes: &[Attribute],
    of: Option<&Type>,
    wire: &dyn Fn(&str) -> String,
) -> Vec<String> {
    let of_engine = |engine, of: Option<&Type>| {
        let own = attributes.iter().filter(|attribute| attribute.path().is_ident(engine));
        let lists = own.filter_map(|attribute| attribute.meta.require_list().ok());
        lists.flat_map(|list| rules(&list.tokens, of, wire)).collect::<Vec<_>>()
    };
    // `validator` counts the code points of a text, as a schema does. `garde` counts its bytes by default.
    [of_engine("validate", None), of_engine("garde", of)].concat()
}

/// Whether a type is a text, which may be optional.
fn is_text(of: &Type) -> bool {
    match of {
        Type::Reference(reference) => is_text(&reference.elem),
        Type::Path(path) => {
            path.path.segments.last().is_some_and(|last| match &*last.ident.to_string() {
                "String" | "str" => true,
                "Option" | "Box" | "Arc" | "Rc" | "Cow" => argument(of).is_some_and(is_text),
                _ => false,
            })
        }
        _ => false,
    }
}

/// The last type argument of a type: of `Vec<T>`, `T`.
fn argument(of: &Type) -> Option<&Type> {
    let Type::Path(path) = of else { return None };
    let PathArguments::AngleBracketed(list) = &path.path.segments.last()?.arguments else {
        return None;
    };
    list.args.iter().rev().find_map(|argument| match argument {
        GenericArgument::Type(argument) => Some(argument),
        _ => None,
    })
}

/// A rule such as `length(min = 1)`.
struct Rule {
    name: String,
    arguments: TokenStream,
}

impl Parse for Rule {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // `if` is a name here.
        let name = input.call(Ident::parse_any)?.to_string();
        let arguments = if input.peek(syn::token::Paren) {
            let content;
            syn::parenthesized!(content in input);
            content.parse()?
        } else if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            input.parse::<Expr>()?.into_token_stream()
        } else {
            TokenStream::new()
        };
        Ok(Self { name, arguments })
    }
}

/// A rule that can't be read is stated as it is written: the derive macro of the engine reports an error in it.
fn rules(tokens: &TokenStream, of: Option<&Type>, wire: &dyn Fn(&str) -> String) -> Vec<String> {
    match Punctuated::<Rule, Token![,]>::parse_terminated.parse2(tokens.clone()) {
        Ok(rules) => rules.iter().flat_map(|rule| words(rule, of, wire)).collect(),
        Err(_) => vec![format!("Must follow the rule `{}`.", source(tokens))],
    }
}

fn words(rule: &Rule, of: Option<&Type>, wire: &dyn Fn(&str) -> String) -> Vec<String> {
    let Rule { name, arguments } = rule;
    let list = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(arguments.clone());
    let list: Vec<Expr> = list.into_iter().flatten().collect();
    let named = |name: &str| {
        list.iter().find_map(|argument| match argument {
            Expr::Assign(assign) if source(&assign.left) == name => Some(&*assign.right),
            _ => None,
        })
    };
    let first = list.iter().find(|argument| !matches!(argument, Expr::Assign(_)));
    let value = |name: &str| named(name).or(first).map(text).unwrap_or_default();
    let one = |text: String| vec![text];
    match name.as_str() {
        name if IN_SCHEMAS.contains(&name) => Vec::new(),
        "custom" | "schema" => {
            let why = named("message").map(|why| format!(": {}", text(why))).unwrap_or_default();
            one(match named("function").or(first) {
                Some(Expr::Closure(_)) | None => format!("Must pass a check of the server{why}."),
                Some(function) => format!("Must pass the check `{}`{why}.", text(function)),
            })
        }
        "must_match" | "matches" => one(format!("Must equal `{}`.", wire(&value("other")))),
        "does_not_contain" => one(format!("Must not contain `{}`.", value("pattern"))),
        "prefix" => one(format!("Must begin with `{}`.", value("pattern"))),
        "suffix" => one(format!("Must end with `{}`.", value("pattern"))),
        "non_control_character" => one("Must contain no control characters.".to_owned()),
        "credit_card" => one("Must be the number of a credit card.".to_owned()),
        "phone_number" => one("Must be a phone number.".to_owned()),
        "ascii" => one("Must be ASCII.".to_owned()),
        "alphanumeric" => one("Must contain only letters and digits.".to_owned()),
        "range" => {
            let bound = |name, word| {
                named(name).map(|bound| format!("Must be {word} than {}.", text(bound)))
            };
            let bounds = [bound("exclusive_min", "more"), bound("exclusive_max", "less")];
            bounds.into_iter().flatten().collect()
        }
        // A schema counts code points.
        "length" => {
            let units = ["bytes", "graphemes", "utf16"];
            let unit = match first.map(source).filter(|unit| unit != "simple") {
                Some(unit) => Some(unit).filter(|unit| units.contains(&unit.as_str())),
                None => of.filter(|of| is_text(of)).map(|_| "bytes".to_owned()),
            };
            unit.map(|unit| format!("The unit of its length is `{unit}`.")).into_iter().collect()
        }
        "inner" => {
            let inner = rules(arguments, of.and_then(argument), wire).into_iter();
            inner.map(|rule| format!("Each item: {rule}")).collect()
        }
        _ if arguments.is_empty() => one(format!("Must follow the rule `{name}`.")),
        _ => one(format!("Must follow the rule `{name}({})`.", source(arguments))),
    }
}

/// The value of a literal, or the source of another expression.
fn text(value: &Expr) -> String {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => text.value(),
            other => source(other),
        },
        other => source(other),
    }
}

fn source(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string().replace(" :: ", "::").replace("r#", "")
}

/// The rules that `schemars` writes into the schema, and settings that are not rules.
const IN_SCHEMAS: [&str; 20] = [
    "allow_unvalidated",
    "code",
    "contains",
    "context",
    "dive",
    "email",
    "ip",
    "ipv4",
    "ipv6",
    "message",
    "mutable",
    "nest_all_fields",
    "nested",
    "pattern",
    "regex",
    "rename",
    "required",
    "skip",
    "transparent",
    "url",
];
