//! The description of an operation: what a handler takes and answers, by its types.

use std::fmt;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::field::Field;
use super::settings::Settings;

/// The description of an operation by the types of its handler and guards.
///
/// [`DescribeArgument`] adds the parameters, the body and the refusals of an extractor.
#[derive(Debug)]
pub struct Operation {
    pub(crate) method: Method,
    pub(crate) pattern_params: Vec<PatternParam>,
    pub(crate) settings: Settings,
    pub(crate) schemas: Schemas,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Option<RequestBody>,
    pub(crate) replies: Vec<Reply>,
}

/// An argument of a handler in a [documented](crate::Chain::documented) chain: it describes what it reads, and how it refuses a request.
///
/// All extractors of this crate and of axum's core implement it. A provided value needs no description.
///
/// # Example
///
/// ```
/// use axum_core::extract::FromRequestParts;
/// use http::request::Parts;
/// use serde_json::json;
/// use tower_chain::openapi::{DescribeArgument, Operation, Parameter};
/// use tower_chain::{Chain, Error, StatusCode};
///
/// struct Shop(String);
///
/// impl<S: Sync> FromRequestParts<S> for Shop {
///     type Rejection = Error;
///
///     async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
///         let shop = parts.headers.get("x-shop").and_then(|shop| shop.to_str().ok());
///         let shop = shop.ok_or_else(|| Error::new(StatusCode::BAD_REQUEST, "`x-shop` is missing"))?;
///         Ok(Self(shop.to_owned()))
///     }
/// }
///
/// impl DescribeArgument for Shop {
///     fn describe(to: &mut Operation) {
///         to.parameter(Parameter::header("x-shop", json!({ "type": "string" })));
///         to.refuses(StatusCode::BAD_REQUEST, "`x-shop` is missing");
///     }
/// }
///
/// let chain = Chain::new().documented().get(async |Shop(name): Shop| name);
/// # let _ = chain.build();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no description, and the chain is documented",
    label = "takes `{Self}`",
    note = "the data of an extractor must describe itself: add `#[derive(schemars::JsonSchema)]` to `T` in `Json<T>`, `Query<T>`, `Path<T>`",
    note = "an extractor of your own implements `tower_chain::openapi::DescribeArgument`; one of axum needs the feature `axum`",
    note = "`tower_chain::openapi::undescribed(handler)` exempts one handler"
)]
pub trait DescribeArgument {
    /// Adds what the argument reads, and its refusals.
    fn describe(to: &mut Operation);
}

/// A parameter of the pattern of a path.
#[derive(Clone, Debug)]
pub(crate) struct PatternParam {
    pub(crate) name: String,
    pub(crate) is_rest: bool,
}

impl Operation {
    pub(crate) fn new(method: Method, pattern_params: Vec<PatternParam>, schemas: Schemas) -> Self {
        Self {
            method,
            pattern_params,
            settings: Settings::default(),
            schemas,
            parameters: Vec::new(),
            body: None,
            replies: Vec::new(),
        }
    }

    /// The method of the operation.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The schemas of the document.
    pub fn schemas(&mut self) -> &mut Schemas {
        &mut self.schemas
    }

    /// Adds a response.
    pub fn reply(&mut self, reply: Reply) -> &mut Self {
        self.replies.push(reply);
        self
    }

    /// Adds a refusal as `application/problem+json` (RFC 9457).
    pub fn refuses(&mut self, status: StatusCode, cause: impl Into<String>) -> &mut Self {
        self.reply(Reply::problem(status, cause))
    }

    /// Adds a parameter. It replaces one of the same place and name.
    pub fn parameter(&mut self, parameter: Parameter) -> &mut Self {
        self.parameters.retain(|own| (own.place, &own.name) != (parameter.place, &parameter.name));
        self.parameters.push(parameter);
        self
    }

