//! Pairs of names and values as data of a type.
//!
//! The type decides how a value is read: a text may be `NaN`, a number may not. With [`BracketSyntax`] a name is a path, and pairs with the same
//! beginning are the members of one list or object.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use percent_encoding::percent_decode;
use serde_core::de::value::{Error as ValueError, MapDeserializer, SeqDeserializer};
use serde_core::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IgnoredAny,
    IntoDeserializer, MapAccess, Unexpected, VariantAccess, Visitor,
};

use crate::extract::BracketSyntax;
use crate::extract::budget::Depth;
use crate::extract::failure::{is_buffered_text, not_finite};

/// A pair of a form: the name, and the encoded value with its `=`.
pub(crate) struct Pair<'de> {
    pub(crate) name: Cow<'de, str>,
    pub(crate) value: &'de [u8],
}

impl<'de> Pair<'de> {
    #[cfg(feature = "form")]
    pub(crate) fn text(&self) -> Cow<'de, str> {
        decode(self.value.get(1..).unwrap_or_default())
    }
}

/// The pairs of a form (URL standard, 5.1).
pub(crate) fn pairs(text: &[u8]) -> Vec<Pair<'_>> {
    let mut pairs = Vec::with_capacity(text.iter().filter(|byte| **byte == b'&').count() + 1);
    pairs.extend(text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        Pair { name: decode(&pair[..at]), value: &pair[at..] }
    }));
    pairs
}

fn decode(text: &[u8]) -> Cow<'_, str> {
    if !text.contains(&b'+') {
        return percent_decode(text).decode_utf8_lossy();
    }
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    Cow::Owned(percent_decode(&spaced).decode_utf8_lossy().into_owned())
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    Unmatched,
    TooDeep,
}

/// Checks that a name is a text without brackets, and then any number of texts in brackets.
pub(crate) fn check(name: &str, syntax: BracketSyntax) -> Result<(), NameError> {
    let start = name.find('[').unwrap_or(name.len());
    let (base, mut rest) = name.split_at(start);
    if base.contains(']') || (base.is_empty() && !rest.is_empty()) {
        return Err(NameError::Unmatched);
    }
    let mut depth = 0;
    while !rest.is_empty() {
        let inside = rest.strip_prefix('[').and_then(|inside| inside.split_once(']'));
        let (segment, after) = inside.ok_or(NameError::Unmatched)?;
        if segment.contains('[') {
            return Err(NameError::Unmatched);
        }
        depth += 1;
        if depth > syntax.depth() {
            return Err(NameError::TooDeep);
        }
        rest = after;
    }
    Ok(())
}

/// The pairs that belong to one value.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'p, 'de, 'b> {
    items: &'p [Item<'p, 'de>],
    syntax: Option<BracketSyntax>,
    depth: Depth<'b>,
    is_root: bool,
}

/// A pair below the current value.
#[derive(Clone, Copy)]
pub(crate) struct Item<'p, 'de> {
    /// The member or item that the pair belongs to. At the root, it is not split off yet.
    segment: &'p str,
    /// The brackets after it.
    pub(crate) rest: &'p str,
    value: &'de [u8],
    pub(crate) at: usize,
}

/// The items of a root.
pub(crate) fn items<'p, 'de>(pairs: &'p [Pair<'de>]) -> Vec<Item<'p, 'de>> {
    let item = |(at, pair): (usize, &'p Pair<'de>)| Item::new(&pair.name, pair.value, at);
    pairs.iter().enumerate().map(item).collect()
}

/// The items of the encoded pairs of one value, whose names do not matter.
pub(crate) fn values(pairs: &[u8]) -> Vec<Item<'_, '_>> {
    let value = |pair: &'_ [u8]| pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let pairs = pairs.split(|byte| *byte == b'&').enumerate();
    pairs.map(|(at, pair)| Item::new("", &pair[value(pair)..], at)).collect()
}

enum Shape {
    Values,
    Members,
}

