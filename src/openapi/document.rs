//! Writes the document of a built chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::info::Info;
use super::page;
use super::schemas;
use super::security::Security;
use crate::declare::operation::{
    Operation, PROBLEM_JSON, Parameter, PatternParam, Reply, Schemas, Status,
};
use crate::declare::{Answer, Declaration, DeclaredStep, Field};
use crate::openapi::arguments::{is_object, path_parameter};
use crate::route::{Route, RouteHandler};

/// The document of a chain, as OpenAPI.
///
/// Made by [`ChainService::openapi`](crate::ChainService::openapi). The same chain always has the same document.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenApi {
    value: Value,
}

impl OpenApi {
    pub(super) fn new(value: Value) -> Self {
        Self { value }
    }

    /// The document as a JSON value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The document as a JSON value, without a copy.
    pub fn into_value(self) -> Value {
        self.value
    }

    /// The document as an HTML page, which is complete without scripts and without content of other origins. [`Docs`](super::Docs) serves it.
    pub fn to_page(&self) -> String {
        page::render(&self.value)
    }

    /// The `Content-Security-Policy` under which the [page](Self::to_page) works.
    pub fn page_policy() -> String {
        page::policy()
    }

    /// The document as a JSON text.
    pub fn to_json(&self) -> String {
        format!("{:#}", self.value)
    }
}

/// Writes the document of these routes.
pub(super) fn document(routes: &[Route], info: &Info) -> OpenApi {
    let mut writer = Writer {
        info,
        schemas: Schemas::new(),
        security: Map::new(),
        ids: Vec::new(),
        tags: Vec::new(),
        exempt: Vec::new(),
    };
    let mut paths = BTreeMap::new();
    for route in routes {
        let (template, params) = template(route.pattern());
        let is_exempt = |handler: &RouteHandler| {
            is_service(handler) || handler.step().declaration().is_hidden()
        };
        if route.handlers().iter().any(is_exempt) {
            let is_rest = params.last().filter(|param| param.is_rest);
            writer.exempt.push(match is_rest {
                Some(param) => template.replace(&format!("{{{}}}", param.name), "{rest}"),
                None => template.clone(),
            });
        }
        let item = writer.path(route, &params);
        if !item.is_empty() {
            let own: &mut Map<String, Value> = paths.entry(template).or_default();
            for (key, value) in item {
                own.entry(key).or_insert(value);
            }
        }
    }
    writer.finish(paths)
}

struct Writer<'a> {
    info: &'a Info,
    schemas: Schemas,
    security: Map<String, Value>,
    ids: Vec<String>,
    tags: Vec<String>,
    /// The paths of services and of hidden handlers, which have no operations.
    exempt: Vec<String>,
}

