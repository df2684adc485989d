//! The document as a page.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::schemas::resolve;

/// The policy of the page: it contains its own style, and nothing else is loaded.
pub(super) fn policy() -> String {
    format!(
        "default-src 'none'; style-src '{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

const STYLE: &str = include_str!("page.css");
const STYLE_HASH: &str = "sha256-BIGDyj+oEKmrULZENbcWxPRKKdgdb+vSCx9HZKHFHyI=";

/// An operation with its place in the document.
struct Operation<'a> {
    method: String,
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        text(self.value, "operationId")
    }

    fn tag(&self) -> &str {
        self.value.pointer("/tags/0").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Renders a document as HTML. Everything of the document is escaped.
pub(super) fn render(document: &Value) -> String {
    let operations = operations(document);
    let mut groups: Vec<(&str, Vec<&Operation<'_>>)> = Vec::new();
    let tags = document.get("tags").and_then(Value::as_array).into_iter().flatten();
    for tag in tags.map(|tag| text(tag, "name")).chain([""]) {
        let own: Vec<_> = operations.iter().filter(|operation| operation.tag() == tag).collect();
        if !own.is_empty() {
            groups.push((tag, own));
        }
    }
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
    let title = escape(document.pointer("/info/title").and_then(Value::as_str).unwrap_or_default());
    let version =
        escape(document.pointer("/info/version").and_then(Value::as_str).unwrap_or_default());
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>{STYLE}</style></head><body>\
         <a class=\"skip\" href=\"#content\">Skip to the content</a><div class=\"page\"><nav aria-label=\"Operations\">"
    );
    for (tag, operations) in &groups {
        let heading = if tag.is_empty() && groups.len() > 1 {
            "other"
        } else if tag.is_empty() {
            "operations"
        } else {
            tag
        };
        let _ = write!(page, "<h2>{}</h2><ul>", escape(heading));
        for operation in operations {
            let gone = if is_true(operation.value, "deprecated") { " gone" } else { "" };
            let _ = write!(
                page,
                "<li><a href=\"#{}\"><span class=\"method {}\">{}</span><span class=\"path{gone}\">{}</span></a></li>",
                anchor("operation", operation.id()),
                escape(&operation.method),
                escape(&operation.method.to_ascii_uppercase()),
                escape(operation.path),
            );
        }
        page.push_str("</ul>");
    }
    if schemas.is_some_and(|schemas| !schemas.is_empty()) {
        page.push_str("<h2>Schemas</h2><ul>");
        for name in schemas.into_iter().flat_map(Map::keys) {
            let _ = write!(
                page,
                "<li><a href=\"#{}\">{}</a></li>",
                anchor("schema", name),
                escape(name)
            );
        }
        page.push_str("</ul>");
    }
    let _ = write!(
        page,
        "</nav><main id=\"content\"><h1>{title} <span class=\"version\">{version}</span></h1>{}",
        prose(document.pointer("/info/description").and_then(Value::as_str).unwrap_or_default())
    );
    credentials(&mut page, document);
    for (tag, operations) in &groups {
        let heading = if tag.is_empty() { "Operations" } else { tag };
        let _ = write!(page, "<h2>{}</h2>", escape(heading));
        for operation in operations {
            section(&mut page, operation, document);
        }
    }
    if let Some(schemas) = schemas.filter(|schemas| !schemas.is_empty()) {
        page.push_str("<h2>Schemas</h2>");
        for (name, schema) in schemas {
            let _ = write!(
                page,
                "<section class=\"schema\" id=\"{}\"><h3>{}</h3>{}</section>",
                anchor("schema", name),
                escape(name),
                described_schema(schema)
            );
        }
    }
    page.push_str("</main></div></body></html>");
    page
}

/// The operations that a person has written, in the order of the paths.
fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut all = Vec::new();
    let paths = document.get("paths").and_then(Value::as_object);
    for (path, item) in paths.into_iter().flatten() {
        let further = ["additionalOperations", "x-additionalOperations"];
        let further = further.iter().filter_map(|key| item.get(key)?.as_object()).flatten();
        let item = item.as_object().into_iter().flatten().chain(further);
        let own = item.filter(|(_, value)| {
            value.get("operationId").is_some() && !is_true(value, "x-automatic")
        });
        let mut own: Vec<_> = own
            .map(|(method, value)| Operation { method: method.to_ascii_lowercase(), path, value })
            .collect();
        let rank = |operation: &Operation<'_>| {
            let order = ["get", "query", "post", "put", "patch", "delete"];
            order.iter().position(|method| *method == operation.method).unwrap_or(order.len())
        };
        own.sort_by_key(rank);
        all.extend(own);
    }
    all
}

