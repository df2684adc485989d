//! The descriptions of arguments: extractors.

use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};
use schemars::JsonSchema;
#[cfg(any(feature = "form", feature = "query"))]
use serde_json::Map;
use serde_json::{Value, json};

use crate::Body;
use crate::declare::Field;
use crate::declare::operation::{DescribeArgument, Operation, Parameter, Reply, Schemas, Status};
#[cfg(feature = "json")]
use crate::extract::Json;
#[cfg(all(feature = "form", feature = "json"))]
use crate::extract::JsonOrForm;
#[cfg(feature = "multipart")]
use crate::extract::Multipart;
use crate::extract::{
    Binary, ByField, ClientAddr, ClientCertificate, ClientUri, Input, MatchedPath, Path, PeerAddr,
    RestPath, Text, Unchecked,
};
#[cfg(feature = "form")]
use crate::extract::{Form, Submitted};
#[cfg(feature = "query")]
use crate::extract::{Params, Query};
use crate::function::arguments::{Ending, FromHead, FromSome, FromSteps, FromWhole, Passing};
use crate::openapi::rules;

/// Data with a schema.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no schema, and the chain is documented",
    label = "used by this handler",
    note = "add `#[derive(schemars::JsonSchema)]` to the type, or exempt the handler with `tower_chain::openapi::undescribed(handler)`"
)]
pub trait HasSchema: JsonSchema {}

#[diagnostic::do_not_recommend]
impl<T: JsonSchema + ?Sized> HasSchema for T {}

/// The sources of the arguments `A`, all of which have a description.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "an argument of this function has no description, and the chain is documented",
    label = "takes `{A}`",
    note = "an extractor of your own implements `tower_chain::openapi::DescribeArgument`, and its data derives `schemars::JsonSchema`",
    note = "`tower_chain::openapi::undescribed(handler)` exempts one handler"
)]
pub trait DescribeAll<A> {
    fn describe(to: &mut Operation);
}

/// The source of the argument `T`.
#[doc(hidden)]
pub trait DescribeFrom<T> {
    fn describe(to: &mut Operation);
}

#[diagnostic::do_not_recommend]
impl<S, T: DescribeArgument> DescribeFrom<T> for FromHead<S> {
    fn describe(to: &mut Operation) {
        T::describe(to);
    }
}

#[diagnostic::do_not_recommend]
impl<S, M, T: DescribeArgument> DescribeFrom<T> for FromWhole<S, M> {
    fn describe(to: &mut Operation) {
        T::describe(to);
    }
}

#[diagnostic::do_not_recommend]
impl<T> DescribeFrom<T> for FromSteps {
    fn describe(_: &mut Operation) {}
}

#[diagnostic::do_not_recommend]
impl<T> DescribeFrom<T> for FromSome {
    fn describe(_: &mut Operation) {}
}

macro_rules! lists {
    ($($arg:ident $how:ident,)*) => {
        #[diagnostic::do_not_recommend]
        impl<$($arg, $how: DescribeFrom<$arg>,)*> DescribeAll<Passing<($($arg,)*)>> for ($($how,)*) {
            fn describe(to: &mut Operation) {
                let _ = &to;
                $($how::describe(to);)*
            }
        }

        #[diagnostic::do_not_recommend]
        impl<S, $($arg, $how: DescribeFrom<$arg>,)*> DescribeAll<Ending<($($arg,)*), S>> for ($($how,)*) {
            fn describe(to: &mut Operation) {
                let _ = &to;
                $($how::describe(to);)*
            }
        }
    };
}

macro_rules! all_lists {
    ([$($done:tt)*]) => { lists!($($done)*); };
    ([$($done:tt)*] $arg:ident $how:ident, $($rest:tt)*) => {
        lists!($($done)*);
        all_lists!([$($done)* $arg $how,] $($rest)*);
    };
}