impl Writer<'_> {
    /// The operations of a path.
    fn path(&mut self, route: &Route, params: &[PatternParam]) -> Map<String, Value> {
        let handlers: Vec<&RouteHandler> = route
            .handlers()
            .iter()
            .filter(|handler| !is_service(handler) && !handler.step().declaration().is_hidden())
            .collect();
        let mut item = Map::new();
        let mut others = Map::new();
        let mut methods: Vec<Method> = Vec::new();
        for handler in &handlers {
            let own = handler.method().map_or(ALL.to_vec(), |method| vec![method.clone()]);
            let own = own.into_iter().filter(|method| !methods.contains(method));
            methods.extend(own.collect::<Vec<_>>());
        }
        for method in &methods {
            let called: Vec<&RouteHandler> = handlers
                .iter()
                .copied()
                .filter(|handler| handler.method().is_none_or(|own| own == method))
                .collect();
            let last = called.iter().position(|handler| !handler.passes());
            let called = &called[..last.map_or(called.len(), |last| last + 1)];
            let operation = self.operation(method, params, called, last.is_none(), route.pattern());
            self.insert(&mut item, &mut others, method, operation);
        }
        if methods.is_empty() {
            return item;
        }
        let has = |method: Method| methods.contains(&method);
        let head = has(Method::GET) && !has(Method::HEAD);
        let options = route.answers_options() && !has(Method::OPTIONS);
        let mut allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
        allowed.extend(head.then_some("HEAD"));
        allowed.extend(options.then_some("OPTIONS"));
        allowed.sort_unstable();
        let allowed = allowed.join(", ");
        if !self.info.written_only {
            if head && let Some(get) = item.get("get").cloned() {
                item.insert("head".to_owned(), self.head(get));
            }
            if options {
                let operation = self.options(params, &allowed, &handlers);
                item.insert("options".to_owned(), operation);
            }
        }
        if !others.is_empty() {
            let key =
                if self.info.is_3_2 { "additionalOperations" } else { "x-additionalOperations" };
            item.insert(key.to_owned(), Value::Object(others));
        }
        let rest = "Any other method is answered with 405 and `Allow`.";
        if route.pattern().is_none() {
            item.insert("x-any-path".to_owned(), Value::Bool(true));
        }
        if params.iter().any(|param| param.is_rest) {
            item.insert("x-catch-all".to_owned(), Value::Bool(true));
        }
        item.insert("description".to_owned(), Value::from(format!("Methods: {allowed}. {rest}")));
        item
    }

    fn insert(
        &self,
        item: &mut Map<String, Value>,
        others: &mut Map<String, Value>,
        method: &Method,
        operation: Map<String, Value>,
    ) {
        let is_query = self.info.is_3_2 && method.as_str() == "QUERY";
        if ALL.contains(method) || is_query {
            item.insert(method.as_str().to_ascii_lowercase(), Value::Object(operation));
        } else {
            others.insert(method.as_str().to_owned(), Value::Object(operation));
        }
    }

    /// The operation that these handlers answer. All but the last may pass the request on; if `passes`, the last one may as well.
    fn operation(
        &mut self,
        method: &Method,
        params: &[PatternParam],
        handlers: &[&RouteHandler],
        passes: bool,
        pattern: Option<&str>,
    ) -> Map<String, Value> {
        let mut steps: Vec<Arc<DeclaredStep>> = Vec::new();
        for step in handlers.iter().flat_map(|handler| handler.middleware()) {
            let applies = step.declaration().applies_to(Some(method));
            if applies && !steps.iter().any(|own| Arc::ptr_eq(own, step)) {
                steps.push(step.clone());
            }
        }
        let schemas = std::mem::replace(&mut self.schemas, Schemas::new());
        let mut operation = Operation::new(method.clone(), params.to_vec(), schemas);
        let mut notes = Declaration::default();
        for step in &steps {
            operation.settings.merge(step.declaration().settings());
        }
        for handler in handlers.iter().rev() {
            let step = handler.step();
            match step.describe {
                Some(describe) => describe.0(&mut operation),
                None if step.declaration().answered().is_empty() => {
                    let any = Reply::any("The response is not described");
                    operation.reply(any.content("*/*", json!({})));
                }
                None => {}
            }
            step.declaration().describe_taken(&mut operation);
            declared_replies(&mut operation, step.declaration());
            notes.add_notes(step.declaration());
        }
        if passes {
            operation.refuses(StatusCode::NOT_FOUND, "No handler answers the request");
        }
        let mut security = Security::none();
        for step in &steps {
            security.require(step.declaration(), &mut self.security);
        }
        for step in steps.iter().rev() {
            let declaration = step.declaration();
            if step.verb() == "on_error" {
                render_errors(&mut operation.replies, step.name());
            }
            for field in declaration.added() {
                let is_sure = !declaration.conditional() && field.is_required();
                for reply in &mut operation.replies {
                    reply.headers.push(if is_sure {
                        field.clone()
                    } else {
                        field.clone().optional()
                    });
                }
            }
            if let Some(describe) = step.describe {
                describe.0(&mut operation);
            }
            declaration.describe_taken(&mut operation);
            declared_replies(&mut operation, declaration);
        }
        for param in params {
            let is_known = |own: &Parameter| own.place == "path" && own.name == param.name;
            if !operation.parameters.iter().any(is_known) {
                let text = json!({ "type": "string" });
                let parameter =
                    path_parameter(&param.name, param.is_rest, text, &operation.schemas);
                operation.parameter(parameter);
            }
        }
        // The path takes no other parameters than those of its pattern.
        operation
            .parameters
            .retain(|own| own.place != "path" || params.iter().any(|param| param.name == own.name));
        let limit = body_limit(&steps, operation.settings.max_body);
        let name = handlers.last().map_or("", |handler| handler.name());
        let mut value = Map::new();
        let id = self.id(notes.operation_id(), name, method, pattern);
        value.insert("operationId".to_owned(), Value::from(id));
        if let Some(summary) = notes.title() {
            value.insert("summary".to_owned(), Value::from(summary));
        } else {
            value.insert("summary".to_owned(), Value::from(in_words(name, method, pattern)));
        }
        if let Some(text) = notes.text() {
            value.insert("description".to_owned(), Value::from(text));
        }
        if !notes.tags().is_empty() {
            value.insert("tags".to_owned(), json!(notes.tags()));
            for tag in notes.tags() {
                if !self.tags.contains(tag) {
                    self.tags.push(tag.clone());
                }
            }
        }
        if notes.is_deprecated() || steps.iter().any(|step| step.declaration().is_deprecated()) {
            value.insert("deprecated".to_owned(), Value::Bool(true));
        }
        value.insert("security".to_owned(), security.to_value().unwrap_or_else(|| json!([])));
        if !operation.parameters.is_empty() {
            let parameters = operation.parameters.iter().map(parameter);
            value.insert("parameters".to_owned(), parameters.collect());
        }
        if let Some(body) = request_body(&operation, limit) {
            value.insert("requestBody".to_owned(), body);
        }
        let replies = std::mem::take(&mut operation.replies);
        value.insert("responses".to_owned(), responses(replies, self.info.is_3_2));
        self.schemas = operation.schemas;
        value
    }

    /// The operation HEAD of a path whose GET handler answers it.
    fn head(&mut self, mut get: Value) -> Value {
        let Some(head) = get.as_object_mut() else { return get };
        let id = head.get("operationId").and_then(Value::as_str).unwrap_or_default();
        let id = self.unique(&format!("{id}_head"));
        head.insert("operationId".to_owned(), Value::from(id));
        head.insert("x-automatic".to_owned(), Value::Bool(true));
        let responses = head.get_mut("responses").and_then(Value::as_object_mut);
        for (_, response) in responses.into_iter().flatten() {
            if let Some(response) = response.as_object_mut() {
                response.remove("content");
            }
        }
        get
    }

    /// The operation OPTIONS, which the chain answers.
    fn options(
        &mut self,
        params: &[PatternParam],
        allowed: &str,
        handlers: &[&RouteHandler],
    ) -> Value {
        let name = handlers.first().map_or("", |handler| handler.name());
        let id = self.unique(&format!("{}_options", identifier(name)));
        let parameters = params.iter().map(|param| {
            let text = json!({ "type": "string" });
            parameter(&path_parameter(&param.name, param.is_rest, text, &self.schemas))
        });
        let parameters: Vec<Value> = parameters.collect();
        let mut value = json!({
            "operationId": id,
            "summary": "The methods of this path",
            "security": [],
            "x-automatic": true,
            "responses": {
                "204": {
                    "description": format!("`Allow` is `{allowed}`. A method that is not in it is answered with 405"),
                    "headers": { "allow": { "required": true, "schema": { "type": "string" } } }
                },
                // A step for all requests, such as CORS or a limit, may answer first.
                "default": { "description": "A step for all requests answers first", "content": { "*/*": {} } }
            }
        });
        if let (false, Some(value)) = (parameters.is_empty(), value.as_object_mut()) {
            value.insert("parameters".to_owned(), Value::from(parameters));
        }
        value
    }

    /// The id of an operation.
    fn id(
        &mut self,
        own: Option<&str>,
        name: &str,
        method: &Method,
        pattern: Option<&str>,
    ) -> String {
        if let Some(own) = own {
            return self.unique(own);
        }
        let name = identifier(name);
        let method = method.as_str().to_ascii_lowercase();
        if name.is_empty() || name.contains("closure") {
            let path = identifier(&pattern.unwrap_or("any").replace(['/', '-', '.'], "_"));
            return self.unique(&format!("{method}_{path}").replace("__", "_"));
        }
        if self.ids.contains(&name) {
            return self.unique(&format!("{name}_{method}"));
        }
        self.unique(&name)
    }

    fn unique(&mut self, id: &str) -> String {
        let (mut unique, mut number) = (id.to_owned(), 2);
        while self.ids.contains(&unique) {
            unique = format!("{id}_{number}");
            number += 1;
        }
        self.ids.push(unique.clone());
        unique
    }

    fn finish(self, paths: BTreeMap<String, Map<String, Value>>) -> OpenApi {
        let Self { info, schemas: generated, security, tags, exempt, .. } = self;
        let mut root = Map::new();
        let version = if info.is_3_2 { "3.2.0" } else { "3.1.1" };
        root.insert("openapi".to_owned(), Value::from(version));
        let mut about = json!({ "title": info.title, "version": info.version });
        if let Some(about) = about.as_object_mut() {
            if let Some(text) = &info.description {
                about.insert("description".to_owned(), Value::from(text.as_str()));
            }
            if let Some((name, url)) = &info.license {
                let mut license = json!({ "name": name });
                if let (Some(url), Some(license)) = (url, license.as_object_mut()) {
                    license.insert("url".to_owned(), Value::from(url.as_str()));
                }
                about.insert("license".to_owned(), license);
            }
        }
        root.insert("info".to_owned(), about);
        let servers =
            if info.servers.is_empty() { vec!["/".to_owned()] } else { info.servers.clone() };
        root.insert(
            "servers".to_owned(),
            servers.iter().map(|url| json!({ "url": url })).collect(),
        );
        if !tags.is_empty() {
            root.insert("tags".to_owned(), tags.iter().map(|tag| json!({ "name": tag })).collect());
        }
        root.insert("paths".to_owned(), json!(paths));
        if !exempt.is_empty() {
            root.insert("x-exempt".to_owned(), json!(exempt));
        }
        let mut root = Value::Object(root);
        let components = schemas::components(generated, &mut root);
        let mut all = Map::new();
        all.insert("schemas".to_owned(), Value::Object(components));
        if !security.is_empty() {
            all.insert("securitySchemes".to_owned(), Value::Object(security));
        }
        schemas::share(&mut root, &mut all);
        if let Some(root) = root.as_object_mut() {
            root.insert("components".to_owned(), Value::Object(all));
        }
        OpenApi::new(root)
    }
}