impl<'p, 'de, 'b> Reader<'p, 'de, 'b> {
    /// The whole input. With a syntax, its names must have been checked.
    pub(crate) fn root(
        items: &'p [Item<'p, 'de>],
        syntax: Option<BracketSyntax>,
        depth: Depth<'b>,
    ) -> Self {
        Self { items, syntax, depth, is_root: true }
    }

    /// A value below the root.
    pub(crate) fn value(
        items: &'p [Item<'p, 'de>],
        syntax: Option<BracketSyntax>,
        depth: Depth<'b>,
    ) -> Self {
        Self { items, syntax, depth, is_root: false }
    }

    fn shape(&self) -> Result<Shape, ReadError> {
        if self.is_root {
            return Ok(Shape::Members);
        }
        match self.items.iter().filter(|item| item.rest.is_empty()).count() {
            0 => Ok(Shape::Members),
            all if all == self.items.len() => Ok(Shape::Values),
            _ => Err(Problem::Conflict.into()),
        }
    }

    /// The text of the only value.
    fn text(&self, expected: &dyn Expected) -> Result<Cow<'de, str>, ReadError> {
        match (self.shape()?, self.items) {
            (Shape::Members, _) => Err(ReadError::invalid_type(Unexpected::Map, expected)),
            (Shape::Values, [one]) => Ok(one.text()),
            (Shape::Values, _) => Err(Problem::Repeated.into()),
        }
    }

    /// The pairs with the next part of their names split off.
    fn split(&self) -> Vec<Item<'p, 'de>> {
        let is_name = self.is_root;
        let split = |item: &Item<'p, 'de>| {
            let (segment, rest) = match item.rest.strip_prefix('[') {
                Some(inside) if !is_name => inside.split_once(']').unwrap_or((inside, "")),
                _ if self.syntax.is_none() => (item.rest, ""),
                _ => item.rest.split_at(item.rest.find('[').unwrap_or(item.rest.len())),
            };
            Item { segment, rest, ..*item }
        };
        self.items.iter().map(split).collect()
    }

    /// The members of an object, in the order of their first pairs.
    pub(crate) fn members(&self) -> Level<'p, 'de> {
        let mut items = self.split();
        items.sort_by(|one, other| one.segment.cmp(other.segment));
        let mut level = Level::by(items, |one, other| one.segment == other.segment);
        let Level { items, groups } = &mut level;
        groups.sort_unstable_by_key(|group| items[group.start].at);
        level
    }

    /// The items of a list.
    pub(crate) fn list(&self) -> Result<Level<'p, 'de>, ReadError> {
        if let Shape::Values = self.shape()? {
            let items = self.items.to_vec();
            return Ok(Level::by(items, |_, _| false));
        }
        let mut items = self.split();
        if items.iter().all(|item| item.segment.is_empty()) {
            let groups = groups_of_rest(&items);
            return Ok(Level { items, groups });
        }
        if !items.iter().all(|item| is_index(item.segment)) {
            return Err(Problem::List.into());
        }
        // An index without leading zeros is larger if it is longer.
        let index = |item: &Item<'p, 'de>| (item.segment.len(), item.segment);
        items.sort_by(|one, other| index(one).cmp(&index(other)));
        let max = self.syntax.map_or(0, BracketSyntax::index);
        let last = items.last().map(|item| item.segment.parse::<usize>());
        if last.is_some_and(|last| !last.is_ok_and(|last| last <= max)) {
            return Err(Problem::Index.into());
        }
        Ok(Level::by(items, |one, other| one.segment == other.segment))
    }

    fn inside<'n>(&self, items: &'n [Item<'n, 'de>], depth: Depth<'b>) -> Reader<'n, 'de, 'b> {
        Reader { items, syntax: self.syntax, depth, is_root: false }
    }

    // The methods of `Deserializer` are compiled for each type. What does not depend on the type is in methods of its own.

    fn visit_members<V: Visitor<'de>>(
        self,
        fields: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let (level, depth) = self.checked_members(fields, &visitor)?;
        visitor.visit_map(MapDeserializer::new(Values::new(&level, self, depth)))
    }

    fn checked_members(
        &self,
        fields: usize,
        expected: &dyn Expected,
    ) -> Result<(Level<'p, 'de>, Depth<'b>), ReadError> {
        if let Shape::Values = self.shape()? {
            return Err(ReadError::invalid_type(Unexpected::Other("text"), expected));
        }
        let level = self.members();
        if !self.is_root && level.items.iter().any(|item| item.segment.is_empty()) {
            return Err(ReadError::invalid_type(Unexpected::Seq, expected));
        }
        self.depth.spend::<ReadError>(fields.max(level.groups.len()))?;
        let depth = self.depth.inside_struct::<ReadError>()?;
        Ok((level, depth))
    }

    fn visit_list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.is_root {
            let level = self.whole_pairs();
            return visitor.visit_seq(MapDeserializer::new(Values::new(&level, self, self.depth)));
        }
        let level = self.counted_list()?;
        let mut items = SeqDeserializer::new(Items(Values::new(&level, self, self.depth)));
        let list = visitor.visit_seq(&mut items)?;
        // A tuple takes as many as it has items.
        items.end()?;
        Ok(list)
    }

    /// The pairs of a root as a list, each with its whole name.
    fn whole_pairs(&self) -> Level<'p, 'de> {
        let whole = |item: &Item<'p, 'de>| Item { segment: item.rest, rest: "", ..*item };
        Level::by(self.items.iter().map(whole).collect(), |_, _| false)
    }

    fn counted_list(&self) -> Result<Level<'p, 'de>, ReadError> {
        let level = self.list()?;
        self.depth.spend::<ReadError>(level.groups.len())?;
        Ok(level)
    }

    fn number<N: FromStr<Err: fmt::Display>>(
        &self,
        expected: &dyn Expected,
    ) -> Result<N, ReadError> {
        self.text(expected)?.parse().map_err(ReadError::custom)
    }

    fn bool(&self, expected: &dyn Expected) -> Result<bool, ReadError> {
        if let [hidden, ticked] = self.items
            && let Shape::Values = self.shape()?
            && hidden.text() == "false"
            && ["true", "on"].contains(&&*ticked.text())
        {
            return Ok(true);
        }
        match &*self.text(expected)? {
            "true" | "on" => Ok(true),
            "false" => Ok(false),
            _ => Err(ReadError::invalid_value(Unexpected::Other("text"), &"a boolean")),
        }
    }

    /// Whether the names below it are those of a list.
    fn has_items(&self) -> bool {
        let is_item = |item: &Item<'_, '_>| item.segment.is_empty() || is_index(item.segment);
        !self.is_root && self.split().iter().all(is_item)
    }
}

