//! Types of all shapes as arguments and results: the document is valid, and real responses are declared in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum_core::response::AppendHeaders;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_chain::declare::Kind;
use tower_chain::extract::Path;
use tower_chain::openapi::{Info, described, documented};
use tower_chain::respond::{Created, NoContent, WithStatus};
use tower_chain::step::declared;
use tower_chain::{
    Authenticate, Chain, ChainService, Error, Fields, Form, Json, Next, Principal, Query, Require,
    Response, TestClient, Valid,
};

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
struct Tree {
    name: String,
    children: Vec<Tree>,
}

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<Box<Page<T>>>,
}

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
enum External {
    Unit,
    Newtype(u8),
    Tuple(u8, String),
    Struct { a: Option<bool> },
}

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Internal {
    FirstOne,
    SecondOne { a: u8 },
}

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    None,
    Some(Vec<u8>),
}

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
}

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
struct Flat {
    own: u8,
    #[serde(flatten)]
    tree: Tree,
    #[serde(flatten)]
    others: BTreeMap<String, u32>,
}

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
#[serde(transparent)]
struct Wrapped(Option<Tree>);

mod one {
    use super::*;

    #[derive(Clone, Deserialize, JsonSchema, Serialize)]
    pub(super) struct Item {
        pub(super) id: u32,
    }
}

mod two {
    use super::*;

    #[derive(Clone, Deserialize, JsonSchema, Serialize)]
    pub(super) struct Item {
        pub(super) name: String,
    }
}

/// The name that the input of another type would have.
#[derive(Clone, Deserialize, JsonSchema, Serialize)]
struct NoteInput {
    words: u8,
}

/// A default makes its input differ from its output.
#[derive(Clone, Deserialize, JsonSchema, Serialize)]
struct Note {
    #[serde(default)]
    text: String,
}

/// The names of the schemas of this crate.
#[derive(Clone, Deserialize, JsonSchema, Serialize)]
struct Problem {
    own: bool,
    error: FieldError,
}

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
struct FieldError {
    own: bool,
}

#[derive(Clone, Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "Größe / ~1 %")]
struct Size {
    deep: Vec<Size>,
}

fn info() -> Info {
    Info::new("Shapes", "1.0")
}

/// The schema of a name in the document, or of the reference that leads to it.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let path = value.get("$ref").and_then(Value::as_str);
    path.map_or(value, |path| document.pointer(path.strip_prefix('#').unwrap()).unwrap())
}

/// Checks that each reference leads somewhere, and that the names of components are as OpenAPI requires (4.8.7).
fn assert_consistent(document: &Value) {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
            Value::Object(members) => {
                if let Some(Value::String(path)) = members.get("$ref") {
                    let found = path.strip_prefix("#/components/");
                    assert!(
                        found.is_some_and(|path| document["components"]
                            .pointer(&format!("/{path}"))
                            .is_some()),
                        "{path}"
                    );
                }
                members.values().for_each(|member| walk(member, document));
            }
            _ => {}
        }
    }
    walk(document, document);
    for kind in document["components"].as_object().unwrap().values() {
        for name in kind.as_object().unwrap().keys() {
            let is_valid = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            assert!(!name.is_empty() && name.chars().all(is_valid), "{name}");
        }
    }
}

async fn echo<T: DeserializeOwned + JsonSchema + Serialize + Send + 'static>(
    Json(value): Json<T>,
) -> Json<T> {
    Json(value)
}