    /// Adds a content of the body. The body is required unless [`optional_body`](Self::optional_body) is called afterwards.
    pub fn body(&mut self, media_type: &str, schema: Value) -> &mut Self {
        let body =
            self.body.get_or_insert_with(|| RequestBody { content: Vec::new(), required: true });
        body.content.retain(|(own, _)| own != media_type);
        body.content.push((media_type.to_owned(), schema));
        self
    }

    /// Makes the body optional.
    pub fn optional_body(&mut self) -> &mut Self {
        if let Some(body) = &mut self.body {
            body.required = false;
        }
        self
    }
}

/// The body of a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestBody {
    pub(crate) content: Vec<(String, Value)>,
    pub(crate) required: bool,
}

/// A parameter of an operation: a name in the path, the query or the header fields.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub(crate) place: &'static str,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) required: bool,
    pub(crate) schema: Value,
    pub(crate) style: Option<&'static str>,
}

impl Parameter {
    /// A required parameter of the query.
    pub fn query(name: impl Into<String>, schema: Value) -> Self {
        Self::new("query", name, schema)
    }

    /// A required header field.
    pub fn header(name: impl Into<String>, schema: Value) -> Self {
        Self::new("header", name, schema)
    }

    pub(crate) fn path(name: impl Into<String>, schema: Value) -> Self {
        Self::new("path", name, schema)
    }

    fn new(place: &'static str, name: impl Into<String>, schema: Value) -> Self {
        let (description, style) = (String::new(), None);
        Self { place, name: name.into(), description, required: true, schema, style }
    }

    /// Makes the parameter optional.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Describes the parameter.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }
}

/// The status of a [`Reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Exact(u16),
    /// All statuses of a class: 4 is `4XX`.
    Class(u16),
    /// Any status.
    Any,
}

impl Status {
    /// Whether a response of this status has this description.
    pub(crate) fn covers(self, status: u16) -> bool {
        match self {
            Self::Exact(own) => own == status,
            Self::Class(class) => status / 100 == class,
            Self::Any => true,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(status) => write!(f, "{status}"),
            Self::Class(class) => write!(f, "{class}XX"),
            Self::Any => f.write_str("default"),
        }
    }
}

/// A response of an operation, for [`DescribeResponse`](crate::openapi::DescribeResponse).
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) status: Status,
    /// Whether the status is that of a type which sets none. A status in a tuple replaces it.
    pub(crate) is_default: bool,
    pub(crate) description: String,
    pub(crate) content: Vec<Content>,
    pub(crate) headers: Vec<Field>,
}

/// A media type of a response, with its schema.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) media_type: String,
    pub(crate) schema: Value,
    /// The schema of each item of a stream.
    pub(crate) item: Option<Value>,
}