fn is_service(handler: &RouteHandler) -> bool {
    handler.step().verb() == "service"
}

/// Adds the responses and the parameters that a step declares.
fn declared_replies(operation: &mut Operation, declaration: &Declaration) {
    for answer in declaration.answered() {
        operation.reply(reply(answer));
    }
    for field in declaration.read() {
        if STANDARD_FIELDS.contains(&field.name()) {
            continue;
        }
        let is_known =
            |own: &Parameter| own.place == "header" && own.name.eq_ignore_ascii_case(field.name());
        if operation.parameters.iter().any(is_known) {
            continue;
        }
        let mut schema = json!({ "type": "string" });
        if let (Some(pattern), Some(schema)) = (field.pattern(), schema.as_object_mut()) {
            schema.insert("pattern".to_owned(), Value::from(pattern));
        }
        let parameter = Parameter::header(field.name(), schema);
        let parameter = parameter.description(field.description());
        let is_sure = field.is_required() && !declaration.conditional();
        operation.parameter(if is_sure { parameter } else { parameter.optional() });
    }
}

fn reply(answer: &Answer) -> Reply {
    let cause = match answer.problem_type() {
        Some(uri) => format!("{} (`{uri}`)", answer.cause()),
        None => answer.cause().to_owned(),
    };
    let mut reply = match answer.media_type() {
        Some(PROBLEM_JSON) => Reply::problem(answer.status(), cause),
        Some(other) => Reply::new(answer.status(), cause).content(other, json!({})),
        None => Reply::new(answer.status(), cause),
    };
    reply.headers.extend(answer.headers().iter().cloned());
    reply
}

