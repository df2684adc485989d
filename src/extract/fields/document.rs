//! An input as a tree, after it was refused: each member can then be read alone.

use std::borrow::Cow;
use std::fmt;

use serde_core::de::value::StrDeserializer;
use serde_core::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde_core::forward_to_deserialize_any;

#[cfg(any(feature = "form", feature = "query"))]
use crate::extract::BracketSyntax;
use crate::extract::InputError;
#[cfg(any(feature = "form", feature = "json", feature = "query"))]
use crate::extract::budget::Budget;
#[cfg(any(feature = "form", feature = "query"))]
use crate::extract::budget::Depth;
use crate::extract::failure::{WRONG_LENGTH, describe, must_be_one_of};
#[cfg(any(feature = "form", feature = "query"))]
use crate::extract::fields::named::{Named, NamedValue};
#[cfg(any(feature = "form", feature = "query"))]
use crate::extract::form_data::reader::{self, Problem, ReadError, Reader};
#[cfg(any(feature = "form", feature = "json", feature = "query"))]
use crate::extract::objects::Objects;
use crate::extract::param::{Failed, Param};
use crate::route::routes::Matched;

/// The input of a request as a tree of members and items.
///
/// An [`Input`](crate::extract::Input) of your own returns one if its format is JSON or that of forms. The names that the client used, and each
/// value alone, are then available for errors.
#[derive(Clone)]
pub struct Document<'a> {
    pub(crate) tree: Tree<'a>,
    /// The names that serde declares for the type.
    pub(crate) declared: Vec<&'static [&'static str]>,
    /// Whether the names that the client used are not known, because the data was made in another way.
    pub(crate) is_opaque: bool,
}

#[doc(hidden)]
#[derive(Clone)]
pub enum Tree<'a> {
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
    List(Vec<Tree<'a>>),
    /// A scalar, as a JSON text.
    Json(Cow<'a, [u8]>),
    /// The pairs of one name in a form, encoded.
    Form(Cow<'a, [u8]>),
    /// The pairs of a form below one name, with more names in brackets.
    #[cfg(any(feature = "form", feature = "query"))]
    Named(Named<'a, Tree<'a>>),
    /// A parameter of a path.
    Param(Param<'a>),
}

impl<'a> Document<'a> {
    /// A JSON text. `None` if it is not valid JSON, is nested more than 127 deep, or has more than `max` values.
    #[cfg(feature = "json")]
    pub fn json(text: &'a [u8], max: usize) -> Option<Self> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = str::from_utf8(text).ok()?;
        let _: de::IgnoredAny = serde_json::from_str(text).ok()?;
        let mut scanner = Scanner { text: text.as_bytes(), at: 0, left: max };
        Some(scanner.value(MAX_DEPTH)?.into())
    }

    /// Pairs of names and values, as in a form or a query. `None` if there are more than `max`.
    #[cfg(any(feature = "form", feature = "query"))]
    pub fn form(pairs: &'a [u8], max: usize) -> Option<Self> {
        let mut members: Vec<(Cow<'a, str>, Tree<'a>)> = Vec::new();
        let mut positions = std::collections::HashMap::new();
        let pairs = pairs.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        for (count, pair) in pairs.enumerate() {
            if count >= max {
                return None;
            }
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            let blanks: Vec<u8> = name.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
            let name = percent_encoding::percent_decode(&blanks).decode_utf8_lossy().into_owned();
            match positions.get(&name).and_then(|at: &usize| members.get_mut(*at)) {
                Some((_, Tree::Form(values))) => {
                    let values = values.to_mut();
                    values.push(b'&');
                    values.extend_from_slice(pair);
                }
                _ => {
                    positions.insert(name.clone(), members.len());
                    members.push((name.into(), Tree::Form(pair.into())));
                }
            }
        }
        Some(Tree::Object(members).into())
    }

    /// The same, with names as `syntax` reads them. `None` also if a name has brackets that do not match, or too many of them.
    #[cfg(any(feature = "form", feature = "query"))]
    pub(crate) fn form_with(
        pairs: &'a [u8],
        max: usize,
        syntax: Option<BracketSyntax>,
    ) -> Option<Self> {
        let Some(syntax) = syntax else { return Self::form(pairs, max) };
        let pairs = reader::pairs(pairs);
        let are_fit = pairs.iter().all(|pair| reader::check(&pair.name, syntax).is_ok());
        if pairs.len() > max || !are_fit {
            return None;
        }
        let pairs = pairs.into_iter().map(|pair| (pair.name, pair.value));
        let members = Named::root(pairs, syntax, |value| match value {
            NamedValue::Text(pairs) => Tree::Form(pairs),
            NamedValue::Inside(named) => Tree::Named(named),
        });
        Some(Tree::Object(members).into())
    }

    /// Data that was made in another way, with the names that serde declares for its type.
    #[cfg(any(feature = "form", feature = "json", feature = "query"))]
    pub(crate) fn made<T: de::DeserializeOwned>() -> Self {
        let budget = Budget::traced();
        let _ = T::deserialize(Objects::new(&Tree::Object(Vec::new()), &budget));
        let declared = budget.into_trace().declared;
        Self { tree: Tree::Object(Vec::new()), declared, is_opaque: true }
    }

    pub(crate) fn path(matched: &'a Matched) -> Self {
        let params = matched.raw_params();
        let members = params.map(|(name, raw)| (name.into(), Tree::Param(Param { name, raw })));
        Tree::Object(members.collect()).into()
    }
}

impl<'a> From<Tree<'a>> for Document<'a> {
    fn from(tree: Tree<'a>) -> Self {
        Self { tree, declared: Vec::new(), is_opaque: false }
    }
}

/// Leaves out the submitted data.
impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document")
    }
}

