//! The pointer of a field in the names of the client, from its path in the names of the program.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::extract::field_error::push_step;
use crate::extract::fields::document::{Document, Tree};
use crate::extract::fields::shape::{Content, Enum, MAX_WRAPPERS, Shape, Struct, Tag, Variant};
use crate::extract::input::RawInput;
use crate::extract::violation::FieldStep;

/// The names of an input.
///
/// With [`Fields`](crate::Fields) they are those of the type. Without it, a field has its own name, or the only one in the input that differs from it
/// in case and separators, or the only such name that serde declares. If there is none, the pointer is that of the value around the field.
pub(crate) struct Names<'a> {
    source: &'a RawInput,
    shape: Option<&'static Shape>,
    document: Option<&'a Document<'a>>,
    data: &'a dyn Any,
    /// The names that serde declares, with their positions in their structs.
    declared: Vec<(usize, &'static str)>,
    /// For each map, by its address, the positions of the keys in the input. Each takes as long as the map to find.
    positions: RefCell<HashMap<*const (), Rc<[Option<usize>]>>>,
}

/// Where a field is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pointer: String,
    /// The pointer with the keys that the client has chosen. It is not shown.
    pub(crate) exact: String,
    /// The place in the order of the type, or of the input.
    pub(crate) order: Vec<usize>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(
        source: &'a RawInput,
        shape: Option<&'static Shape>,
        document: Option<&'a Document<'a>>,
        data: &'a dyn Any,
    ) -> Self {
        let structs = document.map_or(&[][..], |document| &document.declared);
        let declared = structs.iter().flat_map(|names| (0..).zip(names.iter().copied())).collect();
        Self { source, shape, document, data, declared, positions: RefCell::default() }
    }

    pub(crate) fn place(&self, path: &[FieldStep]) -> Place {
        self.walk(path, false)
    }

    /// The path with the keys of maps, which may have another order in other data. It takes less time than the place.
    pub(crate) fn compared(&self, path: &[FieldStep]) -> String {
        self.walk(path, true).exact
    }

    fn walk(&self, path: &[FieldStep], is_compared: bool) -> Place {
        let mut here = Here {
            source: self.source,
            declared: &self.declared,
            positions: &self.positions,
            is_opaque: self.document.is_none_or(|document| document.is_opaque),
            shape: self.shape,
            trees: self
                .document
                .filter(|document| !document.is_opaque)
                .map(|document| &document.tree)
                .into_iter()
                .collect(),
            data: Some(self.data),
            is_compared,
            place: Place::default(),
        };
        for step in path {
            if here.step(step).is_none() {
                here.place.order.push(usize::MAX);
                break;
            }
        }
        here.place
    }
}

/// A value on the path.
struct Here<'a> {
    source: &'a RawInput,
    declared: &'a [(usize, &'static str)],
    positions: &'a RefCell<HashMap<*const (), Rc<[Option<usize>]>>>,
    is_opaque: bool,
    shape: Option<&'static Shape>,
    /// The value in the input. After the key of a map that is not known, all its values.
    trees: Vec<&'a Tree<'a>>,
    data: Option<&'a dyn Any>,
    /// Whether names that are not known are left as they are, instead of being searched for.
    is_compared: bool,
    place: Place,
}

