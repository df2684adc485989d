//! Reads an input field by field, after it was refused as a whole, and collects every error.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde_core::de::DeserializeOwned;

use crate::extract::budget::Budget;
use crate::extract::failure::WRONG_LENGTH;
use crate::extract::field_error::push_step;
use crate::extract::fields::document::{Document, Tree, Unreadable};
use crate::extract::fields::read::missing;
use crate::extract::fields::shape::{
    Content, Enum, Field, MAX_WRAPPERS, Shape, ShapeOf, Struct, Tag, Variant,
};
use crate::extract::fields::stand_in;
use crate::extract::input::RawInput;
use crate::extract::objects::Objects;
use crate::extract::{FieldError, Location};

/// An error, and the place of its field in the order of the type.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) order: Vec<usize>,
    pub(crate) error: FieldError,
}

/// What can be read of an input that does not have the expected form.
#[derive(Debug)]
pub struct Partial<'a, T> {
    pub(crate) errors: Vec<Found>,
    /// The data with stand-ins for the members that can't be read, and again with other stand-ins: a rule whose result depends on them is not reported.
    /// `None` if there is no stand-in for one of them.
    pub(crate) data: Option<[T; 2]>,
    pub(crate) document: Document<'a>,
    /// The pointers of the members with stand-ins, with all keys, and their stand-ins as JSON.
    pub(crate) replaced: Vec<(String, String)>,
}

/// The errors in the order of the type.
pub(crate) fn sorted(mut found: Vec<Found>) -> Vec<FieldError> {
    found.sort_by(|a, b| a.order.cmp(&b.order));
    found.into_iter().map(|found| found.error).collect()
}

impl Field {
    /// Whether the field alone can be read from a document that contains only its value.
    pub fn accepts(&self, document: &Document<'_>) -> bool {
        accepts(self.shape(), document)
    }
}

/// Whether a value can be read without an error.
pub(crate) fn accepts(shape: &'static Shape, document: &Document<'_>) -> bool {
    let source = RawInput::body("");
    let mut walk = Walk::new(&source, Location::Body);
    walk.value(shape, &mut document.tree.clone(), 0);
    walk.errors.is_empty()
}

/// Reads an input field by field. `None` if no field is at fault.
pub(crate) fn partial<'a, T: DeserializeOwned>(
    source: &RawInput,
    location: Location,
    shape: &'static Shape,
    mut document: Document<'a>,
) -> Option<Partial<'a, T>> {
    let mut tree = document.tree.clone();
    let mut another = Walk { another: true, ..Walk::new(source, location) };
    another.value(shape, &mut tree, 0);
    let mut walk = Walk::new(source, location);
    walk.value(shape, &mut document.tree, 0);
    if walk.errors.is_empty() {
        return None;
    }
    let read = |tree: &Tree<'_>| {
        let budget = Budget::new(source.value_limit(), source.bytes().len());
        T::deserialize(Objects::new(tree, &budget)).ok()
    };
    let data = if walk.is_readable && another.is_readable {
        read(&document.tree).zip(read(&tree)).map(|(one, other)| [one, other])
    } else {
        None
    };
    let replaced = walk.replaced.into_iter().chain(another.replaced).collect();
    Some(Partial { errors: walk.errors, data, document, replaced })
}

fn wrong_type(detail: &'static str) -> Unreadable {
    Unreadable::new("type", detail)
}

struct Walk<'w> {
    source: &'w RawInput,
    location: Location,
    pointer: String,
    /// The pointer with the keys that the client has chosen. It is not shown.
    exact: String,
    order: Vec<usize>,
    errors: Vec<Found>,
    replaced: Vec<(String, String)>,
    /// Whether each member that can't be read has a stand-in.
    is_readable: bool,
    /// Whether the stand-ins are other ones than those of the first pass.
    another: bool,
}