impl fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tree")
    }
}

impl<'a> Tree<'a> {
    pub(crate) const NULL: Tree<'static> = Tree::Json(Cow::Borrowed(b"null"));

    /// The members of an object.
    pub(crate) fn members(&self) -> Option<&Vec<(Cow<'a, str>, Tree<'a>)>> {
        match self {
            Self::Object(members) => Some(members),
            #[cfg(any(feature = "form", feature = "query"))]
            Self::Named(named) => named.members(),
            _ => None,
        }
    }

    pub(crate) fn members_mut(&mut self) -> Option<&mut Vec<(Cow<'a, str>, Tree<'a>)>> {
        match self {
            Self::Object(members) => Some(members),
            #[cfg(any(feature = "form", feature = "query"))]
            Self::Named(named) => named.members_mut(),
            _ => None,
        }
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Tree<'a>> {
        self.members()?.iter().find(|(found, _)| found == name).map(|(_, tree)| tree)
    }

    /// The number of items of a list. Each value of a repeated name in a form is one.
    pub(crate) fn item_count(&mut self) -> Result<usize, Unreadable> {
        if let Self::Form(values) = self {
            let pairs = values.split(|byte| *byte == b'&');
            *self = Self::List(pairs.map(|pair| Tree::Form(pair.to_vec().into())).collect());
        }
        match self {
            Self::List(items) => Ok(items.len()),
            #[cfg(any(feature = "form", feature = "query"))]
            Self::Named(named) => named.item_count().map_err(Into::into),
            _ => Err(Unreadable::new("type", "Must be a list")),
        }
    }

    pub(crate) fn item(&self, index: usize) -> Option<&Tree<'a>> {
        match self {
            Self::List(items) => items.get(index),
            #[cfg(any(feature = "form", feature = "query"))]
            Self::Named(named) => named.item(index),
            _ => None,
        }
    }

    pub(crate) fn item_mut(&mut self, index: usize) -> Option<&mut Tree<'a>> {
        match self {
            Self::List(items) => items.get_mut(index),
            #[cfg(any(feature = "form", feature = "query"))]
            Self::Named(named) => named.item_mut(index),
            _ => None,
        }
    }

    /// The index of an item as the client wrote it: a form may leave out others.
    pub(crate) fn written_index(&self, index: usize) -> String {
        #[cfg(any(feature = "form", feature = "query"))]
        if let Self::Named(named) = self
            && let Some(written) = named.written_index(index)
        {
            return written.to_owned();
        }
        index.to_string()
    }

    /// Whether it is a list if the type does not decide it.
    pub(crate) fn is_list(&self) -> bool {
        match self {
            Self::List(_) => true,
            #[cfg(any(feature = "form", feature = "query"))]
            Self::Named(named) => named.is_list(),
            _ => false,
        }
    }

    /// Whether a form has a text and also members or items for it.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            #[cfg(any(feature = "form", feature = "query"))]
            Self::Named(named) => named.is_conflict(),
            _ => false,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Json(text) if **text == *b"null")
    }

    /// The text of a JSON string or of a value of a form or path.
    pub(crate) fn text(&self) -> Option<String> {
        serde_core::Deserialize::deserialize(self).ok()
    }
}