impl<'a> Here<'a> {
    /// Goes one step further. `None` if the name of the step is not known.
    fn step(&mut self, step: &FieldStep) -> Option<()> {
        if self.unwrap(step) {
            return Some(());
        }
        match (self.shape, step) {
            (None | Some(Shape::Value { .. }), _) => self.untyped(step),
            (Some(Shape::Struct(found)), FieldStep::Field(name) | FieldStep::Name(name)) => {
                self.field(found, name)
            }
            (Some(Shape::Enum(found)), FieldStep::Field(name) | FieldStep::Name(name)) => {
                self.variant_field(found, name, step)
            }
            (Some(Shape::Enum(found)), FieldStep::Index(index)) => {
                let variant = self.variant(found)?;
                self.enter(found, variant);
                match &variant.content {
                    Content::Tuple(items, _) => {
                        let item = items.get(*index)?;
                        self.go_to_item(*index, Some(item()));
                        self.data = None;
                        Some(())
                    }
                    Content::Newtype(inner, get, has_step) => {
                        self.shape = Some(inner());
                        self.data = self.data.and_then(get);
                        let is_list = matches!(
                            inner().unwrapped(),
                            Shape::List { .. } | Shape::Set { .. } | Shape::Tuple { .. }
                        );
                        match has_step {
                            false if is_list || *index > 0 => self.step(step),
                            _ => Some(()),
                        }
                    }
                    _ => None,
                }
            }
            // The only field of a newtype, which adds no step on the wire.
            (Some(Shape::Struct(_)), FieldStep::Index(0)) => Some(()),
            (Some(Shape::List { item, inside, .. }), FieldStep::Index(index)) => {
                self.go_to_item(*index, Some(item()));
                self.data = self.data.and_then(|data| inside(data, *index));
                Some(())
            }
            (Some(Shape::Tuple { items, inside, .. }), FieldStep::Index(index)) => {
                let item = items.get(*index)?;
                // A parameter of a path has a name.
                match self.trees.first() {
                    Some(Tree::Object(params)) => {
                        let name = params.get(*index)?.0.clone().into_owned();
                        self.go(&name, *index, Some(item()));
                    }
                    _ => self.go_to_item(*index, Some(item())),
                }
                self.data = self.data.and_then(|data| inside(data, *index));
                Some(())
            }
            (Some(Shape::Map { value, inside, positions, .. }), FieldStep::Index(index)) => {
                let members = self.trees.first().and_then(|tree| tree.members());
                let members = members.map_or(&[][..], Vec::as_slice);
                let positions = self.data.map(|data| {
                    let address = std::ptr::from_ref(data).cast();
                    let mut known = self.positions.borrow_mut();
                    let found = known.entry(address).or_insert_with(|| {
                        let keys: Vec<&str> = members.iter().map(|(key, _)| &**key).collect();
                        positions(data, &keys).into()
                    });
                    Rc::clone(found)
                });
                // A repeated key has the value of the last one.
                let is_here = |position: &Option<usize>| *position == Some(*index);
                let at = positions.and_then(|positions| positions.iter().rposition(is_here));
                let key = at.and_then(|at| members.get(at)).map(|(key, _)| &**key);
                self.key(key, at.unwrap_or(usize::MAX));
                self.shape = Some(value());
                self.data = self.data.and_then(|data| inside(data, *index));
                Some(())
            }
            (Some(Shape::Map { value, .. }), FieldStep::Name(key) | FieldStep::Field(key)) => {
                let members = self.trees.first().and_then(|tree| tree.members());
                let at = members.and_then(|all| all.iter().position(|(found, _)| found == key));
                let key = key.clone();
                self.key(Some(&key), at.unwrap_or(usize::MAX));
                self.shape = Some(value());
                self.data = None;
                Some(())
            }
            _ => None,
        }
    }

    /// Enters options, boxes and newtypes, which add no step on the wire. Whether this was the step into a newtype.
    fn unwrap(&mut self, step: &FieldStep) -> bool {
        for _ in 0..MAX_WRAPPERS {
            match self.shape {
                Some(Shape::Option { some: inner, inside }) => {
                    self.shape = Some(inner());
                    self.data = self.data.and_then(|data| inside(data, 0));
                }
                Some(Shape::Same { inner, inside, step: own, .. }) => {
                    self.shape = Some(inner());
                    self.data = self.data.and_then(|data| inside(data, 0));
                    if own.is_some_and(|own| step.to_string() == own) {
                        return true;
                    }
                }
                Some(Shape::Via { inner, .. }) => {
                    self.shape = Some(inner());
                    self.data = None;
                }
                _ => return false,
            }
        }
        // It contains nothing but itself.
        (self.shape, self.data) = (None, None);
        false
    }

    fn field(&mut self, found: &'static Struct, name: &str) -> Option<()> {
        // A rule that is written by hand may use the wire name.
        let (index, field) =
            found.fields.iter().enumerate().find(|(_, field)| field.rust == name).or_else(
                || {
                    let mut fields = found.fields.iter().enumerate();
                    fields.find(|(_, field)| field.wire_names().contains(&name))
                },
            )?;
        let data = self.data.and_then(field.get);
        if field.flatten {
            self.place.order.push(index);
            self.shape = Some(field.shape());
        } else {
            let present = field
                .names
                .iter()
                .find(|name| self.trees.first().is_some_and(|tree| tree.member(name).is_some()));
            let wire = present.or_else(|| field.names.first())?;
            self.go(wire, index, Some(field.shape()));
        }
        self.data = data;
        Some(())
    }