impl<'w> Walk<'w> {
    fn new(source: &'w RawInput, location: Location) -> Self {
        Self {
            source,
            location,
            pointer: String::new(),
            exact: String::new(),
            order: Vec::new(),
            errors: Vec::new(),
            replaced: Vec::new(),
            is_readable: true,
            another: false,
        }
    }

    /// Reads the value in `tree`, and puts a stand-in in its place if it can't be read.
    fn value(&mut self, shape: &'static Shape, tree: &mut Tree<'_>, depth: usize) {
        if self.errors.len() >= MAX_ERRORS || depth > MAX_DEPTH {
            self.is_readable = false;
            return;
        }
        let before = self.errors.len();
        if tree.is_conflict() {
            let detail = "Is given both with and without brackets";
            return self.refuse(Unreadable::new("conflict", detail), shape, tree);
        }
        match shape {
            Shape::Value { read } => self.whole(*read, shape, tree),
            Shape::Struct(found) => match is_object(tree) {
                true => self.members(found, tree, &mut Vec::new(), depth),
                false => self.refuse(wrong_type("Must be an object"), shape, tree),
            },
            Shape::List { item, len, .. } => {
                let lengths = len.map_or(0..=usize::MAX, |len| len..=len);
                self.list(|_| item(), lengths, shape, tree, depth);
            }
            Shape::Set { item } => self.list(|_| item(), 0..=usize::MAX, shape, tree, depth),
            Shape::Map { value, is_key, .. } => match is_object(tree) {
                true => self.map(*value, *is_key, tree, &[], depth),
                false => self.refuse(wrong_type("Must be an object"), shape, tree),
            },
            Shape::Tuple { items, required, .. } => {
                self.tuple(items, *required, shape, tree, depth);
            }
            Shape::Option { some, .. } => {
                if !tree.is_null() && !is_empty(tree) {
                    self.value(some(), tree, depth);
                }
            }
            Shape::Same { inner, .. } => self.value(inner(), tree, depth),
            Shape::Via { inner, read } => {
                self.value(inner(), tree, depth);
                if self.errors.len() == before {
                    self.whole(*read, shape, tree);
                }
            }
            Shape::Enum(found) => self.variants(found, shape, tree, depth, false),
        }
    }