/// Finds the members and items of a text that is known to be JSON.
#[cfg(feature = "json")]
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    left: usize,
}

#[cfg(feature = "json")]
impl<'a> Scanner<'a> {
    fn value(&mut self, depth: usize) -> Option<Tree<'a>> {
        self.left = self.left.checked_sub(1)?;
        match self.next()? {
            b'{' => {
                let mut members = Vec::new();
                self.each(b'}', |scanner| {
                    scanner.next()?;
                    let name = serde_json::from_slice::<String>(scanner.string()?).ok()?;
                    scanner.next()?;
                    scanner.at += 1;
                    members.push((name.into(), scanner.value(depth.checked_sub(1)?)?));
                    Some(())
                })?;
                Some(Tree::Object(members))
            }
            b'[' => {
                let mut items = Vec::new();
                self.each(b']', |scanner| {
                    items.push(scanner.value(depth.checked_sub(1)?)?);
                    Some(())
                })?;
                Some(Tree::List(items))
            }
            b'"' => Some(Tree::Json(self.string()?.into())),
            _ => {
                let rest = self.text.get(self.at..)?;
                let end = |byte: &u8| b",]} \n\r\t".contains(byte);
                let length = rest.iter().position(end).unwrap_or(rest.len());
                self.at += length;
                Some(Tree::Json(rest.get(..length)?.into()))
            }
        }
    }

    /// Reads the parts of an object or list up to its end.
    fn each(&mut self, end: u8, mut part: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        loop {
            match self.next()? {
                b',' => self.at += 1,
                byte if byte == end => {
                    self.at += 1;
                    return Some(());
                }
                _ => part(self)?,
            }
        }
    }

    /// The next byte that is not white space.
    fn next(&mut self) -> Option<u8> {
        while b" \n\r\t".contains(self.text.get(self.at)?) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// The string here, with its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.text.get(self.at)? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return self.text.get(start..self.at);
                }
                _ => self.at += 1,
            }
        }
    }
}

/// Why a value can't be read.
#[doc(hidden)]
#[derive(Debug)]
pub struct Unreadable {
    /// From the inside to the outside. Whether the type declares a name is known.
    pub(crate) steps: Vec<(String, bool)>,
    pub(crate) code: Cow<'static, str>,
    pub(crate) detail: Cow<'static, str>,
    /// The names of an enum's variants, if the value is none of them.
    pub(crate) choices: &'static [&'static str],
}

impl Unreadable {
    pub(crate) fn new(
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { steps: Vec::new(), code: code.into(), detail: detail.into(), choices: &[] }
    }

    fn inside(mut self, step: impl Into<String>, is_declared: bool) -> Self {
        self.steps.push((step.into(), is_declared));
        self
    }
}

impl de::Error for Unreadable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        if let Some((code, detail)) = InputError::in_message(&message) {
            return Self::new(code, detail);
        }
        let (code, detail, field) = describe(&message);
        let error = Self::new(code, detail);
        match field {
            Some(field) => error.inside(field, true),
            None => error,
        }
    }

    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        Self::new("unknown", "Is not known here").inside(name, false)
    }

    fn unknown_variant(_: &str, choices: &'static [&'static str]) -> Self {
        Self { choices, ..Self::new("choice", must_be_one_of(choices)) }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Unreadable {}

impl From<Failed> for Unreadable {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Value { code, detail, .. } => Self::new(code, detail),
            Failed::Length { .. } => Self::new("length", WRONG_LENGTH),
            Failed::Shape(_) => Self::new("invalid", "Is not valid"),
        }
    }
}