all_lists!([] A WA, B WB, C WC, D WD, E WE, F WF, G WG, H WH, I WI, J WJ, K WK, L WL,);

/// The types that read nothing that a client has to know of.
macro_rules! silent {
    ($($(#[$cfg:meta])* $type:ty,)*) => {$(
        $(#[$cfg])*
        impl DescribeArgument for $type {
            fn describe(_: &mut Operation) {}
        }
    )*};
}

silent! {
    Method, Uri, Version, HeaderMap, Extensions, http::request::Parts, ClientAddr, PeerAddr, ClientUri, MatchedPath, RestPath,
    #[cfg(feature = "cookies")] crate::extract::Cookies,
    #[cfg(feature = "axum")] axum::extract::MatchedPath,
    #[cfg(feature = "axum")] axum::extract::OriginalUri,
}

#[cfg(feature = "axum")]
impl<T> DescribeArgument for axum::extract::State<T> {
    fn describe(_: &mut Operation) {}
}

#[cfg(feature = "axum")]
impl<T> DescribeArgument for axum::extract::Extension<T> {
    fn describe(_: &mut Operation) {}
}

impl DescribeArgument for ClientCertificate {
    fn describe(to: &mut Operation) {
        to.refuses(StatusCode::FORBIDDEN, "The client sent no certificate");
    }
}

#[cfg(feature = "sse")]
impl DescribeArgument for crate::respond::LastEventId {
    fn describe(to: &mut Operation) {
        let id = Parameter::header("last-event-id", json!({ "type": "string" }));
        to.parameter(id.optional().description("The id of the last event that was received"));
    }
}

/// The whole request: the handler reads the body itself.
impl DescribeArgument for http::Request<Body> {
    fn describe(to: &mut Operation) {
        Body::describe(to);
    }
}

impl DescribeArgument for Body {
    fn describe(to: &mut Operation) {
        if has_body(&to.method) {
            to.body("*/*", json!({})).optional_body();
        }
    }
}

macro_rules! raw {
    ($($type:ty, $media_type:literal, $format:expr, $is_text:literal, $reads_charset:literal;)*) => {$(
        impl DescribeArgument for $type {
            fn describe(to: &mut Operation) {
                let mut schema = json!({ "type": "string" });
                if let (Some(format), Some(schema)) = ($format, schema.as_object_mut()) {
                    schema.insert("format".to_owned(), Value::from(format));
                }
                to.body($media_type, schema).optional_body();
                if $is_text {
                    to.refuses(StatusCode::BAD_REQUEST, "The body is not UTF-8, or could not be read");
                } else {
                    to.refuses(StatusCode::BAD_REQUEST, "The body could not be read");
                }
                if $reads_charset {
                    to.reply(media_type_refusal("The text is not UTF-8, or it is compressed"));
                }
                to.refuses(StatusCode::PAYLOAD_TOO_LARGE, "The body is longer than its limit");
            }
        }
    )*};
}

raw! {
    String, "text/plain", None::<&str>, true, false;
    Text, "text/plain", None::<&str>, true, true;
    Bytes, "application/octet-stream", Some("binary"), false, false;
    BytesMut, "application/octet-stream", Some("binary"), false, false;
    Binary, "application/octet-stream", Some("binary"), false, false;
}

#[cfg(feature = "json")]
impl<T: HasSchema> DescribeArgument for Json<T> {
    fn describe(to: &mut Operation) {
        let schema = to.schemas.input::<T>();
        if to.settings.text_as_json {
            to.body("text/plain", schema.clone());
        }
        to.body("application/json", schema);
        body_refusals(to, "The body is not JSON");
    }
}

#[cfg(feature = "form")]
impl<T: HasSchema> DescribeArgument for Form<T> {
    fn describe(to: &mut Operation) {
        if [Method::GET, Method::HEAD].contains(&to.method) {
            return query::<T>(to, &[]);
        }
        let schema = form_schema::<T>(to);
        to.body("application/x-www-form-urlencoded", schema);
        body_refusals(to, "The form is not UTF-8 when decoded");
    }
}

#[cfg(all(feature = "form", feature = "json"))]
impl<T: HasSchema> DescribeArgument for JsonOrForm<T> {
    fn describe(to: &mut Operation) {
        Form::<T>::describe(to);
        if ![Method::GET, Method::HEAD].contains(&to.method) {
            Json::<T>::describe(to);
        }
    }
}

#[cfg(feature = "form")]
impl<E: DescribeArgument> DescribeArgument for Submitted<E> {
    fn describe(to: &mut Operation) {
        let first = to.replies.len();
        E::describe(to);
        // The handler receives the errors of fields, and answers them itself.
        let of_fields = invalid_status(to);
        let is_of_fields =
            |reply: &Reply| reply.status == of_fields && reply.description == NOT_OF_THE_FORM;
        let replies = to.replies.split_off(first);
        to.replies.extend(replies.into_iter().filter(|reply| !is_of_fields(reply)));
    }
}

#[cfg(feature = "query")]
impl<T: HasSchema> DescribeArgument for Query<T> {
    fn describe(to: &mut Operation) {
        query::<T>(to, &[]);
    }
}

#[cfg(feature = "query")]
impl<T: HasSchema> DescribeArgument for Params<T> {
    fn describe(to: &mut Operation) {
        let in_path: Vec<String> =
            to.pattern_params.iter().map(|param| param.name.clone()).collect();
        Path::<T>::describe(to);
        query::<T>(to, &in_path);
    }
}

impl<T: HasSchema> DescribeArgument for Path<T> {
    fn describe(to: &mut Operation) {
        let schema = Value::from(to.schemas.inline_input::<T>());
        let schema = to.schemas.resolve(&schema).clone();
        for (index, param) in to.pattern_params.clone().into_iter().enumerate() {
            let found = path_param(&schema, index, &param.name, to.pattern_params.len());
            let found =
                found.filter(|_| !param.is_rest).unwrap_or_else(|| json!({ "type": "string" }));
            to.parameter(path_parameter(&param.name, param.is_rest, found, &to.schemas));
        }
        to.refuses(StatusCode::BAD_REQUEST, "A parameter of the path is not valid");
    }
}

#[cfg(feature = "multipart")]
impl DescribeArgument for Multipart {
    fn describe(to: &mut Operation) {
        // The handler knows the names of the parts.
        to.body("multipart/form-data", json!({ "type": "object" }));
        to.refuses(StatusCode::BAD_REQUEST, "The form is cut off or malformed");
        to.refuses(StatusCode::PAYLOAD_TOO_LARGE, "The body, or a part, is longer than its limit");
        to.reply(media_type_refusal("The body is no multipart form, or it is compressed"));
    }
}

impl<E: DescribeArgument> DescribeArgument for Unchecked<E> {
    fn describe(to: &mut Operation) {
        E::describe(to);
    }
}

impl<E: DescribeArgument> DescribeArgument for ByField<E>
where
    Self: Input,
{
    fn describe(to: &mut Operation) {
        let first = to.parameters.len();
        E::describe(to);
        if let Some(shape) = Self::shape() {
            rules::state(to, first, shape);
        }
        refuses_to_wait(to);
    }
}

/// Long input is checked on a thread for blocking work.
fn refuses_to_wait(to: &mut Operation) {
    to.reply(waits(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many requests of this client wait to be checked",
    ));
    to.reply(waits(StatusCode::SERVICE_UNAVAILABLE, "Too many requests wait to be checked"));
}

#[cfg(feature = "validate")]
impl<E: DescribeArgument> DescribeArgument for crate::middleware::validate::Valid<E> {
    fn describe(to: &mut Operation) {
        checked::<E>(to);
    }
}

#[cfg(feature = "garde")]
impl<E: DescribeArgument> DescribeArgument for crate::middleware::garde::Garde<E> {
    fn describe(to: &mut Operation) {
        checked::<E>(to);
    }
}

/// The description of data that is checked by rules.
#[cfg(any(feature = "validate", feature = "garde"))]
fn checked<E: DescribeArgument>(to: &mut Operation) {
    E::describe(to);
    refuses_to_wait(to);
    let status = match to.settings.bad_request {
        Some(true) => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    to.refuses(status, "The input breaks a rule. `errors` lists each one");
}

/// What it reads is optional.
impl<E: DescribeArgument> DescribeArgument for Option<E> {
    fn describe(to: &mut Operation) {
        let (had_body, first) = (to.body.is_some(), to.parameters.len());
        E::describe(to);
        if !had_body {
            to.optional_body();
        }
        for parameter in to.parameters.iter_mut().skip(first) {
            // A parameter of a path is always required.
            parameter.required = parameter.place == "path";
        }
    }
}

/// The handler receives the refusal, and answers it itself.
impl<E: DescribeArgument, R> DescribeArgument for Result<E, R> {
    fn describe(to: &mut Operation) {
        let first = to.replies.len();
        E::describe(to);
        to.replies.truncate(first);
    }
}

/// Whether requests of this method usually have a body.
fn has_body(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::TRACE].contains(method)
}

/// The status of input that does not have the expected form.
fn invalid_status(to: &Operation) -> Status {
    let in_query = [Method::GET, Method::HEAD].contains(&to.method);
    Status::Exact(if in_query || to.settings.bad_request == Some(true) { 400 } else { 422 })
}

fn body_refusals(to: &mut Operation, malformed: &str) {
    to.refuses(StatusCode::BAD_REQUEST, malformed);
    to.refuses(
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body is longer than its limit, or it has too many values",
    );
    to.reply(media_type_refusal("The body has another media type or charset, or it is compressed"));
    let status = invalid_status(to);
    let reply = Reply::problem(StatusCode::UNPROCESSABLE_ENTITY, NOT_OF_THE_FORM);
    to.reply(Reply { status, ..reply });
}

fn media_type_refusal(cause: &str) -> Reply {
    let reply = Reply::problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, cause);
    let reply = reply.header(Field::new("accept", "The media types that are accepted").optional());
    reply.header(Field::new("accept-encoding", "`identity`, if the body was compressed").optional())
}

fn waits(status: StatusCode, cause: &str) -> Reply {
    let after = Field::new("retry-after", "After how many seconds to try again");
    Reply::problem(status, cause).header(after.optional())
}

/// Adds the properties of a type as parameters of the query, except those that are in the path.
#[cfg(any(feature = "form", feature = "query"))]
fn query<T: HasSchema>(to: &mut Operation, in_path: &[String]) {
    let schema = form_schema::<T>(to);
    let title = if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        " Unknown names are refused."
    } else {
        ""
    };
    let required = names(&schema, "required");
    let properties = schema.get("properties").and_then(Value::as_object);
    let is_plain = !["oneOf", "anyOf", "allOf", "$ref"].iter().any(|key| schema.get(key).is_some());
    let Some(properties) = properties.filter(|_| is_plain) else {
        // The names depend on each other, or are free: an object whose members are parameters.
        if is_plain && schema.get("additionalProperties").is_none() {
            return refuses_query(to);
        }
        let parameter = Parameter::query("parameters", schema).optional();
        let text = "Each member is a parameter of the query.";
        to.parameter(Parameter { style: Some("form"), ..parameter.description(text) });
        return refuses_query(to);
    };
    for (name, schema) in properties {
        if in_path.contains(name) {
            continue;
        }
        let mut schema = schema.clone();
        let own = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let text = own.as_ref().and_then(Value::as_str).unwrap_or_default();
        let is_object = is_object(to.schemas.resolve(&schema));
        let mut parameter =
            Parameter::query(name, schema).description(format!("{text}{title}").trim_ascii());
        if is_object && to.settings.brackets == Some(true) {
            parameter.style = Some("deepObject");
        }
        to.parameter(if required.contains(&name.as_str()) {
            parameter
        } else {
            parameter.optional()
        });
    }
    refuses_query(to);
}