fn credentials(page: &mut String, document: &Value) {
    let schemes = document.pointer("/components/securitySchemes").and_then(Value::as_object);
    let Some(schemes) = schemes else { return };
    page.push_str("<h2>Credentials</h2><div class=\"table\"><table><thead><tr><th scope=\"col\">Name</th><th scope=\"col\">How it is sent</th></tr></thead><tbody>");
    for (name, scheme) in schemes {
        let place = match text(scheme, "type") {
            "http" => format!(
                "<code>Authorization: {} ..</code>",
                escape(&capital(text(scheme, "scheme")))
            ),
            "apiKey" => format!(
                "{} <code>{}</code>",
                escape(text(scheme, "in")),
                escape(text(scheme, "name"))
            ),
            "openIdConnect" => format!(
                "a token of the issuer <code>{}</code>",
                escape(text(scheme, "openIdConnectUrl"))
            ),
            "mutualTLS" => "a certificate of the client".to_owned(),
            other => escape(other),
        };
        let _ = write!(
            page,
            "<tr id=\"{}\"><th scope=\"row\">{}</th><td>{place} {}</td></tr>",
            anchor("credential", name),
            escape(name),
            prose(text(scheme, "description"))
        );
    }
    page.push_str("</tbody></table></div>");
}

fn section(page: &mut String, operation: &Operation<'_>, document: &Value) {
    let Operation { method, path, value } = operation;
    let anchor = anchor("operation", operation.id());
    let _ = write!(
        page,
        "<section class=\"operation\" id=\"{anchor}\"><div class=\"head\"><span class=\"method {}\">{}</span>\
         <h3 class=\"path\"><a href=\"#{anchor}\">{}</a></h3>",
        escape(method),
        escape(&method.to_ascii_uppercase()),
        escape(path)
    );
    if is_true(value, "deprecated") {
        page.push_str("<span class=\"mark\">deprecated</span>");
    }
    let _ = write!(
        page,
        "</div><p class=\"summary\">{}</p>{}",
        escape(text(value, "summary")),
        prose(text(value, "description"))
    );
    requirement(page, value);
    let parameters = value.get("parameters").and_then(Value::as_array);
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
        page.push_str("<h4>Parameters</h4><div class=\"table\"><table><thead><tr><th scope=\"col\">Name</th><th scope=\"col\">In</th><th scope=\"col\">Type</th></tr></thead><tbody>");
        for parameter in parameters {
            let _ = write!(
                page,
                "<tr><th scope=\"row\"><code>{}</code>{}</th><td>{}</td><td>{}{}</td></tr>",
                escape(text(parameter, "name")),
                required(is_true(parameter, "required")),
                escape(text(parameter, "in")),
                kind(parameter.get("schema").unwrap_or(&Value::Null)),
                prose(text(parameter, "description"))
            );
        }
        page.push_str("</tbody></table></div>");
    }
    if let Some(body) = value.get("requestBody") {
        let _ = write!(page, "<h4>Body{}</h4>", required(is_true(body, "required")));
        page.push_str(&prose(text(body, "description")));
        content(page, body);
    }
    page.push_str("<h4>Responses</h4>");
    let responses = value.get("responses").and_then(Value::as_object);
    for (status, response) in responses.into_iter().flatten() {
        let response = resolve(document, response);
        let description = text(response, "description");
        let first = description.lines().next().unwrap_or_default();
        let first = first.strip_prefix("- ").unwrap_or(first);
        let count = description.lines().filter(|line| line.starts_with("- ")).count();
        let more = if count > 1 {
            format!(" <span class=\"mark\">and {} more</span>", count - 1)
        } else {
            String::new()
        };
        let _ = write!(
            page,
            "<details><summary><span class=\"status\">{}</span> {}{more}</summary>",
            escape(status),
            inline(first)
        );
        if count > 1 {
            page.push_str(&prose(description));
        }
        content(page, response);
        let headers = response.get("headers").and_then(Value::as_object);
        if let Some(headers) = headers.filter(|headers| !headers.is_empty()) {
            page.push_str("<div class=\"table\"><table><thead><tr><th scope=\"col\">Header field</th><th scope=\"col\">Meaning</th></tr></thead><tbody>");
            for (name, header) in headers {
                let header = resolve(document, header);
                let always = if is_true(header, "required") {
                    ""
                } else {
                    " <span class=\"mark\">optional</span>"
                };
                let _ = write!(
                    page,
                    "<tr><th scope=\"row\"><code>{}</code>{always}</th><td>{}</td></tr>",
                    escape(name),
                    prose(text(header, "description"))
                );
            }
            page.push_str("</tbody></table></div>");
        }
        page.push_str("</details>");
    }
    let item = document.get("paths").and_then(|paths| paths.get(path));
    let _ = write!(
        page,
        "<p class=\"note\">{}</p></section>",
        escape(item.map_or("", |item| text(item, "description")))
    );
}