#[cfg(any(feature = "form", feature = "query"))]
impl From<Problem> for Unreadable {
    fn from(problem: Problem) -> Self {
        let (code, detail) = problem.code_and_detail();
        Self::new(code, detail)
    }
}

#[cfg(any(feature = "form", feature = "query"))]
impl From<ReadError> for Unreadable {
    fn from(error: ReadError) -> Self {
        match error.problem {
            Some(problem) => problem.into(),
            None => other(error),
        }
    }
}

/// Converts the error of another format. Its message quotes submitted data, of which nothing is used.
fn other(error: impl fmt::Display) -> Unreadable {
    de::Error::custom(error)
}

/// Reads the value of a pair, or those of a repeated name.
#[cfg(any(feature = "form", feature = "query"))]
fn read_pairs<'de, T>(
    pairs: &'de [u8],
    read: impl FnOnce(Reader<'_, 'de, '_>) -> Result<T, ReadError>,
) -> Result<T, Unreadable> {
    let (items, budget) = (reader::values(pairs), Budget::unlimited());
    Ok(read(Reader::value(&items, None, Depth::root(&budget)))?)
}

/// What a type expects of pairs with more names in brackets.
#[cfg(any(feature = "form", feature = "query"))]
enum View {
    Members,
    Items,
    Any,
}

#[cfg(any(feature = "form", feature = "query"))]
fn visit_named<'de, 'a: 'de, V: Visitor<'de>>(
    tree: &'de Tree<'a>,
    named: &'de Named<'a, Tree<'a>>,
    view: View,
    visitor: V,
) -> Result<V::Value, Unreadable> {
    if named.is_conflict() {
        return Err(Problem::Conflict.into());
    }
    let as_list = match view {
        View::Members => false,
        View::Items => true,
        View::Any => named.is_list(),
    };
    if as_list {
        named.item_count()?;
        return visitor.visit_seq(Items { list: tree, at: 0 });
    }
    match named.members() {
        Some(members) => visitor.visit_map(Members::of(members, None)),
        None => Err(de::Error::invalid_type(de::Unexpected::Seq, &visitor)),
    }
}

macro_rules! scalars {
    ($($method:ident $view:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
            match self {
                Tree::Object(members) => visitor.visit_map(Members::of(members, None)),
                Tree::List(_) => visitor.visit_seq(Items { list: self, at: 0 }),
                #[cfg(any(feature = "fields", feature = "json"))]
                Tree::Json(text) => {
                    serde_json::Deserializer::from_slice(text).$method(visitor).map_err(other)
                }
                #[cfg(any(feature = "form", feature = "query"))]
                Tree::Form(pairs) => read_pairs(pairs, |value| value.$method(visitor)),
                #[cfg(any(feature = "form", feature = "query"))]
                Tree::Named(named) => visit_named(self, named, View::$view, visitor),
                Tree::Param(param) => param.$method(visitor).map_err(Into::into),
                #[allow(unreachable_patterns, reason = "without the features of the other formats")]
                _ => Err(Unreadable::new("invalid", "Is not valid")),
            }
        }
    )*};
}

impl<'de, 'a: 'de> Deserializer<'de> for &'de Tree<'a> {
    type Error = Unreadable;

    read_as! { Unreadable: newtype_as_its_content tuple_as_list unit_struct_as_unit }