#[cfg(any(feature = "form", feature = "query"))]
fn refuses_query(to: &mut Operation) {
    to.refuses(StatusCode::BAD_REQUEST, "The query does not have the expected form");
    to.refuses(StatusCode::URI_TOO_LONG, "The query has too many parameters");
}

pub(crate) fn is_object(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object")
}

/// The names in a list of a schema.
fn names<'a>(schema: &'a Value, key: &str) -> Vec<&'a str> {
    let list = schema.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The schema of a form. It has no `null`, and a list that must be there has an item.
#[cfg(any(feature = "form", feature = "query"))]
fn form_schema<T: HasSchema>(to: &mut Operation) -> Value {
    let schema = Value::from(to.schemas.inline_input::<T>());
    let mut schema = to.schemas.resolve(&schema).clone();
    let required: Vec<String> = names(&schema, "required").into_iter().map(str::to_owned).collect();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            remove_null(property);
            let is_list = property.get("type").is_some_and(|kind| kind == "array");
            if let Some(list) =
                property.as_object_mut().filter(|_| is_list && required.contains(name))
            {
                let least = list.get("minItems").and_then(Value::as_u64).unwrap_or(0);
                list.insert("minItems".to_owned(), Value::from(least.max(1)));
            }
        }
    }
    schema
}