fn requirement(page: &mut String, value: &Value) {
    let alternatives = value.get("security").and_then(Value::as_array);
    let alternatives: Vec<String> = alternatives
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .map(|needed| {
            let needed: Vec<String> = needed
                .iter()
                .map(|(name, scopes)| {
                    let scopes: Vec<&str> =
                        scopes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                    let scopes = match scopes.is_empty() {
                        true => String::new(),
                        false => format!(" with <code>{}</code>", escape(&scopes.join(" "))),
                    };
                    format!(
                        "<a href=\"#{}\">{}</a>{scopes}",
                        anchor("credential", name),
                        escape(name)
                    )
                })
                .collect();
            if needed.is_empty() { "none".to_owned() } else { needed.join(" and ") }
        })
        .collect();
    if !alternatives.is_empty() {
        let _ = write!(page, "<p class=\"note\">Credentials: {}</p>", alternatives.join(", or "));
    }
}

fn content(page: &mut String, of: &Value) {
    for (media_type, media) in of.get("content").and_then(Value::as_object).into_iter().flatten() {
        let schema =
            media.get("schema").or_else(|| media.get("itemSchema")).unwrap_or(&Value::Null);
        let _ = write!(
            page,
            "<p class=\"note\"><code>{}</code></p>{}",
            escape(media_type),
            described_schema(schema)
        );
    }
}