/// A hook renders the problems of the steps after it, in a format of its own.
fn render_errors(replies: &mut [Reply], name: &str) {
    for reply in replies {
        let problem = reply.content.iter_mut().find(|content| content.media_type == PROBLEM_JSON);
        if let Some(content) = problem {
            content.media_type = "*/*".to_owned();
            content.schema = json!({});
            reply.description = format!("{} (rendered by `{name}`)", reply.description);
        }
    }
}

/// The smallest limit of the body.
fn body_limit(steps: &[Arc<DeclaredStep>], provided: Option<Option<u64>>) -> Option<u64> {
    let declared = steps.iter().filter_map(|step| step.declaration().body_limit()).min();
    match (declared, provided) {
        (None, None) => Some(DEFAULT_LIMIT),
        (declared, provided) => [declared, provided.flatten()].into_iter().flatten().min(),
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { place, name, description, required, schema, style } = parameter;
    let mut value = json!({ "name": name, "in": place, "required": required, "schema": schema });
    if let Some(object) = value.as_object_mut() {
        if !description.is_empty() {
            object.insert("description".to_owned(), Value::from(description.as_str()));
        }
        if let Some(style) = style {
            object.insert("style".to_owned(), Value::from(*style));
            object.insert("explode".to_owned(), Value::Bool(true));
        }
    }
    value
}

fn request_body(operation: &Operation, limit: Option<u64>) -> Option<Value> {
    let body = operation.body.as_ref()?;
    let mut content = Map::new();
    for (media_type, schema) in &body.content {
        let mut schema = schema.clone();
        let is_raw = ["text/plain", "application/octet-stream"].contains(&media_type.as_str());
        if let (Some(limit), true, Some(raw)) =
            (limit, is_raw && schema.get("$ref").is_none(), schema.as_object_mut())
        {
            raw.insert("maxLength".to_owned(), Value::from(limit));
        }
        let mut encoding = Map::new();
        if media_type == "application/x-www-form-urlencoded"
            && operation.settings.brackets == Some(true)
        {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                if is_object(operation.schemas.resolve(property)) {
                    encoding
                        .insert(name.clone(), json!({ "style": "deepObject", "explode": true }));
                }
            }
        }
        let mut media = json!({ "schema": schema });
        if let (false, Some(media)) = (encoding.is_empty(), media.as_object_mut()) {
            media.insert("encoding".to_owned(), Value::Object(encoding));
        }
        content.insert(media_type.clone(), media);
    }
    let mut value = json!({ "required": body.required, "content": content });
    if let (Some(limit), Some(value)) = (limit, value.as_object_mut()) {
        value.insert("description".to_owned(), Value::from(format!("At most {limit} bytes.")));
    }
    Some(value)
}

