//! Whether a response is declared in a document, for tests.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::document::OpenApi;
use super::schemas::resolve;

/// A document, against which responses are checked.
#[derive(Debug)]
pub(crate) struct Contract {
    document: Value,
}

impl Contract {
    pub(crate) fn new(document: OpenApi) -> Self {
        Self { document: document.into_value() }
    }

    /// Checks a response. The error names what the document does not declare.
    pub(crate) fn check(
        &self,
        method: &Method,
        path: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<(), String> {
        let Some((template, item)) = self.find(path) else {
            return match status {
                StatusCode::NOT_FOUND => Ok(()),
                _ if self.is_exempt(path) || self.is_refusal(status) => Ok(()),
                _ => Err(format!("the document has no path for `{path}`, which answers {status}")),
            };
        };
        let is_head = method == Method::HEAD;
        let Some(operation) = operation(item, method) else {
            let refused = status == StatusCode::METHOD_NOT_ALLOWED && headers.contains_key(ALLOW);
            // The chain answers 204, and CORS 200.
            let options = method == Method::OPTIONS && status.is_success();
            let by_step = self.is_refusal(status);
            return match refused || options || by_step || self.is_exempt(path) {
                true => Ok(()),
                false => Err(format!(
                    "the document has no operation {method} of `{template}`, which answers {status}"
                )),
            };
        };
        let responses = operation.get("responses").and_then(Value::as_object);
        let class = format!("{}XX", status.as_u16() / 100);
        let found = responses.and_then(|responses| {
            let exact = responses.get(status.as_str());
            exact.or_else(|| responses.get(&class)).or_else(|| responses.get("default"))
        });
        let declared = || {
            responses
                .map(|all| all.keys().cloned().collect::<Vec<_>>().join(", "))
                .unwrap_or_default()
        };
        let place = format!("{method} of `{template}`");
        let Some(found) = found else {
            return Err(format!(
                "{place} answers {status}, which the document does not declare: it has {}. Let the handler return a type that has this \
                 response, or add it with `described(handler, |to| ..)`; for middleware, with `declared(middleware, |to| ..)`",
                declared()
            ));
        };
        let found = resolve(&self.document, found);
        for (name, header) in found.get("headers").and_then(Value::as_object).into_iter().flatten()
        {
            let header = resolve(&self.document, header);
            if header.get("required") == Some(&Value::Bool(true)) && !headers.contains_key(name) {
                return Err(format!(
                    "{place} answers {status} without `{name}`, which the document requires"
                ));
            }
        }
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        if is_head || bodiless || status.is_informational() {
            return Ok(());
        }
        let content = found.get("content").and_then(Value::as_object);
        let kind =
            headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        self.check_content(content, kind, body)
            .map_err(|reason| format!("{place} answers {status}: {reason}"))
    }

    fn check_content(
        &self,
        content: Option<&Map<String, Value>>,
        kind: &str,
        body: &Bytes,
    ) -> Result<(), String> {
        let Some(content) = content else {
            return match body.is_empty() {
                true => Ok(()),
                false => Err(format!(
                    "it has content of the type `{kind}`, and the document declares none"
                )),
            };
        };
        let essence = |kind: &str| {
            kind.split(';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase()
        };
        let media = content.iter().find(|(own, _)| essence(own) == essence(kind));
        let media = media.map(|(_, media)| media).or_else(|| content.get("*/*"));
        let Some(media) = media else {
            let all = content.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(format!(
                "its content has the type `{kind}`, and the document declares {all}"
            ));
        };
        let is_json = essence(kind) == "application/json" || essence(kind).ends_with("+json");
        let Some(schema) = media.get("schema").filter(|_| is_json) else { return Ok(()) };
        let value =
            serde_json::from_slice(body).map_err(|_| "its content is not JSON".to_owned())?;
        match self.violation(schema, &value, "", 0) {
            Some(violation) => {
                Err(format!("its content does not have the declared schema: {violation}"))
            }
            None => Ok(()),
        }
    }

    /// The path of the document that a request has. A literal comes before a parameter, and both before the rest of a path.
    fn find(&self, path: &str) -> Option<(&str, &Value)> {
        let paths = self.document.get("paths").and_then(Value::as_object)?;
        let matching = paths.iter().filter_map(|(template, item)| {
            let is_rest = item.get("x-catch-all") == Some(&Value::Bool(true));
            let rank = rank(template, is_rest, path)?;
            Some((rank, template.as_str(), item))
        });
        let best = matching.max_by(|(a, ..), (b, ..)| a.cmp(b));
        let anywhere =
            paths.iter().find(|(_, item)| item.get("x-any-path") == Some(&Value::Bool(true)));
        best.map(|(_, template, item)| (template, item))
            .or(anywhere.map(|(template, item)| (template.as_str(), item)))
    }

    /// Whether some operation is refused with this status. A step for all requests, such as a limit, refuses those without an operation in the same way.
    fn is_refusal(&self, status: StatusCode) -> bool {
        let items = self.document.get("paths").and_then(Value::as_object).into_iter().flatten();
        let operations = items.filter_map(|(_, item)| item.as_object()).flatten();
        let mut responses = operations.filter_map(|(_, operation)| operation.get("responses"));
        let is_error = status.is_client_error() || status.is_server_error();
        is_error && responses.any(|responses| responses.get(status.as_str()).is_some())
    }

    /// Whether a path is exempt: that of a service, or of a hidden handler.
    fn is_exempt(&self, path: &str) -> bool {
        let exempt = self.document.get("x-exempt").and_then(Value::as_array);
        exempt.into_iter().flatten().filter_map(Value::as_str).any(|template| {
            let is_rest = template.ends_with("/{rest}");
            rank(template, is_rest, path).is_some()
        })
    }

    /// What a value violates of a schema. It checks the keywords that the generator of schemas writes; unknown ones are fulfilled.
    fn violation(&self, schema: &Value, value: &Value, at: &str, depth: usize) -> Option<String> {
        if depth > MAX_DEPTH {
            return None;
        }
        let again =
            |schema: &Value, value: &Value, at: &str| self.violation(schema, value, at, depth + 1);
        let place = if at.is_empty() { "the whole content" } else { at };
        let Some(object) = schema.as_object() else {
            return (*schema == Value::Bool(false)).then(|| format!("`{place}` must not be there"));
        };
        if let Some(path) = object.get("$ref").and_then(Value::as_str) {
            let target = path.strip_prefix('#').and_then(|path| self.document.pointer(path));
            if let Some(violation) = target.and_then(|target| again(target, value, at)) {
                return Some(violation);
            }
        }
        if let Some(kind) = object.get("type") {
            let is_one = match kind {
                Value::Array(kinds) => kinds.iter().any(|kind| has_type(kind, value)),
                kind => has_type(kind, value),
            };
            if !is_one {
                return Some(format!("`{place}` must be of the type {kind}"));
            }
        }
        if object.get("const").is_some_and(|only| only != value) {
            return Some(format!("`{place}` must be {}", object["const"]));
        }
        if let Some(values) = object.get("enum").and_then(Value::as_array)
            && !values.contains(value)
        {
            return Some(format!("`{place}` must be one of {}", object["enum"]));
        }
        let list = |key: &str| object.get(key).and_then(Value::as_array);
        if let Some(all) = list("allOf")
            && let Some(violation) = all.iter().find_map(|schema| again(schema, value, at))
        {
            return Some(violation);
        }
        if let Some(any) = list("anyOf")
            && any.iter().all(|schema| again(schema, value, at).is_some())
        {
            return Some(format!("`{place}` has none of the forms of `anyOf`"));
        }
        if let Some(one) = list("oneOf")
            && one.iter().filter(|schema| again(schema, value, at).is_none()).count() != 1
        {
            return Some(format!("`{place}` does not have exactly one of the forms of `oneOf`"));
        }
        let bound = |key: &str| object.get(key).and_then(Value::as_f64);
        let size = match value {
            Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
            Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
            Value::Object(members) => Some((members.len(), "minProperties", "maxProperties")),
            _ => None,
        };
        if let Some((size, least, most)) = size {
            let size = size as f64;
            if bound(least).is_some_and(|least| size < least)
                || bound(most).is_some_and(|most| size > most)
            {
                return Some(format!("the length of `{place}` is {size}"));
            }
        }
        if let Some(number) = value.as_f64() {
            let outside = bound("minimum").is_some_and(|least| number < least)
                || bound("maximum").is_some_and(|most| number > most)
                || bound("exclusiveMinimum").is_some_and(|least| number <= least)
                || bound("exclusiveMaximum").is_some_and(|most| number >= most);
            if outside {
                return Some(format!("`{place}` is out of range"));
            }
        }
        if let Some(items) = value.as_array() {
            let first = list("prefixItems").map(Vec::as_slice).unwrap_or_default();
            for (index, item) in items.iter().enumerate() {
                let schema = first.get(index).or_else(|| object.get("items"));
                if let Some(violation) =
                    schema.and_then(|schema| again(schema, item, &format!("{at}/{index}")))
                {
                    return Some(violation);
                }
            }
        }
        if let Some(not) = object.get("not")
            && again(not, value, at).is_none()
        {
            return Some(format!("`{place}` has the form of `not`"));
        }
        if let (Some(items), Some(Value::Bool(true))) =
            (value.as_array(), object.get("uniqueItems"))
            && items.iter().enumerate().any(|(index, item)| items[..index].contains(item))
        {
            return Some(format!("an item of `{place}` is not unique"));
        }
        let members = value.as_object()?;
        let needed = list("required").into_iter().flatten().filter_map(Value::as_str);
        if let Some(missing) = needed.into_iter().find(|name| !members.contains_key(*name)) {
            return Some(format!("`{at}/{missing}` is missing"));
        }
        let properties = object.get("properties").and_then(Value::as_object);
        members.iter().find_map(|(name, member)| {
            let own = properties.and_then(|properties| properties.get(name));
            let schema = own.or_else(|| object.get("additionalProperties"))?;
            again(schema, member, &format!("{at}/{name}"))
        })
    }
}

fn operation<'a>(item: &'a Value, method: &Method) -> Option<&'a Value> {
    let own = item.get(method.as_str().to_ascii_lowercase());
    let further = ["additionalOperations", "x-additionalOperations"];
    let mut further = further.iter().filter_map(|key| item.get(key)?.get(method.as_str()));
    let get = if method == Method::HEAD { item.get("get") } else { None };
    own.or_else(|| further.next()).or(get)
}