    /// Reads a value as a whole.
    fn whole(
        &mut self,
        read: fn(&Tree<'_>) -> Result<(), Unreadable>,
        shape: &'static Shape,
        tree: &mut Tree<'_>,
    ) {
        let only = match tree {
            // A path with one parameter is the value of that parameter.
            Tree::Object(members) => match members.as_mut_slice() {
                [(name, value @ Tree::Param(_))] if self.pointer.is_empty() => {
                    Some((name.clone(), value))
                }
                _ => None,
            },
            _ => None,
        };
        if let Some((name, value)) = only {
            let name = name.into_owned();
            if let Err(error) = read(value) {
                self.at(&name, 0, |walk| walk.refuse(error, shape, value));
            }
            return;
        }
        if let Err(error) = read(tree) {
            self.refuse(error, shape, tree);
        }
    }

    /// Reads the segments of a catch-all, which is one parameter.
    fn segments(
        &mut self,
        item: impl Fn(usize) -> &'static Shape,
        lengths: RangeInclusive<usize>,
        shape: &'static Shape,
        tree: &mut Tree<'_>,
    ) {
        let Tree::Param(param) = tree else { return };
        if !lengths.contains(&param.segments().count()) {
            return self.refuse(wrong_length(), shape, tree);
        }
        for (index, segment) in param.segments().enumerate() {
            let Shape::Value { read } = item(index).unwrapped() else {
                self.is_readable = false;
                return;
            };
            if let Err(error) = read(&Tree::Param(segment)) {
                return self.refuse(error, shape, tree);
            }
        }
    }

    fn tuple(
        &mut self,
        items: &'static [ShapeOf],
        required: usize,
        shape: &'static Shape,
        tree: &mut Tree<'_>,
        depth: usize,
    ) {
        if let Tree::Object(params) = tree
            && params.iter().all(|(_, param)| matches!(param, Tree::Param(_)))
            && params.len() == items.len()
        {
            for (index, (item, (name, tree))) in items.iter().zip(params).enumerate() {
                self.at(name, index, |walk| walk.value(item(), tree, depth + 1));
            }
            return;
        }
        let item = |index: usize| match items.get(index) {
            Some(item) => item(),
            None => ANYTHING,
        };
        self.list(item, required..=items.len(), shape, tree, depth);
    }

    /// Reads the items of a list. Each has the shape that `item` returns for its index.
    fn list(
        &mut self,
        item: impl Fn(usize) -> &'static Shape,
        lengths: RangeInclusive<usize>,
        shape: &'static Shape,
        tree: &mut Tree<'_>,
        depth: usize,
    ) {
        if matches!(tree, Tree::Param(_)) {
            return self.segments(item, lengths, shape, tree);
        }
        let length = match tree.item_count() {
            Ok(length) => length,
            Err(error) => return self.refuse(error, shape, tree),
        };
        if !lengths.contains(&length) {
            return self.refuse(wrong_length(), shape, tree);
        }
        for index in 0..length {
            let written = tree.written_index(index);
            let Some(tree) = tree.item_mut(index) else { continue };
            self.at(&written, index, |walk| walk.value(item(index), tree, depth + 1));
        }
    }

    /// Reads the values of a map, except those of the names in `claimed`.
    fn map(
        &mut self,
        value: ShapeOf,
        is_key: fn(&str) -> bool,
        tree: &mut Tree<'_>,
        claimed: &[&str],
        depth: usize,
    ) {
        let Some(members) = tree.members_mut() else { return };
        let mut unreadable = Vec::new();
        for (index, (name, tree)) in members.iter_mut().enumerate() {
            if self.errors.len() >= MAX_ERRORS {
                self.is_readable = false;
                break;
            }
            if claimed.contains(&&**name) {
                continue;
            }
            let shown = self.source.key(name);
            if !is_key(name) {
                self.at_key(name, shown, index, |walk| {
                    walk.push(Unreadable::new("invalid", "Is not a valid key"))
                });
                unreadable.push(index);
                continue;
            }
            self.at_key(name, shown, index, |walk| walk.value(value(), tree, depth + 1));
        }
        let (mut unreadable, mut index) = (unreadable.into_iter().peekable(), 0..);
        members
            .retain(|_| index.next().is_none_or(|index| unreadable.next_if_eq(&index).is_none()));
    }

    /// Reads the members of a struct. The names of its fields are added to `claimed`.
    fn members(
        &mut self,
        found: &'static Struct,
        tree: &mut Tree<'_>,
        claimed: &mut Vec<&'static str>,
        depth: usize,
    ) {
        claimed.extend(found.tags);
        claimed.extend(found.fields.iter().flat_map(|field| field.wire_names()));
        for (index, field) in found.fields.iter().enumerate() {
            if field.flatten || field.names.is_empty() {
                continue;
            }
            let Some(members) = tree.members_mut() else { return };
            let mut places = members
                .iter()
                .enumerate()
                .filter(|(_, (name, _))| field.names.contains(&&**name))
                .map(|(place, _)| place);
            match (places.next(), places.next()) {
                (None, _) if (field.may_be_missing)() => {}
                (None, _) => {
                    let mut tree = Tree::NULL;
                    let name = field.names.first().copied().unwrap_or(field.rust);
                    self.at(name, index, |walk| walk.refuse(missing(), field.shape(), &mut tree));
                    members.push((name.into(), tree));
                }
                (Some(place), second) => {
                    let Some((name, tree)) = members.get_mut(place) else { continue };
                    let name = name.clone().into_owned();
                    if second.is_some() {
                        self.at(&name, index, |walk| {
                            walk.push(Unreadable::new("duplicate", "Is given more than once"));
                        });
                    } else {
                        self.at(&name, index, |walk| walk.value(field.shape(), tree, depth + 1));
                    }
                    if second.is_some() {
                        let mut seen = false;
                        members.retain(|(name, _)| {
                            let is_again = field.names.contains(&&**name) && seen;
                            seen |= field.names.contains(&&**name);
                            !is_again
                        });
                    }
                }
            }
        }
        for (index, field) in found.fields.iter().enumerate().filter(|(_, field)| field.flatten) {
            self.order.push(index);
            self.flattened(field, tree, claimed, depth);
            self.order.pop();
        }
        if found.deny_unknown {
            let Some(members) = tree.members_mut() else { return };
            let mut errors = Vec::new();
            members.retain(|(name, _)| {
                let is_known = claimed.contains(&&**name);
                if !is_known && errors.len() < MAX_ERRORS {
                    errors.push(self.source.key(name).to_owned());
                }
                is_known
            });
            for key in errors {
                self.at(&key, found.fields.len(), |walk| {
                    walk.push(Unreadable::new("unknown", "Is not known here"));
                });
            }
        }
    }

    /// Reads a flattened field from the members of the object around it.
    fn flattened(
        &mut self,
        field: &'static Field,
        tree: &mut Tree<'_>,
        claimed: &mut Vec<&'static str>,
        depth: usize,
    ) {
        let mut shape = field.shape();
        for _ in 0..MAX_WRAPPERS {
            match shape {
                Shape::Same { inner, .. } => shape = inner(),
                // serde reads `None` if the members can't be read.
                Shape::Option { .. } => return,
                _ => break,
            }
        }
        if depth > MAX_DEPTH {
            self.is_readable = false;
            return;
        }
        match shape {
            Shape::Struct(found) => self.members(found, tree, claimed, depth + 1),
            Shape::Map { value, is_key, .. } => self.map(*value, *is_key, tree, claimed, depth),
            Shape::Enum(found) => self.variants(found, shape, tree, depth + 1, true),
            Shape::Via { inner, .. } => {
                if let Shape::Struct(found) = inner().unwrapped() {
                    self.members(found, tree, claimed, depth + 1);
                }
            }
            Shape::Value { read } => {
                let Some(members) = tree.members() else { return };
                let rest = members.iter().filter(|(name, _)| !claimed.contains(&&**name));
                if let Err(error) = read(&Tree::Object(rest.cloned().collect())) {
                    self.is_readable = false;
                    self.push(error);
                }
            }
            _ => {}
        }
    }

    /// Reads a variant. If it is flat, its members are beside others in one object, which stay.
    fn variants(
        &mut self,
        found: &'static Enum,
        shape: &'static Shape,
        tree: &mut Tree<'_>,
        depth: usize,
        is_flat: bool,
    ) {
        // A variant that contains its own type may be read from the same members again.
        if depth > MAX_DEPTH {
            self.is_readable = false;
            return;
        }
        let is_whole = matches!(found.tag, Tag::Untagged)
            || found.variants.iter().any(|variant| variant.is_untagged);
        let known = match found.tag {
            _ if is_whole && is_flat => {
                return if let Err(error) = (found.read)(tree) {
                    self.push(error);
                    self.replace_members(shape, tree);
                };
            }
            Tag::Internal(_) | Tag::Adjacent(..) if !is_whole && !is_object(tree) => {
                return self.refuse(wrong_type("Must be an object"), shape, tree);
            }
            Tag::Internal(tag) | Tag::Adjacent(tag, _) if !is_whole => {
                self.tagged(found, tag, tree).map_err(|error| (tag, error))
            }
            Tag::External if !is_whole => {
                return self.named_variant(found, shape, tree, depth, is_flat);
            }
            _ => return self.whole(found.read, shape, tree),
        };
        let (step, error) = match (found.tag, known) {
            (Tag::Adjacent(_, step), Ok((index, known))) => {
                let Some(members) = tree.members_mut() else { return };
                match members.iter_mut().find(|(name, _)| name == step) {
                    Some((_, tree)) => {
                        return self.at(step, index, |walk| walk.content(known, tree, depth + 1));
                    }
                    None if known.may_be_empty() => return,
                    None => (step, missing()),
                }
            }
            (Tag::Internal(tag), Ok((index, known))) => {
                self.order.push(index);
                self.beside_tag(known, tag, tree, depth);
                self.order.pop();
                return;
            }
            (_, Err(error)) => error,
            (_, Ok(_)) => return,
        };
        self.at(step, 0, |walk| walk.push(error));
        if !is_flat {
            return self.replace(shape, tree);
        }
        // The content is not that of the stand-in's variant.
        if let (Tag::Adjacent(_, content), Some(members)) = (found.tag, tree.members_mut()) {
            members.retain(|(name, _)| name != content);
        }
        self.replace_members(shape, tree);
    }

    /// Reads a variant whose name is that of a member.
    fn named_variant(
        &mut self,
        found: &'static Enum,
        shape: &'static Shape,
        tree: &mut Tree<'_>,
        depth: usize,
        is_flat: bool,
    ) {
        let members = tree.members_mut().map_or(&mut [][..], Vec::as_mut_slice);
        let is_one = members.len() == 1;
        let known = members.iter_mut().find_map(|(name, content)| {
            variant(found, name).map(|(index, known)| (name.clone(), index, known, content))
        });
        match known {
            Some((name, index, known, content)) if is_one || is_flat => {
                self.at(&name, index, |walk| walk.content(known, content, depth + 1));
            }
            _ if is_flat => {
                self.push(Unreadable::new("invalid", "Is not valid"));
                self.replace_members(shape, tree);
            }
            None if is_one => self.refuse(unknown_variant(found, tree), shape, tree),
            _ => self.whole(found.read, shape, tree),
        }
    }

    /// The variant that a tag selects.
    fn tagged(
        &self,
        found: &'static Enum,
        tag: &str,
        tree: &Tree<'_>,
    ) -> Result<(usize, &'static Variant), Unreadable> {
        let Some(name) = tree.member(tag) else { return Err(missing()) };
        let Some(name) = name.text() else { return Err(wrong_type("Must be a string")) };
        variant(found, &name).ok_or_else(|| unknown_variant(found, tree))
    }

    /// Reads the content of a variant.
    fn content(&mut self, known: &'static Variant, tree: &mut Tree<'_>, depth: usize) {
        match &known.content {
            Content::Unit => {}
            Content::Newtype(inner, ..) => self.value(inner(), tree, depth),
            Content::Tuple(items, required) => {
                self.tuple(items, *required, ANYTHING, tree, depth);
            }
            Content::Struct(found) => match is_object(tree) {
                true => self.members(found, tree, &mut Vec::new(), depth),
                false => self.refuse(wrong_type("Must be an object"), ANYTHING, tree),
            },
        }
    }

    /// Reads the content of a variant from the members beside its tag.
    fn beside_tag(
        &mut self,
        known: &'static Variant,
        tag: &'static str,
        tree: &mut Tree<'_>,
        depth: usize,
    ) {
        let mut claimed = vec![tag];
        match &known.content {
            Content::Struct(found) => self.members(found, tree, &mut claimed, depth),
            Content::Newtype(inner, ..) => match inner().unwrapped() {
                Shape::Struct(found) => self.members(found, tree, &mut claimed, depth),
                Shape::Map { value, is_key, .. } => {
                    self.map(*value, *is_key, tree, &claimed, depth)
                }
                Shape::Enum(found) => self.variants(found, inner(), tree, depth + 1, true),
                Shape::Value { read } => {
                    let Some(members) = tree.members() else { return };
                    let rest = members.iter().filter(|(name, _)| name != tag);
                    if let Err(error) = read(&Tree::Object(rest.cloned().collect())) {
                        self.is_readable = false;
                        self.push(error);
                    }
                }
                _ => {}
            },
            Content::Unit | Content::Tuple(..) => {}
        }
    }

    /// Adds an error of the value here, and puts a stand-in in its place.
    fn refuse(&mut self, error: Unreadable, shape: &'static Shape, tree: &mut Tree<'_>) {
        self.push(error);
        self.replace(shape, tree);
    }

    fn replace(&mut self, shape: &'static Shape, tree: &mut Tree<'_>) {
        match stand_in::of(shape, self.another) {
            Some((stand_in, text)) => {
                *tree = stand_in;
                self.replaced.push((self.exact.clone(), text));
            }
            None => self.is_readable = false,
        }
    }

    /// Puts the members of a stand-in in the place of those with their names.
    fn replace_members(&mut self, shape: &'static Shape, tree: &mut Tree<'_>) {
        match (stand_in::of(shape, self.another), tree.members_mut()) {
            (Some((Tree::Object(stand_in), _)), Some(members)) => {
                for (name, value) in stand_in {
                    members.retain(|(own, _)| *own != name);
                    let mut exact = self.exact.clone();
                    push_step(&mut exact, &name);
                    self.replaced.push((exact, String::new()));
                    members.push((name, value));
                }
            }
            _ => self.is_readable = false,
        }
    }

    fn push(&mut self, error: Unreadable) {
        let mut pointer = self.pointer.clone();
        for (step, is_declared) in error.steps.iter().rev() {
            push_step(&mut pointer, if *is_declared { step } else { self.source.key(step) });
        }
        let is_index = error.code == "index";
        let mut error =
            FieldError::new(self.location, error.code, error.detail).with_pointer(pointer);
        if is_index && let Some(max) = self.source.max_index() {
            error = error.with_param("max", max.to_string());
        }
        self.errors.push(Found { order: self.order.clone(), error });
    }

    fn at(&mut self, step: &str, place: usize, inside: impl FnOnce(&mut Self)) {
        self.at_key(step, step, place, inside);
    }

    /// The same for a key of which another text is shown.
    fn at_key(&mut self, key: &str, shown: &str, place: usize, inside: impl FnOnce(&mut Self)) {
        let (pointer, exact) = (self.pointer.len(), self.exact.len());
        push_step(&mut self.pointer, shown);
        push_step(&mut self.exact, key);
        self.order.push(place);
        inside(self);
        self.order.pop();
        self.pointer.truncate(pointer);
        self.exact.truncate(exact);
    }
}

fn wrong_length() -> Unreadable {
    Unreadable::new("length", WRONG_LENGTH)
}

/// The error of a value that is not a variant of the enum, with the variants as serde lists them.
fn unknown_variant(found: &'static Enum, tree: &Tree<'_>) -> Unreadable {
    match (found.read)(tree) {
        Err(error) if error.code == "choice" => Unreadable { steps: Vec::new(), ..error },
        _ => serde_core::de::Error::unknown_variant("", &[]),
    }
}

fn is_object(tree: &Tree<'_>) -> bool {
    tree.members().is_some()
}

/// Whether it is an empty value of a form, which is `None` for an optional field.
fn is_empty(tree: &Tree<'_>) -> bool {
    let empty: Cow<'_, [u8]> = match tree {
        Tree::Form(pair) => Cow::Borrowed(pair),
        _ => return false,
    };
    !empty.contains(&b'&')
        && empty.iter().position(|byte| *byte == b'=').is_none_or(|at| at + 1 == empty.len())
}

fn variant(found: &'static Enum, name: &str) -> Option<(usize, &'static Variant)> {
    let mut variants = found.variants.iter().enumerate();
    let known = variants.clone().find(|(_, variant)| variant.names.contains(&name));
    known.or_else(|| variants.find(|(_, variant)| variant.is_other))
}

/// A value whose form is not checked.
const ANYTHING: &Shape = &Shape::Value { read: |_| Ok(()) };

/// A refusal lists a hundred errors, and reports that there are more.
pub(crate) const MAX_ERRORS: usize = 101;

/// Types that contain themselves are read up to this depth.
const MAX_DEPTH: usize = 64;