/// The responses by status. Several causes of a status are one response.
fn responses(replies: Vec<Reply>, is_3_2: bool) -> Value {
    let mut by_status: BTreeMap<Status, Vec<Reply>> = BTreeMap::new();
    for reply in replies {
        by_status.entry(reply.status).or_default().push(reply);
    }
    let all: Vec<Status> = by_status.keys().copied().collect();
    let mut wide: Vec<Reply> = Vec::new();
    for status in all.iter().filter(|status| !matches!(status, Status::Exact(_))) {
        wide.extend(by_status.get(status).into_iter().flatten().cloned());
    }
    let mut value = Map::new();
    for (status, replies) in &by_status {
        let mut causes: Vec<String> = Vec::new();
        for reply in replies {
            let cause = reply.description.as_str();
            if !cause.is_empty() && !causes.iter().any(|own| own == cause) {
                causes.push(cause.to_owned());
            }
        }
        // A handler whose errors have a range of statuses, or any, may answer this one as well, without the fields of a step.
        let mut same: Vec<&Reply> = replies.iter().collect();
        match status {
            Status::Exact(status @ 400..) => {
                same.extend(wide.iter().filter(|reply| reply.status.covers(*status)));
            }
            Status::Class(4..) => {
                same.extend(wide.iter().filter(|reply| reply.status == Status::Any));
            }
            _ => {}
        }
        value.insert(status.to_string(), response(*status, &causes, &same, is_3_2));
    }
    if value.is_empty() {
        value.insert("default".to_owned(), json!({ "description": "No response is described" }));
    }
    Value::Object(value)
}