/// How exactly a path matches a template, segment by segment. `None` if it does not.
fn rank(template: &str, is_rest: bool, path: &str) -> Option<Vec<u8>> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let path = path.strip_suffix('/').unwrap_or(path);
    let template = template.strip_suffix('/').unwrap_or(template);
    let mut segments = path.split('/');
    let mut ranks = Vec::new();
    let count = template.split('/').count();
    for (index, part) in template.split('/').enumerate() {
        if is_rest && index + 1 == count {
            segments.next()?;
            ranks.push(0);
            return Some(ranks);
        }
        let segment = segments.next()?;
        match part.split_once('{') {
            None if decode(part) == decode(segment) => ranks.push(3),
            None => return None,
            Some((before, rest)) => {
                let after = rest.rsplit_once('}').map_or("", |(_, after)| after);
                let segment = decode(segment);
                let (before, after) = (decode(before), decode(after));
                let value =
                    segment.strip_prefix(&*before).and_then(|rest| rest.strip_suffix(&*after));
                value.filter(|value| !value.is_empty())?;
                ranks.push(if before.is_empty() && after.is_empty() { 1 } else { 2 });
            }
        }
    }
    segments.next().is_none().then_some(ranks)
}

fn has_type(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("number") => value.is_number(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => true,
    }
}

/// A bound for schemas that refer to themselves.
const MAX_DEPTH: usize = 64;