    scalars! {
        deserialize_any Any;
        deserialize_bool Any;
        deserialize_i8 Any;
        deserialize_i16 Any;
        deserialize_i32 Any;
        deserialize_i64 Any;
        deserialize_i128 Any;
        deserialize_u8 Any;
        deserialize_u16 Any;
        deserialize_u32 Any;
        deserialize_u64 Any;
        deserialize_u128 Any;
        deserialize_f32 Any;
        deserialize_f64 Any;
        deserialize_char Any;
        deserialize_str Any;
        deserialize_string Any;
        deserialize_bytes Any;
        deserialize_byte_buf Any;
        deserialize_unit Any;
        deserialize_seq Items;
        deserialize_map Members;
        deserialize_identifier Any;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        match self {
            #[cfg(any(feature = "form", feature = "query"))]
            Tree::Form(pairs) => read_pairs(pairs, |value| value.deserialize_option(visitor)),
            tree if tree.is_null() => visitor.visit_none(),
            tree => visitor.visit_some(tree),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        match self.members() {
            Some(members) => visitor.visit_map(Members::of(members, Some(fields))),
            None => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        match self.members().map(Vec::as_slice) {
            Some([(name, content)]) => visitor.visit_enum(One { name, content: Some(content) }),
            Some(_) => Err(Unreadable::new("type", "Must be an object with one member")),
            None => match self.text() {
                Some(name) => visitor.visit_enum(One { name: &name, content: None }),
                None => Err(Unreadable::new("type", "Has the wrong type")),
            },
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_unit()
    }
}

/// The members of an object, and the names that the type declares for them.
struct Members<'de, 'a> {
    members: std::slice::Iter<'de, (Cow<'a, str>, Tree<'a>)>,
    declared: Option<&'static [&'static str]>,
    value: Option<(&'de str, &'de Tree<'a>)>,
}

impl<'de, 'a> Members<'de, 'a> {
    fn of(
        members: &'de [(Cow<'a, str>, Tree<'a>)],
        declared: Option<&'static [&'static str]>,
    ) -> Self {
        Self { members: members.iter(), declared, value: None }
    }
}

impl<'de, 'a: 'de> MapAccess<'de> for Members<'de, 'a> {
    type Error = Unreadable;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unreadable> {
        let Some((name, value)) = self.members.next() else { return Ok(None) };
        self.value = Some((name, value));
        seed.deserialize(Key(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Unreadable> {
        let Some((name, value)) = self.value.take() else { return Err(other("no value")) };
        let is_declared = self.declared.is_some_and(|declared| declared.contains(&name));
        seed.deserialize(value).map_err(|error| error.inside(name, is_declared))
    }
}

struct Items<'de, 'a> {
    list: &'de Tree<'a>,
    at: usize,
}

impl<'de, 'a: 'de> SeqAccess<'de> for Items<'de, 'a> {
    type Error = Unreadable;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unreadable> {
        let (list, at) = (self.list, self.at);
        let Some(item) = list.item(at) else { return Ok(None) };
        self.at += 1;
        seed.deserialize(item).map(Some).map_err(|error| error.inside(list.written_index(at), true))
    }
}

/// A variant, with its content unless it is a text alone.
struct One<'n, 'de, 'a> {
    name: &'n str,
    content: Option<&'de Tree<'a>>,
}

impl<'de, 'a: 'de> EnumAccess<'de> for One<'_, 'de, 'a> {
    type Error = Unreadable;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), Unreadable> {
        let name: StrDeserializer<'_, Unreadable> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de, 'a: 'de> One<'_, 'de, 'a> {
    fn read<T>(
        self,
        read: impl FnOnce(&'de Tree<'a>) -> Result<T, Unreadable>,
    ) -> Result<T, Unreadable> {
        match self.content {
            Some(content) => read(content).map_err(|error| error.inside(self.name, true)),
            None => Err(Unreadable::new("type", "Must be an object")),
        }
    }
}

impl<'de, 'a: 'de> VariantAccess<'de> for One<'_, 'de, 'a> {
    type Error = Unreadable;

    fn unit_variant(self) -> Result<(), Unreadable> {
        match self.content {
            None => Ok(()),
            Some(_) => self.read(|content| content.deserialize_unit(UnitVisitor)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Unreadable> {
        self.read(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.read(|content| content.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.read(|content| content.deserialize_struct("", fields, visitor))
    }
}

struct UnitVisitor;

impl Visitor<'_> for UnitVisitor {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unit")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The key of a member. A number or a boolean is parsed, as serde_json does.
pub(crate) struct Key<'k>(pub(crate) &'k str);

macro_rules! parsed {
    ($($method:ident $visit:ident $kind:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
            match self.0.parse::<$kind>() {
                Ok(value) => visitor.$visit(value),
                Err(error) => Err(other(error)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Unreadable;

    read_as! { Unreadable: newtype_as_its_content present_as_some }

    parsed! {
        deserialize_bool visit_bool bool;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_str(self.0)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// serde_json reads values that are nested this deep.
#[cfg(feature = "json")]
const MAX_DEPTH: usize = 127;
