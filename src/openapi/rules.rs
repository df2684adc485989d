//! The rules that no schema can express, such as a function: they are stated in the descriptions.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::declare::operation::{INPUT_PATH, Operation, definition};
use crate::extract::fields::Shape;
use crate::extract::fields::derived::{Content, Enum, Field, Struct, Tag, Variant};

/// States the rules of a type in the parameters from this index on, in the body, and in the schemas that these refer to.
pub(super) fn state(to: &mut Operation, first: usize, shape: &Shape) {
    let Operation { parameters, body, schemas, .. } = to;
    let mut statement =
        Statement { definitions: schemas.input_definitions(), visited: BTreeSet::new() };
    for parameter in parameters.iter_mut().skip(first) {
        for field in all_fields(shape) {
            if field.wire_name() == Some(&*parameter.name) {
                add(&mut parameter.description, field.rules);
                statement.describe(&mut parameter.schema, field.shape(), MAX_DEPTH);
            }
        }
    }
    for (_, schema) in body.iter_mut().flat_map(|body| &mut body.content) {
        statement.visited.clear();
        statement.describe(schema, shape, MAX_DEPTH);
    }
}

/// The fields of a struct, with those of flattened ones.
fn all_fields(shape: &Shape) -> Vec<&'static Field> {
    let mut found = Vec::new();
    let mut shapes = vec![shape.fields()];
    while let Some(fields) = shapes.pop().filter(|_| found.len() < MAX_FIELDS) {
        found.extend(fields);
        let flattened = fields.iter().filter(|field| field.is_flattened());
        shapes.extend(flattened.map(|field| field.shape().fields()));
    }
    found
}

struct Statement<'a> {
    definitions: &'a mut Map<String, Value>,
    visited: BTreeSet<String>,
}

impl Statement<'_> {
    /// `depth` ends types that contain nothing but themselves.
    fn describe(&mut self, schema: &mut Value, shape: &Shape, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        if let Some(name) = definition(schema, INPUT_PATH) {
            if self.visited.insert(name.clone())
                && let Some(mut found) = self.definitions.get_mut(&name).map(Value::take)
            {
                self.describe(&mut found, shape, depth);
                self.definitions.insert(name, found);
            }
            return;
        }
        match shape {
            Shape::Value { .. } => {}
            Shape::Struct(found) => self.members(schema, found, depth),
            Shape::List { item, .. } | Shape::Set { item } => {
                self.inside(schema.get_mut("items"), item(), depth);
            }
            Shape::Map { value, .. } => {
                self.inside(schema.get_mut("additionalProperties"), value(), depth);
            }
            Shape::Tuple { items, rules, .. } => {
                add_to(schema, rules);
                for (index, item) in items.iter().enumerate() {
                    let item_schema = schema.get_mut("prefixItems");
                    self.inside(item_schema.and_then(|list| list.get_mut(index)), item(), depth);
                }
            }
            Shape::Option { some, .. } => {
                let any = schema.get_mut("anyOf").and_then(Value::as_array_mut);
                let not_null = any.and_then(|any| any.iter_mut().find(|own| !is_null(own)));
                match not_null {
                    Some(not_null) => self.describe(not_null, some(), depth),
                    None => self.describe(schema, some(), depth),
                }
            }
            Shape::Same { inner, rules, .. } => {
                add_to(schema, rules);
                self.describe(schema, inner(), depth);
            }
            Shape::Via { inner, .. } => self.describe(schema, inner(), depth),
            Shape::Enum(found) => self.variants(schema, found, depth),
        }
    }

    fn inside(&mut self, schema: Option<&mut Value>, shape: &Shape, depth: usize) {
        if let Some(schema) = schema {
            self.describe(schema, shape, depth);
        }
    }

    fn members(&mut self, schema: &mut Value, found: &Struct, depth: usize) {
        add_to(schema, found.rules);
        for field in found.fields {
            let name = field.wire_name();
            let property = name.and_then(|name| schema.get_mut("properties")?.get_mut(name));
            match property {
                Some(property) => {
                    add_to(property, field.rules);
                    self.describe(property, field.shape(), depth);
                }
                // A flattened field has its members in this schema.
                None => {
                    add_to(schema, field.rules);
                    if field.is_flattened() {
                        self.describe(schema, field.shape(), depth);
                    }
                }
            }
        }
    }

    fn variants(&mut self, schema: &mut Value, found: &Enum, depth: usize) {
        add_to(schema, found.rules);
        for (index, variant) in found.variants.iter().enumerate() {
            let content = content(schema, found.tag, index, variant);
            let Some(content) = content else { continue };
            match &variant.content {
                Content::Unit => {}
                Content::Newtype(inner, ..) => self.describe(content, inner(), depth),
                Content::Tuple(items, _) => {
                    for (index, item) in items.iter().enumerate() {
                        let list = content.get_mut("prefixItems");
                        self.inside(list.and_then(|list| list.get_mut(index)), item(), depth);
                    }
                }
                Content::Struct(members) => self.members(content, members, depth),
            }
        }
    }
}

/// The schema of the content of a variant.
fn content<'a>(
    schema: &'a mut Value,
    tag: Tag,
    index: usize,
    variant: &Variant,
) -> Option<&'a mut Value> {
    let key = if schema.get("oneOf").is_some() { "oneOf" } else { "anyOf" };
    let list = schema.get_mut(key)?.as_array_mut()?;
    let name = *variant.names.first()?;
    let is_tagged = |own: &Value, tag: &str| {
        own.pointer(&format!("/properties/{tag}/const")).is_some_and(|found| found == name)
    };
    if variant.is_untagged {
        return list.get_mut(index);
    }
    match tag {
        Tag::External => list.iter_mut().find_map(|own| own.get_mut("properties")?.get_mut(name)),
        Tag::Internal(tag) => list.iter_mut().find(|own| is_tagged(own, tag)),
        Tag::Adjacent(tag, content) => {
            let found = list.iter_mut().find(|own| is_tagged(own, tag))?;
            found.get_mut("properties")?.get_mut(content)
        }
        Tag::Untagged => list.get_mut(index),
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

/// Adds rules to the description of a schema.
fn add_to(schema: &mut Value, rules: &[&str]) {
    let Some(object) = schema.as_object_mut().filter(|_| !rules.is_empty()) else { return };
    let description = object.entry("description").or_insert_with(|| Value::from(""));
    let mut text = description.as_str().unwrap_or_default().to_owned();
    add(&mut text, rules);
    *description = Value::from(text);
}

/// Adds the rules that a description does not contain: a type may be described for several handlers.
fn add(description: &mut String, rules: &[&str]) {
    for rule in rules {
        if !description.contains(rule) {
            let gap = if description.is_empty() { "" } else { "\n\n" };
            description.push_str(gap);
            description.push_str(rule);
        }
    }
}

const MAX_DEPTH: usize = 64;
const MAX_FIELDS: usize = 1_000;