    /// Goes to a field of the variant that the input has.
    fn variant_field(&mut self, found: &'static Enum, name: &str, step: &FieldStep) -> Option<()> {
        let variant = match self.variant(found) {
            Some(variant) => variant,
            None => found.variants.iter().find(|variant| has_field(variant, name))?,
        };
        self.enter(found, variant);
        match &variant.content {
            Content::Struct(fields) => self.field(fields, name),
            Content::Newtype(inner, get, _) => {
                self.shape = Some(inner());
                self.data = self.data.and_then(get);
                self.step(step)
            }
            _ => None,
        }
    }

    fn variant(&self, found: &'static Enum) -> Option<&'static Variant> {
        // The data has a field of its variant alone. Without tags, the input may look like several ones.
        let is_of = |variant: &&Variant| self.data.is_some_and(|data| variant.is_of(data));
        if let Some(variant) = found.variants.iter().find(is_of) {
            return Some(variant);
        }
        let tree = *self.trees.first()?;
        let name = match (found.tag, tree) {
            (Tag::External, tree) => match tree.members() {
                Some(members) => members.first()?.0.clone().into_owned(),
                None => tree.text()?,
            },
            (Tag::Internal(tag) | Tag::Adjacent(tag, _), tree) => tree.member(tag)?.text()?,
            (Tag::Untagged, tree) => {
                return found.variants.iter().find(|variant| match &variant.content {
                    Content::Newtype(inner, ..) => {
                        super::reader::accepts(inner(), &Document::from(tree.clone()))
                    }
                    _ => false,
                });
            }
        };
        let mut variants = found.variants.iter();
        variants.find(|variant| variant.names.contains(&&*name))
    }

    /// Enters the content of a variant.
    fn enter(&mut self, found: &'static Enum, variant: &'static Variant) {
        let step = match found.tag {
            _ if variant.is_untagged => None,
            Tag::External => variant
                .names
                .iter()
                .find(|name| self.trees.first().is_some_and(|tree| tree.member(name).is_some()))
                .or_else(|| variant.names.first()),
            Tag::Adjacent(_, content) => return self.go(content, 0, None),
            Tag::Internal(_) | Tag::Untagged => None,
        };
        if let Some(step) = step {
            self.go(step, 0, None);
        }
    }

    /// Goes to a field of a type whose fields are not known.
    fn untyped(&mut self, step: &FieldStep) -> Option<()> {
        self.data = None;
        self.shape = None;
        if self.is_compared {
            self.push(&step.to_string());
            return Some(());
        }
        let declared = self.declared;
        if self.is_opaque {
            let name = step.to_string();
            match (step, same_name(&name, declared)) {
                (FieldStep::Index(index), _) => self.go(&name, *index, None),
                (_, Some((at, wire))) => self.go(wire, at, None),
                (FieldStep::Field(_), None) => self.go(&name, 0, None),
                // The name may be the key of a map, which the client has chosen.
                (FieldStep::Name(_), None) => self.key(Some(&name), 0),
            }
            return Some(());
        }
        match step {
            FieldStep::Index(index) => match self.trees.first()? {
                tree if tree.is_list() => self.go_to_item(*index, None),
                tree if tree.members().is_some() => {
                    let trees = self
                        .trees
                        .iter()
                        .filter_map(|tree| Some(tree.members()?.iter().map(|(_, tree)| tree)));
                    self.trees = trees.flatten().take(MAX_CANDIDATES).collect();
                    self.push("*");
                    self.place.order.push(*index);
                }
                // The only field of a newtype.
                _ if *index == 0 => {}
                _ => return None,
            },
            FieldStep::Field(name) | FieldStep::Name(name) => {
                let mut names: Vec<(usize, &str)> = Vec::new();
                for tree in &self.trees {
                    if let Some(members) = tree.members() {
                        names.extend(
                            members.iter().enumerate().map(|(at, (name, _))| (at, &**name)),
                        );
                    }
                }
                let (at, wire) = same_name(name, &names).or_else(|| same_name(name, declared))?;
                let in_the_type = declared.iter().find(|(_, declared)| *declared == wire);
                // The pattern of a path is a part of the program.
                let is_param = |tree: &&Tree<'_>| matches!(tree.member(wire), Some(Tree::Param(_)));
                let is_declared = in_the_type.is_some() || self.trees.iter().any(is_param);
                let at = in_the_type.map_or(at, |(at, _)| *at);
                let wire = wire.to_owned();
                if matches!(step, FieldStep::Name(_)) && !is_declared {
                    self.key(Some(&wire), at);
                } else {
                    self.go(&wire, at, None);
                }
            }
        }
        Some(())
    }

    /// Goes to the member or item with this name.
    fn go(&mut self, name: &str, place: usize, shape: Option<&'static Shape>) {
        self.push(name);
        self.descend(name, place);
        self.shape = shape;
    }

    fn push(&mut self, step: &str) {
        push_step(&mut self.place.pointer, step);
        push_step(&mut self.place.exact, step);
    }

    /// Goes to an item of a list, under the index that the client wrote.
    fn go_to_item(&mut self, index: usize, shape: Option<&'static Shape>) {
        let written = self.trees.first().map(|tree| tree.written_index(index));
        self.push(&written.unwrap_or_else(|| index.to_string()));
        self.trees = self.trees.iter().filter_map(|tree| tree.item(index)).collect();
        self.place.order.push(index);
        self.shape = shape;
    }

    /// Goes to the value of a key that the client has chosen.
    fn key(&mut self, key: Option<&str>, place: usize) {
        push_step(&mut self.place.pointer, key.map_or("*", |key| self.source.key(key)));
        push_step(&mut self.place.exact, key.unwrap_or("*"));
        match key {
            Some(key) => self.descend(key, place),
            None => {
                self.trees.clear();
                self.place.order.push(place);
            }
        }
    }

    fn descend(&mut self, name: &str, place: usize) {
        self.trees = self.trees.iter().filter_map(|tree| tree.member(name)).collect();
        self.place.order.push(place);
    }
}

fn has_field(variant: &Variant, name: &str) -> bool {
    let fields = match &variant.content {
        Content::Struct(found) => found.fields,
        Content::Newtype(inner, ..) => inner().fields(),
        _ => &[],
    };
    fields.iter().any(|field| field.rust == name)
}

/// The only name that equals `name`, or else the only one that differs from it only in case and separators of ASCII.
fn same_name<'n>(name: &str, names: &[(usize, &'n str)]) -> Option<(usize, &'n str)> {
    if let Some(found) = names.iter().find(|(_, candidate)| *candidate == name) {
        return Some(*found);
    }
    let mut found = names.iter().filter(|(_, candidate)| plain(candidate).eq(plain(name)));
    let first = found.next()?;
    found.all(|(_, other)| *other == first.1).then_some(*first)
}