/// A schema as its type, and a table of its members.
fn described_schema(schema: &Value) -> String {
    let mut html = format!("<p>{}</p>{}", kind(schema), prose(text(schema, "description")));
    let needed: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    if let Some(properties) = properties.filter(|properties| !properties.is_empty()) {
        html.push_str("<div class=\"table\"><table><thead><tr><th scope=\"col\">Member</th><th scope=\"col\">Type</th></tr></thead><tbody>");
        for (name, property) in properties {
            let inner = match property.get("properties") {
                Some(_) => described_schema(property),
                None => format!("{}{}", kind(property), prose(text(property, "description"))),
            };
            let _ = write!(
                html,
                "<tr><th scope=\"row\"><code>{}</code>{}</th><td>{inner}</td></tr>",
                escape(name),
                required(needed.contains(&name.as_str()))
            );
        }
        html.push_str("</tbody></table></div>");
    }
    let alternatives =
        ["oneOf", "anyOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let alternatives: Vec<String> = alternatives
        .filter(|one| one.get("properties").is_some())
        .map(|one| format!("<li>{}</li>", described_schema(one)))
        .collect();
    if !alternatives.is_empty() {
        let _ = write!(html, "<ul>{}</ul>", alternatives.concat());
    }
    html
}

/// The type of a schema on one line.
fn kind(schema: &Value) -> String {
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        let name = path.rsplit('/').next().unwrap_or_default();
        return format!("<a href=\"#{}\">{}</a>", anchor("schema", name), escape(name));
    }
    if let Some(value) = schema.get("const") {
        return format!("<code>{}</code>", escape(&value.to_string()));
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<String> = values
            .iter()
            .map(|value| format!("<code>{}</code>", escape(&value.to_string())))
            .collect();
        return values.join(" or ");
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(any) = schema.get(key).and_then(Value::as_array) {
            let any: Vec<String> = any.iter().map(kind).collect();
            return any.join(" or ");
        }
    }
    if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
        let all: Vec<String> = all.iter().map(kind).collect();
        return all.join(" and ");
    }
    let mut kind_text = match schema.get("type") {
        Some(Value::String(kind)) => escape(kind),
        Some(Value::Array(kinds)) => {
            escape(&kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "))
        }
        _ => "any value".to_owned(),
    };
    if let Some(items) = schema.get("items") {
        let _ = write!(kind_text, " of {}", kind(items));
    }
    if let Some(format) = schema.get("format").and_then(Value::as_str) {
        let _ = write!(kind_text, " ({})", escape(format));
    }
    let mut rules = BTreeMap::new();
    for (key, words) in RULES {
        if let Some(value) = schema.get(key) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            rules.insert(*key, format!("{words} <code>{}</code>", escape(&value)));
        }
    }
    let bounds_of_the_type = schema.get("format").and_then(Value::as_str).is_some_and(|format| {
        format.starts_with("int") || format.starts_with("uint") || format == "float"
    });
    if bounds_of_the_type {
        rules.retain(|_, text| text.len() < 40);
    }
    for rule in rules.values() {
        let _ = write!(kind_text, ", {rule}");
    }
    kind_text
}

const RULES: &[(&str, &str)] = &[
    ("default", "default"),
    ("exclusiveMaximum", "less than"),
    ("exclusiveMinimum", "more than"),
    ("maxItems", "items at most"),
    ("maxLength", "characters at most"),
    ("maximum", "at most"),
    ("minItems", "items at least"),
    ("minLength", "characters at least"),
    ("minimum", "at least"),
    ("multipleOf", "a multiple of"),
    ("pattern", "pattern"),
];

fn required(is_required: bool) -> &'static str {
    if is_required { " <span class=\"mark\">required</span>" } else { "" }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn is_true(value: &Value, key: &str) -> bool {
    value.get(key) == Some(&Value::Bool(true))
}

fn capital(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}

/// The id of an element. It has no character that HTML or a URI reserves.
fn anchor(kind: &str, name: &str) -> String {
    let safe =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' });
    format!("{kind}-{}", safe.collect::<String>())
}

/// Paragraphs, lists and code of CommonMark. Other marks stay as they are written.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for block in text.split("\n\n").filter(|block| !block.trim_ascii().is_empty()) {
        let is_list = block.lines().all(|line| line.starts_with("- ") || line.starts_with("* "));
        if is_list {
            let items = block.lines().map(|line| format!("<li>{}</li>", inline(&line[2..])));
            let _ = write!(html, "<ul>{}</ul>", items.collect::<String>());
        } else {
            let _ = write!(html, "<p>{}</p>", inline(block));
        }
    }
    html
}

fn inline(text: &str) -> String {
    let mut html = String::new();
    let parts: Vec<&str> = text.split('`').collect();
    for (index, part) in parts.iter().enumerate() {
        // A mark without its end is a character.
        let is_code = index % 2 == 1 && index + 1 < parts.len();
        match (is_code, index % 2) {
            (true, _) => {
                let _ = write!(html, "<code>{}</code>", escape(part));
            }
            (false, 1) => {
                let _ = write!(html, "`{}", escape(part));
            }
            _ => html.push_str(&escape(part)),
        }
    }
    html
}

fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}