/// A chain that answers a value with itself.
fn echoes() -> ChainService {
    Chain::new()
        .documented()
        .at("/tree", |c| c.post(echo::<Tree>))
        .at("/page", |c| c.post(echo::<Page<Page<Tree>>>))
        .at("/external", |c| c.post(echo::<External>))
        .at("/internal", |c| c.post(echo::<Internal>))
        .at("/adjacent", |c| c.post(echo::<Adjacent>))
        .at("/untagged", |c| c.post(echo::<Untagged>))
        .at("/flat", |c| c.post(echo::<Flat>))
        .at("/wrapped", |c| c.post(echo::<Wrapped>))
        .at("/map", |c| c.post(echo::<HashMap<String, (u8, Option<Tree>)>>))
        .at("/set", |c| c.post(echo::<BTreeSet<u8>>))
        .at("/list", |c| c.post(echo::<[Option<External>; 2]>))
        .at("/any", |c| c.post(echo::<Value>))
        .at("/unit", |c| c.post(echo::<()>))
        .at("/one", |c| c.post(echo::<one::Item>))
        .at("/two", |c| c.post(echo::<two::Item>))
        .at("/both", |c| c.post(echo::<(one::Item, two::Item)>))
        .at("/note", |c| c.post(echo::<Note>))
        .at("/note-input", |c| c.post(echo::<NoteInput>))
        .at("/problem", |c| c.post(echo::<Problem>))
        .at("/field-error", |c| c.post(echo::<FieldError>))
        .at("/size", |c| c.post(echo::<Size>))
        .build()
}

#[tokio::test]
async fn each_shape_of_data_is_sent_and_received_as_declared() {
    let api = echoes();
    let document = api.openapi(&info()).into_value();
    assert_consistent(&document);
    let client = TestClient::new(api.clone()).declared_by(api.openapi(&info()));
    let tree = json!({ "name": "a", "children": [{ "name": "b", "children": [] }] });
    for (path, sent) in [
        ("/tree", tree.clone()),
        (
            "/page",
            json!({ "items": [{ "items": [tree], "next": null }], "next": { "items": [], "next": null } }),
        ),
        ("/external", json!("Unit")),
        ("/external", json!({ "Newtype": 7 })),
        ("/external", json!({ "Tuple": [7, "a"] })),
        ("/external", json!({ "Struct": { "a": null } })),
        ("/internal", json!({ "kind": "first-one" })),
        ("/internal", json!({ "kind": "second-one", "a": 1 })),
        ("/adjacent", json!({ "kind": "None" })),
        ("/adjacent", json!({ "kind": "Some", "of": [1, 2] })),
        ("/untagged", json!(-7)),
        ("/untagged", json!("a")),
        ("/flat", json!({ "own": 1, "name": "a", "children": [], "x": 7 })),
        ("/wrapped", json!(null)),
        ("/wrapped", json!({ "name": "a", "children": [] })),
        ("/map", json!({ "a": [1, null], "b/c": [2, { "name": "a", "children": [] }] })),
        ("/set", json!([1, 2, 3])),
        ("/list", json!(["Unit", null])),
        ("/any", json!({ "a": [1.5, {}] })),
        ("/unit", json!(null)),
        ("/one", json!({ "id": 1 })),
        ("/two", json!({ "name": "a" })),
        ("/both", json!([{ "id": 1 }, { "name": "a" }])),
        ("/note", json!({ "text": "a" })),
        ("/note-input", json!({ "words": 1 })),
        ("/problem", json!({ "own": true, "error": { "own": false } })),
        ("/field-error", json!({ "own": true })),
        ("/size", json!({ "deep": [{ "deep": [] }] })),
    ] {
        client.post(path).json(&sent).send().await.assert_status(200).assert_json(&sent);
        let wrong = client.post(path).header("content-type", "application/json");
        let status = wrong.body("{".into()).send().await.status();
        // Some types refuse an object before its end is missing.
        assert!([400, 422].contains(&status.as_u16()), "{path}: {status}");
    }
}