/// The values of a [`Level`], with their names.
struct Values<'n, 'p, 'de, 'b> {
    level: &'n Level<'p, 'de>,
    /// The index of the next group.
    next: usize,
    outer: Reader<'p, 'de, 'b>,
    depth: Depth<'b>,
}

impl<'n, 'p, 'de, 'b> Values<'n, 'p, 'de, 'b> {
    fn new(level: &'n Level<'p, 'de>, outer: Reader<'p, 'de, 'b>, depth: Depth<'b>) -> Self {
        Self { level, next: 0, outer, depth }
    }
}

impl<'n, 'de, 'b> Iterator for Values<'n, '_, 'de, 'b> {
    type Item = (&'n str, Reader<'n, 'de, 'b>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, items) = self.level.group(self.next)?;
        self.next += 1;
        Some((name, self.outer.inside(items, self.depth)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.level.groups.len().saturating_sub(self.next);
        (left, Some(left))
    }
}

/// The values without their names.
struct Items<'n, 'p, 'de, 'b>(Values<'n, 'p, 'de, 'b>);

impl<'n, 'de, 'b> Iterator for Items<'n, '_, 'de, 'b> {
    type Item = Reader<'n, 'de, 'b>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(_, value)| value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<'p, 'de> Item<'p, 'de> {
    pub(crate) fn new(rest: &'p str, value: &'de [u8], at: usize) -> Self {
        Self { segment: "", rest, value, at }
    }

    fn text(&self) -> Cow<'de, str> {
        decode(self.value.get(1..).unwrap_or_default())
    }
}