/// Removes `null`, which a form can't contain.
#[cfg(any(feature = "form", feature = "query"))]
fn remove_null(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    if let Some(kinds) = object.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            object.insert("type".to_owned(), kind);
        }
    }
    if let Some(values) = object.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
    let any = object.get_mut("anyOf").and_then(Value::as_array_mut);
    let only = any.and_then(|any| {
        any.retain(|schema| schema.get("type").is_none_or(|kind| kind != "null"));
        if any.len() == 1 { any.pop() } else { None }
    });
    if let Some(only) = only {
        object.remove("anyOf");
        let only: Map<String, Value> = only.as_object().cloned().unwrap_or_default();
        object.extend(only);
    }
}

/// The schema of a parameter of a path, by its name or its position.
fn path_param(schema: &Value, index: usize, name: &str, count: usize) -> Option<Value> {
    if let Some(properties) = schema.get("properties") {
        return properties.get(name).cloned();
    }
    if is_object(schema) {
        return schema.get("additionalProperties").filter(|of| of.is_object()).cloned();
    }
    if let Some(items) = schema.get("prefixItems") {
        return items.get(index).cloned();
    }
    if let Some(items) = schema.get("items") {
        return (count > 1).then(|| items.clone());
    }
    (count == 1).then(|| schema.clone())
}

/// A parameter of a path. Its text has at least one character.
pub(crate) fn path_parameter(
    name: &str,
    is_rest: bool,
    mut schema: Value,
    schemas: &Schemas,
) -> Parameter {
    let is_text = schemas.resolve(&schema).get("type").is_some_and(|kind| kind == "string");
    let mut text = String::new();
    if let Some(object) = schema.as_object_mut() {
        if let Some(Value::String(own)) = object.remove("description") {
            text = own;
        }
        let has_values = object.contains_key("enum") || object.contains_key("$ref");
        if is_text && !has_values {
            let least = object.get("minLength").and_then(Value::as_u64).unwrap_or(0);
            object.insert("minLength".to_owned(), Value::from(least.max(1)));
        }
    }
    if is_rest {
        text =
            format!("{text} The rest of the path. It may contain slashes.").trim_ascii().to_owned();
    }
    Parameter::path(name, schema).description(text)
}

const NOT_OF_THE_FORM: &str =
    "The input does not have the expected form. `errors` lists each field";
