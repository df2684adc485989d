//! The schemas of the document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::declare::operation::{
    INPUT_PATH, OUTPUT_PATH, OWN_PATH, Schemas, definition, definition_of,
};

/// Returns the named schemas, and makes each reference in the document name one of them.
///
/// A type that is sent and received has one schema, if both directions have the same. Otherwise that of the input has the suffix `Input`. No two
/// schemas get one name, and each name has only the characters that OpenAPI permits.
pub(super) fn components(generated: Schemas, document: &mut Value) -> Map<String, Value> {
    let (inputs, outputs) = generated.definitions();
    let differs = different(&inputs, &outputs);
    let own = [(PROBLEM, problem()), (FIELD_ERROR, field_error())];
    let mut names = Names::default();
    for (name, _) in &own {
        names.add(OWN_PATH, name, name);
    }
    for name in outputs.keys() {
        names.add(OUTPUT_PATH, name, name);
    }
    for name in inputs.keys() {
        match outputs.contains_key(name) {
            false => names.add(INPUT_PATH, name, name),
            true if differs.contains(name) => {
                names.add(INPUT_PATH, name, &format!("{name}Input"));
            }
            true => names.same(INPUT_PATH, OUTPUT_PATH, name),
        }
    }
    let is_used = any(document, &mut |value| refers(value, OWN_PATH));
    names.rename_references(document);
    let mut components = Map::new();
    let own = own.into_iter().filter(|_| is_used).map(|(name, schema)| (name.to_owned(), schema));
    let all = [(INPUT_PATH, inputs), (OUTPUT_PATH, outputs), (OWN_PATH, own.collect())];
    for (path, schemas) in all {
        for (name, mut schema) in schemas {
            names.rename_references(&mut schema);
            bound_numbers(&mut schema);
            components.insert(names.of(path, &name).to_owned(), schema);
        }
    }
    bound_numbers(document);
    components
}

/// The names of the inputs whose schema is not that of the output of this name.
fn different(inputs: &Map<String, Value>, outputs: &Map<String, Value>) -> BTreeSet<String> {
    let mut differs = BTreeSet::new();
    // Two schemas differ if a schema that they refer to does, so this ends when nothing was added.
    loop {
        let before = differs.len();
        for (name, input) in inputs {
            let Some(output) = outputs.get(name) else { continue };
            let mut refers_to_other = |value: &Value| {
                definition(value, INPUT_PATH).is_some_and(|found| differs.contains(&found))
            };
            if any(input, &mut refers_to_other) || moved(input) != *output {
                differs.insert(name.clone());
            }
        }
        if differs.len() == before {
            return differs;
        }
    }
}

/// The names of the components, by the path and the name with which they were generated.
#[derive(Default)]
struct Names {
    given: BTreeMap<(&'static str, String), String>,
    taken: BTreeSet<String>,
}

impl Names {
    fn add(&mut self, path: &'static str, name: &str, wanted: &str) {
        let given = unused(&mut self.taken, wanted, "");
        self.given.insert((path, name.to_owned()), given);
    }

    /// Gives a schema the name that the one of another path has.
    fn same(&mut self, path: &'static str, other: &'static str, name: &str) {
        let given = self.of(other, name).to_owned();
        self.given.insert((path, name.to_owned()), given);
    }

    fn of<'a>(&'a self, path: &'static str, name: &'a str) -> &'a str {
        self.given.get(&(path, name.to_owned())).map_or(name, String::as_str)
    }

    fn rename_references(&self, value: &mut Value) {
        walk(value, &mut |object| {
            for path in [INPUT_PATH, OUTPUT_PATH, OWN_PATH] {
                let name = object.get("$ref").and_then(|reference| definition_of(reference, path));
                if let Some(name) = name {
                    let path = format!("#/components/schemas/{}", self.of(path, &name));
                    object.insert("$ref".to_owned(), Value::from(path));
                }
            }
        });
    }
}

/// A name like the wanted one, with only the characters that the name of a component may have, which no other component has.
pub(super) fn unused(taken: &mut BTreeSet<String>, wanted: &str, separator: &str) -> String {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let wanted: String = wanted.chars().map(|c| if is_valid(c) { c } else { '_' }).collect();
    let (mut name, mut number) = (wanted.clone(), 2);
    while !taken.insert(name.clone()) {
        name = format!("{wanted}{separator}{number}");
        number += 1;
    }
    name
}

/// Moves header fields and responses that occur more than once to the components, and leaves references to them. The steps in front of many
/// handlers would otherwise repeat the same text for each of them.
pub(super) fn share(document: &mut Value, components: &mut Map<String, Value>) {
    let mut headers = Shared::new("headers");
    let mut responses = Shared::new("responses");
    each_response(document, &mut |_, response| {
        for (name, header) in
            response.get_mut("headers").and_then(Value::as_object_mut).into_iter().flatten()
        {
            headers.count(name, header);
        }
    });
    each_response(document, &mut |_, response| {
        for (_, header) in
            response.get_mut("headers").and_then(Value::as_object_mut).into_iter().flatten()
        {
            headers.replace(header);
        }
    });
    each_response(document, &mut |status, response| responses.count(status, response));
    each_response(document, &mut |_, response| responses.replace(response));
    for shared in [headers, responses] {
        if !shared.values.is_empty() {
            components.insert(shared.kind.to_owned(), Value::Object(shared.values));
        }
    }
}