/// The pairs of several values, each a range.
#[derive(Default)]
pub(crate) struct Level<'p, 'de> {
    items: Vec<Item<'p, 'de>>,
    groups: Vec<Range<usize>>,
}

impl<'p, 'de> Level<'p, 'de> {
    fn by(
        items: Vec<Item<'p, 'de>>,
        same: impl Fn(&Item<'p, 'de>, &Item<'p, 'de>) -> bool,
    ) -> Self {
        let mut groups = Vec::with_capacity(items.len());
        let mut start = 0;
        for group in items.chunk_by(same) {
            groups.push(start..start + group.len());
            start += group.len();
        }
        Self { items, groups }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[Item<'p, 'de>])> {
        (0..self.groups.len()).filter_map(|index| self.group(index))
    }

    /// A value by its index, with its name.
    fn group(&self, index: usize) -> Option<(&str, &[Item<'p, 'de>])> {
        let items = self.items.get(self.groups.get(index)?.clone())?;
        Some((items.first()?.segment, items))
    }
}

/// Items that are all `[]`, with what comes after it: the next one begins where a name is repeated, as in Rails.
fn groups_of_rest(items: &[Item<'_, '_>]) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut seen = HashSet::new();
    let mut start = 0;
    for (at, item) in items.iter().enumerate() {
        // `[][tags][]` may be repeated within one item.
        let is_first = item.rest.contains("[]") || seen.insert(item.rest);
        if item.rest.is_empty() || !is_first {
            if at > start {
                groups.push(start..at);
            }
            start = at;
            seen.clear();
            seen.insert(item.rest);
        }
    }
    if start < items.len() {
        groups.push(start..items.len());
    }
    groups
}

pub(crate) fn is_index(segment: &str) -> bool {
    segment.bytes().all(|b| b.is_ascii_digit())
        && (segment == "0" || !segment.starts_with('0'))
        && !segment.is_empty()
}

macro_rules! integers {
    ($($method:ident $visit:ident $kind:ident,)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let number = self.number::<$kind>(&visitor)?;
            visitor.$visit(number)
        }
    )* };
}

macro_rules! texts {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self.text(&visitor)? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            }
        }
    )* };
}

impl<'de> Deserializer<'de> for Reader<'_, 'de, '_> {
    type Error = ReadError;

    read_as! { ReadError: newtype_as_its_content tuple_as_list unit_struct_as_unit }

    integers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_u128 visit_u128 u128,
    }

    texts! {
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_identifier
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let text = self.text(&visitor)?;
        let number: f32 = text.parse().map_err(ReadError::custom)?;
        if number.is_finite() { visitor.visit_f32(number) } else { Err(not_finite(&text)) }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let text = self.text(&visitor)?;
        let number: f64 = text.parse().map_err(ReadError::custom)?;
        if number.is_finite() { visitor.visit_f64(number) } else { Err(not_finite(&text)) }
    }

    /// A checkbox sends `on` if it is ticked. A hidden field beside it sends `false` before it.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let value = self.bool(&visitor)?;
        visitor.visit_bool(value)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match (self.shape()?, self.items) {
            // Whether an empty value is `None` depends on the type. serde_html_form knows.
            (Shape::Values, [Item { value: [] | [b'='], .. }]) => {
                let empty = serde_html_form::Deserializer::from_bytes(b"=");
                Ok(empty.deserialize_map(EmptyValue(visitor))?)
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.items {
            [] => visitor.visit_unit(),
            _ => self.deserialize_str(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_members(UNKNOWN_FIELDS, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.visit_members(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if let Shape::Values = self.shape()? {
            let text = self.text(&visitor)?;
            return visitor.visit_enum(Variant { name: &text, content: None });
        }
        let level = self.members();
        let mut variants = level.iter();
        match (variants.next(), variants.next()) {
            (Some((name, items)), None) if !self.is_root => {
                let content = Some(self.inside(items, self.depth));
                visitor.visit_enum(Variant { name, content })
            }
            _ => Err(ReadError::invalid_type(Unexpected::Map, &visitor)),
        }
    }

    /// The type does not determine the kind: a buffer of serde, for instance.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match (self.shape()?, self.items) {
            (Shape::Values, [_]) => self.deserialize_str(visitor),
            (Shape::Values, _) => self.visit_list(visitor),
            _ if self.has_items() => self.visit_list(visitor),
            _ => self.visit_members(UNKNOWN_FIELDS, visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.shape()?;
        visitor.visit_unit()
    }
}

impl<'de> IntoDeserializer<'de, ReadError> for Reader<'_, 'de, '_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Passes the only value, which is empty, to a visitor of an option.
struct EmptyValue<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for EmptyValue<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<V::Value, A::Error> {
        pairs.next_key::<IgnoredAny>()?;
        pairs.next_value_seed(self)
    }
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for EmptyValue<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        value.deserialize_option(self.0)
    }
}

/// A variant of an enum, and what it contains.
struct Variant<'n, 'p, 'de, 'b> {
    name: &'n str,
    content: Option<Reader<'p, 'de, 'b>>,
}

impl<'de, 'p, 'b> EnumAccess<'de> for Variant<'_, 'p, 'de, 'b> {
    type Error = ReadError;
    type Variant = VariantContent<'p, 'de, 'b>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, VariantContent<'p, 'de, 'b>), ReadError> {
        let name: de::value::StrDeserializer<'_, ReadError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, VariantContent(self.content)))
    }
}

struct VariantContent<'p, 'de, 'b>(Option<Reader<'p, 'de, 'b>>);