fn response(status: Status, causes: &[String], same: &[&Reply], is_3_2: bool) -> Value {
    let description = match causes {
        [] => match status {
            Status::Exact(status) => StatusCode::from_u16(status)
                .ok()
                .and_then(|s| s.canonical_reason())
                .unwrap_or("A response")
                .to_owned(),
            _ => "A response".to_owned(),
        },
        [only] => only.clone(),
        several => several.iter().map(|cause| format!("- {cause}")).collect::<Vec<_>>().join("\n"),
    };
    let mut value = json!({ "description": description });
    let Some(object) = value.as_object_mut() else { return value };
    let mut headers: BTreeMap<&str, (&Field, usize)> = BTreeMap::new();
    for reply in same {
        let mut seen: Vec<&str> = Vec::new();
        for field in &reply.headers {
            let entry = headers.entry(field.name()).or_insert((field, 0));
            if field.is_required() && !seen.contains(&field.name()) {
                entry.1 += 1;
                seen.push(field.name());
            }
        }
    }
    let fields = headers.into_iter().filter(|(name, _)| *name != "content-type");
    let fields = fields.map(|(name, (field, count))| {
        let mut header = json!({ "required": count == same.len(), "schema": { "type": "string" } });
        if let (false, Some(header)) = (field.description().is_empty(), header.as_object_mut()) {
            header.insert("description".to_owned(), Value::from(field.description()));
        }
        (name.to_owned(), header)
    });
    let fields: Map<String, Value> = fields.collect();
    if !fields.is_empty() {
        object.insert("headers".to_owned(), Value::Object(fields));
    }
    let mut content: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for found in same.iter().flat_map(|reply| &reply.content) {
        let schema = match &found.item {
            Some(item) if is_3_2 => json!({ "itemSchema": item }),
            _ => json!({ "schema": found.schema }),
        };
        let own = content.entry(&found.media_type).or_default();
        if !own.contains(&schema) {
            own.push(schema);
        }
    }
    // If a response of this status may have no content, or any, the others are not the only ones.
    if !content.is_empty() {
        let content = content.into_iter().map(|(media_type, mut schemas)| {
            let media = if schemas.len() > 1 {
                let any: Vec<&Value> =
                    schemas.iter().filter_map(|media| media.get("schema")).collect();
                json!({ "schema": { "anyOf": any } })
            } else {
                schemas.swap_remove(0)
            };
            (media_type.to_owned(), media)
        });
        object.insert("content".to_owned(), Value::Object(content.collect()));
    }
    value
}

/// The path of a pattern as OpenAPI writes it, and its parameters.
fn template(pattern: Option<&str>) -> (String, Vec<PatternParam>) {
    let Some(pattern) = pattern else { return ("/".to_owned(), Vec::new()) };
    let (mut path, mut params) = (String::new(), Vec::new());
    let mut rest = pattern;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("{{") {
            (path, rest) = (path + "%7B", after);
        } else if let Some(after) = rest.strip_prefix("}}") {
            (path, rest) = (path + "%7D", after);
        } else if let Some((name, after)) =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        {
            let (is_rest, name) = match name.strip_prefix('*') {
                Some(name) => (true, name),
                None => (false, name),
            };
            path = format!("{path}{{{name}}}");
            params.push(PatternParam { name: name.to_owned(), is_rest });
            rest = after;
        } else {
            let (literal, after) = rest.split_at(next.len_utf8());
            path.extend(utf8_percent_encode(literal, NOT_IN_PATH));
            rest = after;
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    (path, params)
}

/// The name of a function as a part of an id: `api::users::<impl ..>::list` is `list`.
fn identifier(name: &str) -> String {
    let name = name.split('<').next().unwrap_or_default();
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// A title of an operation, from the name of its function.
fn in_words(name: &str, method: &Method, pattern: Option<&str>) -> String {
    let name = identifier(name);
    if name.is_empty() || name.contains("closure") {
        return format!("{method} {}", pattern.unwrap_or("any path"));
    }
    let mut words = name.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// The methods of a handler for all methods, apart from CONNECT and those of extensions.
const ALL: [Method; 8] = [
    Method::GET,
    Method::PUT,
    Method::POST,
    Method::DELETE,
    Method::OPTIONS,
    Method::HEAD,
    Method::PATCH,
    Method::TRACE,
];

/// Fields that are not parameters: OpenAPI describes the first three by other means, and the others have the same meaning for all resources of HTTP
/// (RFC 9110, 13 and 14), with 304, 412 and 206 as the responses that show it.
const STANDARD_FIELDS: [&str; 10] = [
    "accept",
    "content-type",
    "authorization",
    // Of the protocol gRPC. A client of another API never sends it.
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

/// The limit of extractors, if no step sets another one.
const DEFAULT_LIMIT: u64 = 1024 * 1024;

const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'?')
    .add(b'#')
    .add(b'%');
