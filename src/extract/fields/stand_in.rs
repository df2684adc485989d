//! Values in the place of members that can't be read, so that the rules of the others can be checked.

use std::borrow::Cow;
use std::cell::Cell;

use crate::extract::fields::document::Tree;
use crate::extract::fields::shape::{Content, Enum, Read, Shape, ShapeOf, Struct, Tag, Variant};

/// A value of the type, and its JSON text if it is a scalar. `None` if no sample can be read.
///
/// With `another`, it is a second value if the type has two.
pub(super) fn of(shape: &'static Shape, another: bool) -> Option<(Tree<'static>, String)> {
    let tree = Maker { another, left: Cell::new(MAX_VALUES) }.value(shape, MAX_DEPTH)?;
    let text = match &tree {
        Tree::Json(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    };
    Some((tree, text))
}

struct Maker {
    another: bool,
    /// How many more values may be made. A type that contains itself several times doubles them with each level.
    left: Cell<usize>,
}

impl Maker {
    fn value(&self, shape: &'static Shape, depth: usize) -> Option<Tree<'static>> {
        let depth = depth.checked_sub(1)?;
        self.left.set(self.left.get().checked_sub(1)?);
        match shape {
            Shape::Value { read } => self.sample(*read),
            Shape::Struct(found) => self.members(found, depth),
            Shape::List { item, len, .. } => {
                let items = (0..len.unwrap_or(0)).map(|_| self.value(item(), depth));
                items.collect::<Option<_>>().map(Tree::List)
            }
            Shape::Set { .. } => Some(Tree::List(Vec::new())),
            Shape::Map { .. } => Some(Tree::Object(Vec::new())),
            Shape::Tuple { items, .. } => self.items(items, depth),
            Shape::Option { some, .. } => match self.another {
                true => Some(self.value(some(), depth).unwrap_or(Tree::NULL)),
                false => Some(Tree::NULL),
            },
            Shape::Same { inner, .. } => self.value(inner(), depth),
            Shape::Via { inner, read } => {
                self.value(inner(), depth).filter(|tree| read(tree).is_ok())
            }
            Shape::Enum(found) => {
                let of_variant = |variant| self.variant(found, variant, depth);
                match self.another {
                    true => found.variants.iter().rev().find_map(of_variant),
                    false => found.variants.iter().find_map(of_variant),
                }
            }
        }
    }

    /// A value whose fields are not known.
    fn sample(&self, read: Read) -> Option<Tree<'static>> {
        let mut choices: &[&str] = &[];
        let mut last = None;
        for sample in SAMPLES {
            let tree = Tree::Json(Cow::Borrowed(sample.as_bytes()));
            match read(&tree) {
                Ok(()) if self.another && last.is_none() => last = Some(tree),
                Ok(()) => return Some(tree),
                Err(error) if choices.is_empty() => choices = error.choices,
                Err(_) => {}
            }
        }
        let mut texts: Vec<Tree<'static>> = choices.iter().map(|choice| text(choice)).collect();
        if self.another {
            texts.reverse();
        }
        let others = [Tree::List(Vec::new()), Tree::Object(Vec::new())];
        last.or_else(|| texts.into_iter().chain(others).find(|tree| read(tree).is_ok()))
    }

    fn items(&self, items: &'static [ShapeOf], depth: usize) -> Option<Tree<'static>> {
        let items = items.iter().map(|item| self.value(item(), depth));
        items.collect::<Option<_>>().map(Tree::List)
    }

    fn members(&self, found: &'static Struct, depth: usize) -> Option<Tree<'static>> {
        let mut members = Vec::new();
        for field in found.fields {
            if field.flatten {
                match self.value(field.shape(), depth)? {
                    Tree::Object(inside) => members.extend(inside),
                    Tree::Json(_) => {}
                    _ => return None,
                }
            } else if !(field.may_be_missing)() {
                members.push((field.wire_name()?.into(), self.value(field.shape(), depth)?));
            }
        }
        Some(Tree::Object(members))
    }

    fn variant(
        &self,
        found: &'static Enum,
        variant: &'static Variant,
        depth: usize,
    ) -> Option<Tree<'static>> {
        let name = *variant.names.first()?;
        let content = match &variant.content {
            Content::Unit => None,
            Content::Newtype(inner, ..) => Some(self.value(inner(), depth)?),
            Content::Tuple(items, _) => Some(self.items(items, depth)?),
            Content::Struct(fields) => Some(self.members(fields, depth)?),
        };
        if variant.is_untagged {
            return content;
        }
        match (found.tag, content) {
            (Tag::External, None) => Some(text(name)),
            (Tag::External, Some(content)) => Some(Tree::Object(vec![(name.into(), content)])),
            (Tag::Internal(tag), None) => Some(Tree::Object(vec![(tag.into(), text(name))])),
            (Tag::Internal(tag), Some(Tree::Object(mut inside))) => {
                inside.push((tag.into(), text(name)));
                Some(Tree::Object(inside))
            }
            (Tag::Internal(_), Some(_)) => None,
            (Tag::Adjacent(tag, content_name), content) => {
                let content = content.map(|content| (content_name.into(), content));
                Some(Tree::Object([(tag.into(), text(name))].into_iter().chain(content).collect()))
            }
            (Tag::Untagged, content) => Some(content.unwrap_or(Tree::NULL)),
        }
    }
}

/// A JSON string of a name, which may contain quotes.
fn text(name: &str) -> Tree<'static> {
    let mut json = String::new();
    crate::json_text::push_json_string(&mut json, name);
    Tree::Json(Cow::Owned(json.into_bytes()))
}

/// JSON texts, of which most types read one: the types of Rust, and what crates for times, ids and addresses parse.
const SAMPLES: &[&str] = &[
    "null",
    "false",
    "true",
    "0",
    "\"\"",
    "1",
    "0.5",
    "\"a\"",
    "\"0\"",
    "\"1970-01-01\"",
    "\"2000-01-01\"",
    "\"1970-01-01T00:00:00\"",
    "\"1970-01-01T00:00:00Z\"",
    "\"00:00:00\"",
    "\"00000000-0000-0000-0000-000000000000\"",
    "\"127.0.0.1\"",
    "\"::1\"",
    "\"127.0.0.1:80\"",
    "\"https://example.org/\"",
    "\"a@example.org\"",
    "\"+14155550100\"",
    "\"en\"",
    "\"USD\"",
    "\"PT0S\"",
    "\"0.0.0\"",
    "\"#000000\"",
];

/// Types that contain themselves have no stand-in.
const MAX_DEPTH: usize = 16;

/// The most values of a stand-in, and of those that are tried for it.
const MAX_VALUES: usize = 4000;