impl<'p, 'de, 'b> VariantContent<'p, 'de, 'b> {
    fn content(self, expected: &dyn Expected) -> Result<Reader<'p, 'de, 'b>, ReadError> {
        self.0.ok_or_else(|| ReadError::invalid_type(Unexpected::UnitVariant, expected))
    }
}

impl<'de> VariantAccess<'de> for VariantContent<'_, 'de, '_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.0 {
            None => Ok(()),
            Some(_) => Err(ReadError::invalid_type(Unexpected::Map, &"a string")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(self.content(&"a map")?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.content(&visitor)?.visit_list(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.content(&visitor)?.visit_members(fields.len(), visitor)
    }
}

/// Why data could not be read: a message of serde, or a problem of the names.
#[derive(Debug)]
pub(crate) struct ReadError {
    message: String,
    pub(crate) problem: Option<Problem>,
}

/// What is wrong with the pairs of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A value that is not a list has several pairs.
    Repeated,
    /// A value is given as a text and as an object or list.
    Conflict,
    /// The items of a list are not numbered, or not all.
    List,
    /// An index is above the limit.
    Index,
    /// serde has read the text into a buffer, and the type wants a number of it. No text would do.
    Buffered,
}

impl Problem {
    pub(crate) fn code_and_detail(self) -> (&'static str, &'static str) {
        match self {
            Self::Repeated => ("duplicate", "Is given more than once"),
            Self::Conflict => ("conflict", "Is given both with and without brackets"),
            Self::List => ("type", "Must be a list, whose items all have [] or all have an index"),
            Self::Index => ("index", "Has an index that is too large"),
            Self::Buffered => ("invalid", "Is not valid"),
        }
    }
}

impl From<Problem> for ReadError {
    fn from(problem: Problem) -> Self {
        Self { message: problem.code_and_detail().1.to_owned(), problem: Some(problem) }
    }
}

impl From<ValueError> for ReadError {
    fn from(error: ValueError) -> Self {
        Self::custom(error)
    }
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), problem: None }
    }

    /// The text of the client is left out. The message is searched for the choices.
    fn unknown_variant(_: &str, choices: &'static [&'static str]) -> Self {
        Self::custom(format!("unknown variant ``, expected one of `{}`", choices.join("`, `")))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let message = format!("invalid type: {unexpected}, expected {expected}");
        let is_buffered = is_buffered_text(unexpected, expected);
        Self { message, problem: is_buffered.then_some(Problem::Buffered) }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

/// An object whose fields are not known counts as this many fields.
const UNKNOWN_FIELDS: usize = 16;