impl Reply {
    /// A response without content.
    pub fn new(status: StatusCode, description: impl Into<String>) -> Self {
        Self {
            status: Status::Exact(status.as_u16()),
            is_default: false,
            description: description.into(),
            content: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// A refusal as `application/problem+json` (RFC 9457).
    pub fn problem(status: StatusCode, cause: impl Into<String>) -> Self {
        Self::new(status, cause).content(PROBLEM_JSON, problem_schema())
    }

    /// The response of a type that sets no status: 200, unless a tuple sets another one.
    pub fn success() -> Self {
        Self { is_default: true, ..Self::new(StatusCode::OK, "") }
    }

    /// Any status, known only at run time.
    pub(crate) fn any(description: &str) -> Self {
        Self { status: Status::Any, ..Self::new(StatusCode::OK, description) }
    }

    /// All statuses of a class.
    pub(crate) fn class(class: u16, description: &str) -> Self {
        Self { status: Status::Class(class), ..Self::new(StatusCode::OK, description) }
    }

    /// Adds JSON content of this type.
    #[must_use]
    pub fn json<T: JsonSchema + ?Sized>(self, schemas: &mut Schemas) -> Self {
        let schema = schemas.output::<T>();
        self.content("application/json", schema)
    }

    /// Adds content of a media type.
    #[must_use]
    pub fn content(mut self, media_type: &str, schema: Value) -> Self {
        self.content.push(Content { media_type: media_type.to_owned(), schema, item: None });
        self
    }

    /// Adds content that is a stream of items. `item` is the schema of each.
    #[must_use]
    pub fn stream(mut self, media_type: &str, item: Value) -> Self {
        // OpenAPI 3.1 can't describe the items.
        let (media_type, schema) = (media_type.to_owned(), json!({}));
        self.content.push(Content { media_type, schema, item: Some(item) });
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, field: impl Into<Field>) -> Self {
        self.headers.push(field.into());
        self
    }

    pub(crate) fn with_status(mut self, status: Status) -> Self {
        if self.is_default {
            (self.status, self.is_default) = (status, false);
        }
        self
    }
}

/// Generates the schemas of a document, by [`schemars`].
#[derive(Debug)]
pub struct Schemas {
    input: SchemaGenerator,
    output: SchemaGenerator,
}

impl Schemas {
    pub(crate) fn new() -> Self {
        let settings = |path: &'static str| {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.meta_schema = None;
                settings.definitions_path = path.into();
            })
        };
        Self {
            input: settings(INPUT_PATH).for_deserialize().into_generator(),
            output: settings(OUTPUT_PATH).for_serialize().into_generator(),
        }
    }

    /// The schema of a type as a client sends it: a reference, if the type has a name.
    pub fn input<T: JsonSchema + ?Sized>(&mut self) -> Value {
        object(self.input.subschema_for::<T>())
    }

    /// The schema of a type as it is sent to a client: a reference, if the type has a name.
    pub fn output<T: JsonSchema + ?Sized>(&mut self) -> Value {
        object(self.output.subschema_for::<T>())
    }

    /// The schema of a type as a client sends it, which is not a reference.
    pub(crate) fn inline_input<T: JsonSchema + ?Sized>(&mut self) -> Schema {
        T::json_schema(&mut self.input)
    }

    /// The schemas that references name: those of inputs, and those of outputs.
    pub(crate) fn definitions(mut self) -> (Map<String, Value>, Map<String, Value>) {
        (self.input.take_definitions(true), self.output.take_definitions(true))
    }

    /// The schemas of inputs that references name.
    pub(crate) fn input_definitions(&mut self) -> &mut Map<String, Value> {
        self.input.definitions_mut()
    }

    /// The definition behind a reference to a schema of an input.
    pub(crate) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let name = definition(schema, INPUT_PATH);
        name.and_then(|name| self.input.definitions().get(&name)).unwrap_or(schema)
    }
}

/// Linters of OpenAPI refuse the schemas `true` and `false`.
fn object(mut schema: Schema) -> Value {
    schema.ensure_object();
    schema.into()
}

/// The name of the definition that a schema refers to, if it is under this path.
pub(crate) fn definition(schema: &Value, path: &str) -> Option<String> {
    definition_of(schema.get("$ref")?, path)
}

/// The name in a reference, which encodes the characters that a JSON Pointer and a URI can't contain.
pub(crate) fn definition_of(reference: &Value, path: &str) -> Option<String> {
    let name = reference.as_str()?.strip_prefix('#')?.strip_prefix(path)?.strip_prefix('/')?;
    let name = percent_decode_str(name).decode_utf8().ok()?;
    Some(name.replace("~1", "/").replace("~0", "~"))
}

/// The schema of a problem: a reference.
pub(crate) fn problem_schema() -> Value {
    json!({ "$ref": "#/components/own/Problem" })
}

pub(crate) const PROBLEM_JSON: &str = "application/problem+json";
pub(crate) const INPUT_PATH: &str = "/components/inputs";
pub(crate) const OUTPUT_PATH: &str = "/components/outputs";
/// The schemas of this crate.
pub(crate) const OWN_PATH: &str = "/components/own";
