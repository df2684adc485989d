//! The schemas of the document.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::declare::operation::{INPUT_PATH, OUTPUT_PATH, Schemas};

/// Returns the named schemas, and makes each reference in the document name one of them.
///
/// A type that is sent and received has one schema, if both directions have the same. Otherwise that of the input has the suffix `Input`.
pub(super) fn components(generated: Schemas, document: &mut Value) -> Map<String, Value> {
    let (inputs, mut all) = generated.definitions();
    // The names of the problem's schemas are taken.
    let mut own_names: Vec<&str> = vec![PROBLEM, FIELD_ERROR];
    own_names.retain(|name| all.contains_key(*name) || inputs.contains_key(*name));
    let own_names: Vec<String> = own_names.into_iter().map(str::to_owned).collect();
    let mut differs: Vec<String> = Vec::new();
    // Two schemas differ if a schema that they refer to does, so this ends when nothing was added.
    loop {
        let before = differs.len();
        for (name, input) in &inputs {
            let Some(output) = all.get(name) else { continue };
            let has_other = |name: &String| refers(input, INPUT_PATH, name);
            let is_other = differs.iter().any(has_other) || moved(input) != *output;
            if is_other && !differs.contains(name) {
                differs.push(name.clone());
            }
        }
        if differs.len() == before {
            break;
        }
    }
    let rename = |name: &str| match differs.iter().any(|other| other == name) {
        true => format!("{name}Input"),
        false => name.to_owned(),
    };
    let mut components = Map::new();
    for (name, mut schema) in inputs {
        rename_references(&mut schema, &rename, &own_names);
        components.insert(own(&rename(&name), &own_names), schema);
    }
    for (name, schema) in &mut all {
        rename_references(schema, &rename, &own_names);
        components.entry(own(name, &own_names)).or_insert_with(|| schema.clone());
    }
    if let Some(paths) = document.get_mut("paths") {
        rename_references(paths, &rename, &own_names);
    }
    for schema in components.values_mut() {
        bound_numbers(schema);
    }
    bound_numbers(document);
    for (name, schema) in [(PROBLEM, problem()), (FIELD_ERROR, field_error())] {
        if refers_anywhere(document, name)
            || name == FIELD_ERROR && refers_anywhere(document, PROBLEM)
        {
            components.insert(name.to_owned(), schema);
        }
    }
    components
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
    names: BTreeMap<String, usize>,
    values: Map<String, Value>,
}

impl Shared {
    fn new(kind: &'static str) -> Self {
        Self { kind, seen: BTreeMap::new(), names: BTreeMap::new(), values: Map::new() }
    }

    fn count(&mut self, name: &str, value: &Value) {
        let (count, own) = self.seen.entry(value.to_string()).or_default();
        *count += 1;
        if own.is_empty() {
            let number = self.names.entry(name.to_owned()).or_default();
            *number += 1;
            *own = if *number == 1 { name.to_owned() } else { format!("{name}-{number}") };
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

/// A schema of the program with the name of one of the crate's has a suffix.
fn own(name: &str, taken: &[String]) -> String {
    if taken.iter().any(|own| own == name) { format!("{name}2") } else { name.to_owned() }
}

fn refers(schema: &Value, path: &str, name: &str) -> bool {
    let target = format!("#{path}/{name}");
    any(schema, &mut |value| value.get("$ref").is_some_and(|found| *found == *target))
}

fn refers_anywhere(document: &Value, name: &str) -> bool {
    refers(document, OUTPUT_PATH, name)
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

fn rename_references(value: &mut Value, rename: &dyn Fn(&str) -> String, taken: &[String]) {
    walk(value, &mut |object| {
        let Some(Value::String(path)) = object.get_mut("$ref") else { return };
        let bare = path.strip_prefix('#').unwrap_or(path);
        if let Some(name) = bare.strip_prefix(INPUT_PATH).and_then(|name| name.strip_prefix('/')) {
            *path = format!("#{OUTPUT_PATH}/{}", own(&rename(name), taken));
        }
    });
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
            "errors": { "type": "array", "items": { "$ref": "#/components/schemas/FieldError" } }
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