/// A name without its case and separators of ASCII.
fn plain(name: &str) -> impl Iterator<Item = char> {
    let letters = name.chars().filter(|c| c.is_ascii_alphanumeric() || !c.is_ascii());
    letters.map(|c| c.to_ascii_lowercase())
}

/// The most values of a map that are searched for a name.
const MAX_CANDIDATES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_but_for_case_and_separators_of_ascii() {
        for (name, other, same) in [
            ("user_name", "userName", true),
            ("user_name", "User-Name", true),
            ("user_name", "user.name", true),
            ("größe", "Größe", true),
            ("key", "\u{212a}ey", false),
            ("id", "\u{131}d", false),
            ("id", "\u{130}d", false),
            ("sid", "\u{17f}id", false),
            ("name", "\u{2000}name", false),
            ("name", "\u{a0}name", false),
            ("name", "na\u{ad}me", false),
            ("größe", "GRÖSSE", false),
        ] {
            assert_eq!(same_name(name, &[(0, other)]).is_some(), same, "{name} {other}");
        }
    }

    #[test]
    fn two_variants_of_a_name_are_ambiguous() {
        assert_eq!(same_name("user_name", &[(0, "userName"), (1, "UserName")]), None);
        let exact = same_name("user_name", &[(0, "userName"), (1, "user_name")]);
        assert_eq!(exact, Some((1, "user_name")));
    }
}