#[test]
fn no_two_types_have_one_schema() {
    let document = echoes().openapi(&info()).into_value();
    let schema = |path: &str, part: &str| {
        let operation = &document["paths"][path]["post"];
        let content = match part {
            "body" => &operation["requestBody"]["content"]["application/json"],
            status => {
                &resolve(&document, &operation["responses"][status])["content"]["application/json"]
            }
        };
        resolve(&document, &content["schema"])["properties"].clone()
    };
    for (path, has) in [
        ("/one", "id"),
        ("/two", "name"),
        ("/note", "text"),
        ("/note-input", "words"),
        ("/problem", "own"),
        ("/field-error", "own"),
        ("/size", "deep"),
    ] {
        for part in ["body", "200"] {
            assert!(!schema(path, part)[has].is_null(), "{path} {part}: {}", schema(path, part));
        }
    }
    // The refusals have the problem of this crate.
    let refused = resolve(&document, &document["paths"]["/problem"]["post"]["responses"]["400"]);
    let problem = resolve(&document, &refused["content"]["application/problem+json"]["schema"]);
    assert_eq!(problem["required"], json!(["type", "title", "status"]));
    let errors = resolve(&document, &problem["properties"]["errors"]["items"]);
    assert!(!errors["properties"]["pointer"].is_null());
}