/// The components of a kind.
struct Shared {
    kind: &'static str,
    /// How often a text occurs, and the name that it would have.
    seen: BTreeMap<String, (usize, String)>,
    names: BTreeSet<String>,
    values: Map<String, Value>,
}

impl Shared {
    fn new(kind: &'static str) -> Self {
        Self { kind, seen: BTreeMap::new(), names: BTreeSet::new(), values: Map::new() }
    }

    fn count(&mut self, name: &str, value: &Value) {
        let (count, own) = self.seen.entry(value.to_string()).or_default();
        *count += 1;
        if own.is_empty() {
            *own = unused(&mut self.names, name, "-");
        }
    }

    fn replace(&mut self, value: &mut Value) {
        let Some((2.., name)) = self.seen.get(&value.to_string()) else { return };
        let reference = json!({ "$ref": format!("#/components/{}/{name}", self.kind) });
        self.values.insert(name.clone(), std::mem::replace(value, reference));
    }
}

fn each_response(document: &mut Value, act: &mut dyn FnMut(&str, &mut Value)) {
    walk(document.get_mut("paths").unwrap_or(&mut Value::Null), &mut |object| {
        let is_operation = object.contains_key("operationId");
        let responses = object.get_mut("responses").filter(|_| is_operation);
        for (status, response) in responses.and_then(Value::as_object_mut).into_iter().flatten() {
            act(status, response);
        }
    });
}

/// What a reference of the document names, or the value itself.
pub(super) fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let path = value.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
    path.and_then(|path| document.pointer(path)).unwrap_or(value)
}

fn refers(value: &Value, path: &str) -> bool {
    definition(value, path).is_some()
}

fn any(value: &Value, test: &mut dyn FnMut(&Value) -> bool) -> bool {
    test(value)
        || match value {
            Value::Array(items) => items.iter().any(|item| any(item, test)),
            Value::Object(members) => members.values().any(|member| any(member, test)),
            _ => false,
        }
}

/// A schema of an input as if it were that of an output.
fn moved(schema: &Value) -> Value {
    let mut schema = schema.clone();
    walk(&mut schema, &mut |object| {
        if let Some(Value::String(path)) = object.get_mut("$ref") {
            *path = path.replace(INPUT_PATH, OUTPUT_PATH);
        }
    });
    schema
}

fn walk(value: &mut Value, change: &mut dyn FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        Value::Object(object) => {
            change(object);
            object.values_mut().for_each(|member| walk(member, change));
        }
        _ => {}
    }
}

/// Adds the bounds of Rust's numbers, which a format alone does not set.
fn bound_numbers(value: &mut Value) {
    walk(value, &mut |object| {
        let format = object.get("format").and_then(Value::as_str);
        let (least, most) = match format {
            Some("int8") => (json!(i8::MIN), json!(i8::MAX)),
            Some("int16") => (json!(i16::MIN), json!(i16::MAX)),
            Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
            Some("int64" | "int") => (json!(i64::MIN), json!(i64::MAX)),
            Some("uint8") => (json!(0), json!(u8::MAX)),
            Some("uint16") => (json!(0), json!(u16::MAX)),
            Some("uint32") => (json!(0), json!(u32::MAX)),
            Some("uint64" | "uint") => (json!(0), json!(u64::MAX)),
            Some("float") => (json!(f32::MIN), json!(f32::MAX)),
            _ => return,
        };
        let is_number = |kind: &Value| kind == "integer" || kind == "number";
        let of_numbers = match object.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().any(is_number),
            Some(kind) => is_number(kind),
            None => false,
        };
        if of_numbers {
            let has = |keys: [&str; 2]| keys.iter().any(|key| object.contains_key(*key));
            let (has_least, has_most) =
                (has(["minimum", "exclusiveMinimum"]), has(["maximum", "exclusiveMaximum"]));
            if !has_least {
                object.insert("minimum".to_owned(), least);
            }
            if !has_most {
                object.insert("maximum".to_owned(), most);
            }
        }
    });
}

/// The schema of a problem (RFC 9457).
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "A problem (RFC 9457). It may have further members.",
        "required": ["type", "title", "status"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference", "description": "The kind of the problem. `about:blank`: that of the status." },
            "title": { "type": "string", "description": "The kind of the problem, in words." },
            "status": { "type": "integer", "minimum": 100, "maximum": 999 },
            "detail": { "type": "string", "description": "What is wrong in this request." },
            "instance": { "type": "string", "format": "uri-reference" },
            "errors": { "type": "array", "items": { "$ref": "#/components/own/FieldError" } }
        }
    })
}

/// The schema of an error of a field.
fn field_error() -> Value {
    json!({
        "type": "object",
        "required": ["location", "pointer", "code", "detail"],
        "properties": {
            "location": { "type": "string", "enum": ["path", "query", "header", "body"] },
            "pointer": { "type": "string", "description": "A JSON Pointer (RFC 6901) of the field." },
            "code": { "type": "string", "description": "The rule, for programs." },
            "detail": { "type": "string", "description": "The error, in words." },
            "params": { "type": "object", "description": "The limits of the rule." }
        }
    })
}

const PROBLEM: &str = "Problem";
const FIELD_ERROR: &str = "FieldError";