#[tokio::test]
async fn each_shape_of_a_result_answers_as_declared() {
    fn fields() -> HeaderMap {
        HeaderMap::from_iter([("x-a".parse().unwrap(), HeaderValue::from_static("b"))])
    }
    let api = Chain::new()
        .documented()
        .at("/array", |c| c.get(async || [1_u8, 2]))
        .at("/bytes", |c| c.get(async || b"abc"))
        .at("/boxed", |c| c.get(async || Box::<[u8]>::from([1])))
        .at("/boxed-text", |c| c.get(async || Box::<str>::from("a")))
        .at("/fields", |c| c.get(async || fields()))
        .at("/append", |c| c.get(async || AppendHeaders([("x-a", "b"), ("x-a", "c")])))
        .at("/pairs", |c| c.get(async || [("x-a", "b")]))
        .at("/extensions", |c| c.get(async || Extensions::new()))
        .at("/one", |c| c.get(async || ("a",)))
        .at("/tuple", |c| {
            c.get(async || {
                let append = AppendHeaders([("x-c", "d")]);
                ([("x-a", "b")], Some([("x-b", "c")]), append, (), Extensions::new(), Json(1))
            })
        })
        .at("/grouped", |c| c.get(async || (([("x-a", "b")], ()), Json(1))))
        .at("/status", |c| c.get(async || (StatusCode::ACCEPTED, [("x-a", "b")], (), "a")))
        .at("/nested", |c| {
            c.get(async || Ok::<_, Error>(Err::<Created<Json<u8>>, _>((StatusCode::CONFLICT, "a"))))
        })
        .at("/with", |c| {
            c.get(async || Ok::<_, StatusCode>(WithStatus::<203, _>(Json(Some(1_u8)))))
        })
        .at("/none", |c| c.get(async || Err::<NoContent, _>(StatusCode::GONE)))
        .at("/error", |c| {
            c.get(async || Err::<Json<u8>, _>(Error::new(StatusCode::CONFLICT, "taken")))
        })
        .build();
    assert_consistent(&api.openapi(&info()).into_value());
    let client = TestClient::new(api.clone()).declared_by(api.openapi(&info()));
    for (path, status) in [
        ("/array", 200),
        ("/bytes", 200),
        ("/boxed", 200),
        ("/boxed-text", 200),
        ("/fields", 200),
        ("/append", 200),
        ("/pairs", 200),
        ("/extensions", 200),
        ("/one", 200),
        ("/tuple", 200),
        ("/grouped", 200),
        ("/status", 202),
        ("/nested", 409),
        ("/with", 203),
        ("/none", 410),
        ("/error", 409),
    ] {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE] {
            let response = client.request(method.clone(), path).send().await;
            if method == Method::GET {
                response.assert_status(status);
            }
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only described")]
struct Filter {
    q: Option<String>,
    #[serde(flatten)]
    others: HashMap<String, String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "by")]
#[allow(dead_code, reason = "only described")]
enum Sort {
    Name,
    Date { order: String },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Closed {
    #[allow(dead_code, reason = "only described")]
    only: u8,
}

#[tokio::test]
async fn each_shape_of_an_argument_is_read_as_declared() {
    let api = Chain::new()
        .documented()
        .at("/several/{id}", |c| c.get(async |_: (Path<u32>, Query<Closed>)| ""))
        .at("/nothing", |c| c.get(async |(): ()| ""))
        .at("/free", |c| c.get(async |_: Query<Filter>| ""))
        .at("/map", |c| c.get(async |_: Query<HashMap<String, u8>>| ""))
        .at("/sort", |c| c.get(async |_: Query<Sort>| ""))
        .at("/list/{a}/{b}", |c| c.get(async |_: Path<[u8; 2]>| ""))
        .at("/single/{a}", |c| c.get(async |_: Path<[u8; 1]>| ""))
        .at("/pairs/{a}/{b}", |c| c.get(async |_: Path<HashMap<String, u8>>| ""))
        .at("/kept", |c| c.post(async |_: Result<Json<u8>, Error>| ""))
        .at("/maybe", |c| c.post(async |_: Option<Json<u8>>| ""))
        .at("/form", |c| c.post(async |_: Form<HashMap<String, Vec<u8>>>| ""))
        .build();
    let document = api.openapi(&info()).into_value();
    assert_consistent(&document);
    let parameters = |path: &str| -> Vec<(String, String)> {
        let all = document["paths"][path]["get"]["parameters"].as_array();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        all.into_iter().flatten().map(|one| (text(one, "in"), text(one, "name"))).collect()
    };
    let pair = |place: &str, name: &str| (place.to_owned(), name.to_owned());
    assert_eq!(parameters("/several/{id}"), [pair("path", "id"), pair("query", "only")]);
    assert_eq!(parameters("/free"), [pair("query", "parameters"), pair("query", "q")]);
    assert_eq!(parameters("/map"), [pair("query", "parameters")]);
    let of = |path: &str| document["paths"][path]["get"]["parameters"][0]["schema"].clone();
    for path in ["/list/{a}/{b}", "/single/{a}", "/pairs/{a}/{b}"] {
        assert_eq!(of(path)["maximum"], 255, "{path}");
    }
    let client = TestClient::new(api.clone()).declared_by(api.openapi(&info()));
    for (path, status) in [
        ("/several/7?only=1", 200),
        ("/several/x?only=1", 400),
        ("/several/7?only=x", 400),
        ("/several/7?only=1&other=2", 400),
        ("/nothing", 200),
        ("/free?q=a&x=b", 200),
        ("/map?a=1", 200),
        ("/map?a=x", 400),
        ("/sort?by=Date&order=newest", 200),
        ("/sort?by=Size", 400),
        ("/list/1/2", 200),
        ("/list/1/x", 400),
        ("/single/1", 200),
        ("/single/x", 400),
        ("/pairs/1/2", 200),
        ("/pairs/1/x", 400),
    ] {
        client.get(path).send().await.assert_status(status);
    }
    for (path, body, status) in [("/kept", "x", 200), ("/maybe", "", 200), ("/maybe", "x", 400)] {
        let request = client.post(path).body(body.into());
        let request = match body.is_empty() {
            true => request,
            false => request.header("content-type", "application/json"),
        };
        request.send().await.assert_status(status);
    }
}

#[test]
fn scopes_and_roles_are_in_the_requirements() {
    let token = || Authenticate::token("a-secret-of-at-least-16-bytes").unwrap();
    let need = |rule: Require<Principal>| {
        let api = Chain::new().documented().use_(token()).use_(rule).get(async || "a").build();
        api.openapi(&info()).into_value()["paths"]["/"]["get"]["security"].clone()
    };
    let scope = |name: &str| Require::<Principal>::scope(name).unwrap();
    let role = |name: &str| Require::<Principal>::role(name).unwrap();
    for (rule, expected) in [
        (scope("read"), json!([{ "bearer": ["read"] }])),
        (role("admin"), json!([{ "bearer": ["admin"] }])),
        (Require::all([scope("a"), role("b")]).unwrap(), json!([{ "bearer": ["a", "b"] }])),
        // One of several is enough, so none of them is required. The 403 names them.
        (Require::any([scope("a"), scope("b")]).unwrap(), json!([{ "bearer": [] }])),
        (Require::any([scope("a")]).unwrap(), json!([{ "bearer": ["a"] }])),
    ] {
        assert_eq!(need(rule), expected);
    }
    // Nobody passes a step that checks grants without credentials.
    async fn pass(next: Next<'_>) -> Response {
        next.run().await
    }
    let grants = declared(pass, |to| {
        to.kind(Kind::Authorization).requires_role("admin");
    });
    let optional = Chain::new()
        .documented()
        .use_(token().optional())
        .at("/open", |c| c.get(async || "a"))
        .at("/closed", |c| c.use_(grants).get(async || "a"))
        .build();
    let document = optional.openapi(&info()).into_value();
    let security = |path: &str| document["paths"][path]["get"]["security"].clone();
    assert_eq!(security("/open"), json!([{}, { "bearer": [] }]));
    assert_eq!(security("/closed"), json!([{ "bearer": ["admin"] }]));
}

/// A note
/// in two lines.
///
/// Its *text*.
///
/// - one
/// - two
#[documented]
async fn note() -> &'static str {
    ""
}

#[doc = "Alone"]
#[documented]
pub(crate) async fn alone() {}

/** In a block.

Indented. */
#[documented]
async fn block() {}

#[test]
fn doc_comments_are_titles_and_descriptions() {
    let api = Chain::new()
        .documented()
        .at("/note", |c| c.get(described(note, note::docs)))
        .at("/alone", |c| c.get(described(alone, alone::docs)))
        .at("/block", |c| c.get(described(block, block::docs)))
        .at("/more", |c| {
            c.get(described(note, |to| {
                note::docs(to);
                to.summary("Another title").tag("notes");
            }))
        })
        .build();
    let document = api.openapi(&info()).into_value();
    for (path, title, text) in [
        ("/note", "A note in two lines.", json!("Its *text*.\n\n- one\n- two")),
        ("/alone", "Alone", Value::Null),
        ("/block", "In a block.", json!("Indented.")),
        ("/more", "Another title", json!("Its *text*.\n\n- one\n- two")),
    ] {
        let operation = &document["paths"][path]["get"];
        assert_eq!((&operation["summary"], &operation["description"]), (&json!(title), &text));
    }
}

#[derive(Deserialize, Fields, JsonSchema, validator::Validate)]
struct Rules {
    #[validate(length(equal = 3))]
    code: String,
    #[validate(length(min = 1, max = 2))]
    tags: Vec<String>,
    #[validate(range(min = -1.5, max = 2.0))]
    weight: f64,
    #[validate(email)]
    email: Option<String>,
    #[validate(url)]
    url: Option<String>,
    #[validate(contains(pattern = "x"))]
    text: String,
    #[validate(required)]
    there: Option<u8>,
}

#[derive(Deserialize, Fields, JsonSchema, garde::Validate)]
struct GardeRules {
    /// Counted in bytes, which no schema can express.
    #[garde(length(min = 1, max = 4))]
    bytes: String,
    #[garde(length(chars, min = 1, max = 4))]
    chars: String,
    #[garde(length(min = 1, max = 4))]
    list: Vec<u8>,
    #[garde(range(min = 1, max = 9))]
    number: u8,
    #[garde(inner(length(chars, max = 3)))]
    items: Vec<String>,
    #[garde(skip)]
    free: String,
}

#[test]
fn rules_of_both_engines_are_in_the_schemas() {
    use tower_chain::extract::ByField;
    use tower_chain::middleware::garde::Garde;
    let api = Chain::new()
        .documented()
        .at("/validator", |c| c.post(async |_: Valid<ByField<Json<Rules>>>| ""))
        .at("/garde", |c| c.post(async |_: Garde<ByField<Json<GardeRules>>>| ""))
        .build();
    let document = api.openapi(&info()).into_value();
    let field = |path: &str, name: &str| {
        let content = &document["paths"][path]["post"]["requestBody"]["content"];
        resolve(&document, &content["application/json"]["schema"])["properties"][name].clone()
    };
    for (path, name, key, expected) in [
        ("/validator", "code", "minLength", json!(3)),
        ("/validator", "code", "maxLength", json!(3)),
        ("/validator", "tags", "minItems", json!(1)),
        ("/validator", "tags", "maxItems", json!(2)),
        ("/validator", "weight", "minimum", json!(-1.5)),
        ("/validator", "email", "format", json!("email")),
        ("/validator", "url", "format", json!("uri")),
        ("/validator", "text", "pattern", json!("x")),
        ("/validator", "there", "type", json!("integer")),
        ("/garde", "chars", "maxLength", json!(4)),
        ("/garde", "list", "maxItems", json!(4)),
        ("/garde", "number", "minimum", json!(1)),
        ("/garde", "number", "maximum", json!(9)),
        ("/garde", "free", "type", json!("string")),
    ] {
        assert_eq!(field(path, name)[key], expected, "{path} {name}: {}", field(path, name));
    }
    assert_eq!(field("/garde", "items")["items"]["maxLength"], 3);
    for (name, is_stated) in [("bytes", true), ("chars", false), ("list", false)] {
        let text = field("/garde", name)["description"].to_string();
        assert_eq!(text.contains("The unit of its length is `bytes`"), is_stated, "{name}: {text}");
    }
}

/// What a document states about a header field, and what the step accepts.
#[tokio::test]
async fn the_pattern_of_a_header_field_is_what_the_step_accepts() {
    use regex::Regex;
    use tower_chain::middleware::idempotency::Idempotency;
    use tower_chain::middleware::shed::Shed;
    let shed = Shed::new().timeout_header(http::HeaderName::from_static("x-timeout-ms"));
    let api = Chain::new()
        .documented()
        .at("/shed", |c| c.use_(shed).post(async || ""))
        .at("/once", |c| {
            c.use_(Idempotency::for_anyone().key_length(1..=9).unwrap()).post(async || "")
        })
        .build();
    let document = api.openapi(&info()).into_value();
    let client = TestClient::new(api.clone()).declared_by(api.openapi(&info()));
    for (path, name, values) in [
        (
            "/shed",
            "x-timeout-ms",
            &["1", "0", "999999999999999", "", "1000000000000000", "1S", "-1"][..],
        ),
        (
            "/once",
            "idempotency-key",
            &[
                "a",
                "order-7:",
                "a+b=/.~",
                "\"a\"",
                "\"a b,;c\"",
                r#""\\\"""#,
                "123456789",
                "\"123456789\"",
                "",
                "\"\"",
                "\"a",
                "a\"",
                "a b",
                "a,b",
                "a;b",
                r"a\b",
                "1234567890",
                "\"1234567890\"",
                r#""\a""#,
            ],
        ),
    ] {
        let parameters = document["paths"][path]["post"]["parameters"].as_array().unwrap();
        let parameter = parameters.iter().find(|one| one["name"] == name).unwrap();
        let pattern = Regex::new(parameter["schema"]["pattern"].as_str().unwrap()).unwrap();
        for value in values {
            let status = client.post(path).header(name, *value).send().await.status();
            assert_eq!(pattern.is_match(value), status != 400, "{name}: {value}: {status}");
        }
    }
}
