//! The document of a chain: what the types of handlers say, what the steps in front add, and how a test compares responses with it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod shapes;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use http::{HeaderMap, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use tower_chain::declare::{Answer, Credential, Field, Scheme};
use tower_chain::extract::{
    Binary, BracketSyntax, ByField, InvalidInput, JsonOrForm, MaxBody, Params, Path, Submitted,
    Text, TextAsJson,
};
use tower_chain::middleware::garde::Garde;
use tower_chain::openapi::{Docs, Info, OpenApi, described, undescribed};
use tower_chain::respond::{Created, NdJson, NoContent, Redirect, Sse, WithStatus};
use tower_chain::step::declared;
use tower_chain::{
    Chain, ChainService, Error, Fields, Form, Json, Next, Query, Response, TestClient, Valid,
};
use validator::Validate as _;

#[derive(Clone, Deserialize, Fields, JsonSchema, Serialize, validator::Validate)]
struct Article {
    /// The name on the label.
    #[validate(length(min = 1, max = 20))]
    name: String,
    #[serde(default)]
    price: u32,
    size: Option<i64>,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only described")]
struct Search {
    /// Words.
    q: String,
    tag: Vec<String>,
    page: Option<u8>,
    #[serde(default)]
    range: Range,
}

#[derive(Default, Deserialize, JsonSchema)]
struct Range {
    #[allow(dead_code, reason = "only described")]
    from: u32,
}

#[derive(Deserialize, JsonSchema)]
struct Place {
    #[allow(dead_code, reason = "only described")]
    shop: u32,
    #[allow(dead_code, reason = "only described")]
    shelf: String,
}

fn info() -> Info {
    Info::new("Shop", "1.0")
}

fn document(api: &ChainService) -> Value {
    let mut document = api.openapi(&info()).into_value();
    // References to shared responses and header fields, as what they name.
    let components = document["components"].clone();
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        for operation in item.as_object_mut().unwrap().values_mut() {
            let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
            for (_, response) in responses.into_iter().flatten() {
                replace(response, &components);
                let headers = response.get_mut("headers").and_then(Value::as_object_mut);
                headers.into_iter().flatten().for_each(|(_, header)| replace(header, &components));
            }
        }
    }
    document
}

fn replace(value: &mut Value, components: &Value) {
    let name = value.get("$ref").and_then(Value::as_str);
    let name = name.and_then(|path| path.strip_prefix("#/components"));
    if let Some(named) = name.and_then(|name| components.pointer(name)) {
        *value = named.clone();
    }
}

/// The operation of a chain with one handler at `/x/{a}/{b}`.
macro_rules! operation {
    ($method:ident $handler:expr) => {{
        let api = Chain::new().documented().at("/x/{a}/{b}", |c| c.$method($handler)).build();
        document(&api)["paths"]["/x/{a}/{b}"][stringify!($method)].clone()
    }};
}

fn statuses(operation: &Value) -> Vec<&str> {
    operation["responses"].as_object().unwrap().keys().map(String::as_str).collect()
}

/// Place, name, whether it is required.
fn parameters(operation: &Value) -> Vec<(&str, &str, bool)> {
    let all = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap();
            (text("in"), text("name"), one["required"].as_bool().unwrap())
        })
        .collect()
}

fn parameter<'a>(operation: &'a Value, name: &str) -> &'a Value {
    let all = operation["parameters"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap()
}

#[test]
fn a_body_has_its_media_types_and_refusals() {
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let all = ["200", "400", "413", "415", "422"].as_slice();
    let checked = ["200", "400", "413", "415", "422", "429", "503"].as_slice();
    for (name, operation, media_types, required, expected) in [
        ("json", operation!(post async |_: Json<Article>| ""), vec![json], true, all),
        ("option", operation!(post async |_: Option<Json<Article>>| ""), vec![json], false, all),
        ("form", operation!(post async |_: Form<Article>| ""), vec![form], true, all),
        ("both", operation!(post async |_: JsonOrForm<Article>| ""), vec![json, form], true, all),
        ("valid", operation!(post async |_: Valid<Json<Article>>| ""), vec![json], true, checked),
        (
            "by field",
            operation!(put async |_: Valid<ByField<Json<Article>>>| ""),
            vec![json],
            true,
            checked,
        ),
        (
            "text",
            operation!(post async |_: Text| ""),
            vec!["text/plain"],
            false,
            &["200", "400", "413", "415"],
        ),
        (
            "string",
            operation!(post async |_: String| ""),
            vec!["text/plain"],
            false,
            &["200", "400", "413"],
        ),
        (
            "binary",
            operation!(post async |_: Binary| ""),
            vec!["application/octet-stream"],
            false,
            &["200", "400", "413"],
        ),
        (
            "multipart",
            operation!(post async |_: tower_chain::extract::Multipart| ""),
            vec!["multipart/form-data"],
            true,
            &["200", "400", "413", "415"],
        ),
        (
            "submitted",
            operation!(post async |_: Submitted<Form<Article>>| ""),
            vec![form],
            true,
            &["200", "400", "413", "415"],
        ),
        (
            "refusal",
            operation!(post async |_: Result<Json<Article>, Error>| ""),
            vec![json],
            true,
            &["200"],
        ),
        (
            "request",
            operation!(post async |_: tower_chain::Request| ""),
            vec!["*/*"],
            false,
            &["200"],
        ),
    ] {
        let body = &operation["requestBody"];
        let mut found: Vec<&str> =
            body["content"].as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, media_types, "{name}");
        assert_eq!(body["required"], required, "{name}");
        assert_eq!(statuses(&operation), expected, "{name}");
    }
}

#[test]
fn parameters_are_named_by_the_pattern_and_by_the_type() {
    let in_path = [("path", "a", true), ("path", "b", true)];
    let query = [
        ("query", "page", false),
        ("query", "q", true),
        ("query", "range", false),
        ("query", "tag", true),
    ];
    for (name, operation, expected) in [
        ("tuple", operation!(get async |_: Path<(u32, String)>| ""), in_path.to_vec()),
        ("list", operation!(get async |_: Path<Vec<String>>| ""), in_path.to_vec()),
        ("struct", operation!(get async |_: Path<Place>| ""), in_path.to_vec()),
        ("none", operation!(get async || ""), in_path.to_vec()),
        ("query", operation!(get async |_: Query<Search>| ""), [&query[..], &in_path].concat()),
        (
            "form of a GET",
            operation!(get async |_: Form<Search>| ""),
            [&query[..], &in_path].concat(),
        ),
        (
            "valid",
            operation!(get async |_: Valid<Query<Article>>| ""),
            [
                &[("query", "name", true), ("query", "price", false), ("query", "size", false)],
                &in_path[..],
            ]
            .concat(),
        ),
        (
            "optional",
            operation!(get async |_: tower_chain::respond::LastEventId| ""),
            [&[("header", "last-event-id", false)], &in_path[..]].concat(),
        ),
        (
            "silent",
            operation!(get async |_: Method, _: HeaderMap, _: http::Uri, _: tower_chain::ClientAddr| ""),
            in_path.to_vec(),
        ),
    ] {
        let mut found = parameters(&operation);
        let mut expected = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
    let tuple = operation!(get async |_: Path<(u32, String)>| "");
    assert_eq!(parameter(&tuple, "a")["schema"]["maximum"], u32::MAX);
    assert_eq!(parameter(&tuple, "b")["schema"]["minLength"], 1);
    let query = operation!(get async |_: Query<Search>| "");
    assert_eq!(parameter(&query, "q")["description"], "Words.");
    assert_eq!(parameter(&query, "page")["schema"]["type"], "integer");
    assert_eq!(parameter(&query, "tag")["schema"]["minItems"], 1);
    assert_eq!(statuses(&query), ["200", "400", "414"]);
    let both =
        Chain::new().documented().at("/{q}", |c| c.get(async |_: Params<Article>| "")).build();
    let both = &document(&both)["paths"]["/{q}"]["get"];
    assert_eq!(parameters(both)[0], ("path", "q", true));
}

type Lines = stream::Iter<std::array::IntoIter<Result<u32, std::io::Error>, 1>>;
type Events = stream::Empty<Result<tower_chain::respond::Event, std::io::Error>>;

async fn lines() -> NdJson<Lines> {
    NdJson::new(stream::iter([Ok(1)]))
}

async fn events() -> Sse<Events> {
    Sse::new(stream::empty())
}

#[test]
fn results_have_their_statuses_and_media_types() {
    for (name, operation, expected) in [
        ("text", operation!(get async || "a"), vec![("200", vec!["text/plain; charset=utf-8"])]),
        (
            "bytes",
            operation!(get async || vec![1_u8]),
            vec![("200", vec!["application/octet-stream"])],
        ),
        ("nothing", operation!(get async || ()), vec![("200", vec![])]),
        ("no content", operation!(delete async || NoContent), vec![("204", vec![])]),
        ("status", operation!(get async || StatusCode::OK), vec![("default", vec![])]),
        ("json", operation!(get async || Json(1_u32)), vec![("200", vec!["application/json"])]),
        (
            "created",
            operation!(post async || Created(Json(1_u32))),
            vec![("201", vec!["application/json"])],
        ),
        (
            "with status",
            operation!(post async || WithStatus::<202, _>("a")),
            vec![("202", vec!["text/plain; charset=utf-8"])],
        ),
        (
            "tuple",
            operation!(get async || (StatusCode::OK, Json(1_u32))),
            vec![("default", vec!["application/json"])],
        ),
        (
            "fields",
            operation!(get async || ([("x-a", "b")], Json(1_u32))),
            vec![("200", vec!["application/json"])],
        ),
        (
            "fields of a text",
            operation!(get async || ([("content-type", "text/html")], "a")),
            vec![("200", vec!["*/*"])],
        ),
        (
            "result",
            operation!(get async || Ok::<_, Error>(Json(1_u32))),
            vec![
                ("200", vec!["application/json"]),
                ("4XX", vec!["application/problem+json"]),
                ("5XX", vec!["application/problem+json"]),
            ],
        ),
        (
            "error in a tuple",
            operation!(get async || Err::<(), _>((StatusCode::CONFLICT, "a"))),
            vec![("200", vec![]), ("default", vec!["text/plain; charset=utf-8"])],
        ),
        (
            "redirect",
            operation!(get async || Redirect::to("/")),
            vec![("3XX", vec![]), ("400", vec!["application/problem+json"])],
        ),
        ("lines", operation!(get lines), vec![("200", vec!["application/x-ndjson"])]),
        ("events", operation!(get events), vec![("200", vec!["text/event-stream"])]),
        (
            "page",
            operation!(get async || tower_chain::respond::Html("a")),
            vec![("200", vec!["text/html; charset=utf-8"])],
        ),
    ] {
        let responses = operation["responses"].as_object().unwrap();
        let found: Vec<(&str, Vec<&str>)> = responses
            .iter()
            .map(|(status, response)| {
                let content = response["content"].as_object();
                (
                    status.as_str(),
                    content.into_iter().flatten().map(|(kind, _)| kind.as_str()).collect(),
                )
            })
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn rules_are_in_the_schema_once() {
    let api = Chain::new()
        .documented()
        .at("/articles", |c| {
            c.post(async |Valid(Json(article)): Valid<Json<Article>>| Json(article))
                .get(async || Json(Vec::<Article>::new()))
        })
        .build();
    let document = document(&api);
    let schemas = &document["components"]["schemas"];
    // A default makes the input differ from the output.
    assert_eq!(schemas["ArticleInput"]["required"], json!(["name"]));
    assert_eq!(schemas["Article"]["required"], json!(["name", "price", "size"]));
    for name in ["Article", "ArticleInput"] {
        let rules = &schemas[name]["properties"]["name"];
        assert_eq!((&rules["minLength"], &rules["maxLength"]), (&json!(1), &json!(20)), "{name}");
        assert_eq!(rules["description"], "The name on the label.");
    }
    let sent =
        &document["paths"]["/articles"]["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(sent["schema"]["$ref"], "#/components/schemas/ArticleInput");
    assert!(!document.to_string().contains("/components/inputs"), "{document}");
}

mod functions {
    use super::*;

    pub(crate) fn is_free(_: &str) -> Result<(), validator::ValidationError> {
        Ok(())
    }

    pub(crate) fn is_whole(_: &SignUp) -> Result<(), validator::ValidationError> {
        Ok(())
    }

    pub(crate) fn is_round(_: &u32, (): &()) -> garde::Result {
        Ok(())
    }
}

#[derive(Deserialize, Fields, JsonSchema, validator::Validate)]
#[serde(rename_all = "camelCase")]
#[validate(schema(function = "functions::is_whole"))]
struct SignUp {
    /// The name of the account.
    #[validate(length(min = 1), custom(function = "functions::is_free", message = "it is taken"))]
    name: String,
    #[validate(does_not_contain(pattern = " "), non_control_character)]
    pass_word: String,
    #[validate(must_match(other = "pass_word"))]
    again: String,
    #[validate(range(exclusive_min = 0.5))]
    weight: f64,
    #[validate(nested)]
    parent: Option<Contact>,
    #[serde(flatten)]
    #[validate(nested)]
    own: Contact,
}

#[derive(Deserialize, Fields, JsonSchema, validator::Validate)]
struct Contact {
    #[serde(default)]
    #[validate(custom(function = functions::is_free))]
    phone: String,
}

#[derive(Deserialize, Fields, JsonSchema, garde::Validate)]
#[serde(rename_all = "kebab-case")]
struct Offer {
    #[garde(custom(functions::is_round))]
    full_price: u32,
    #[garde(matches(full_price))]
    same: u32,
    #[garde(custom(|_: &u32, _| Ok(())))]
    count: u32,
    #[garde(inner(prefix("a"), suffix("z"), ascii), length(max = 3))]
    tags: Vec<String>,
    #[garde(length(bytes, max = 3), alphanumeric)]
    code: String,
    #[garde(dive)]
    paid: Paid,
    #[garde(dive)]
    lines: Vec<Line>,
}

#[derive(Deserialize, Fields, JsonSchema, garde::Validate)]
struct Line(#[garde(custom(functions::is_round))] u32);

#[derive(Deserialize, Fields, JsonSchema, garde::Validate)]
#[serde(rename_all = "lowercase", tag = "by")]
enum Paid {
    Card {
        #[garde(custom(functions::is_round))]
        number: u32,
    },
    Cash {
        #[garde(skip)]
        #[allow(dead_code, reason = "only described")]
        coins: u32,
    },
}

#[test]
fn rules_that_no_schema_can_express_are_in_the_descriptions() {
    let api = Chain::new()
        .documented()
        .at("/a", |c| c.post(async |_: Valid<ByField<Json<SignUp>>>| ""))
        .at("/b", |c| c.post(async |_: Garde<ByField<Json<Offer>>>| ""))
        .at("/c", |c| c.get(async |_: Valid<ByField<Query<Contact>>>| ""))
        .at("/d", |c| c.post(async |_: Valid<ByField<Form<Contact>>>| ""))
        .at("/e", |c| c.post(async |_: ByField<Json<Vec<SignUp>>>| ""))
        .build();
    let document = document(&api);
    for (path, pointer, words) in [
        ("/SignUp", "", "Must pass the check `functions::is_whole`."),
        (
            "/SignUp",
            "/properties/name",
            "The name of the account.\n\nMust pass the check `functions::is_free`: it is taken.",
        ),
        (
            "/SignUp",
            "/properties/passWord",
            "Must not contain ` `.\n\nMust contain no control characters.",
        ),
        ("/SignUp", "/properties/again", "Must equal `passWord`."),
        ("/SignUp", "/properties/weight", "Must be more than 0.5."),
        ("/SignUp", "/properties/phone", "Must pass the check `functions::is_free`."),
        ("/Contact", "/properties/phone", "Must pass the check `functions::is_free`."),
        ("/Offer", "/properties/full-price", "Must pass the check `functions::is_round`."),
        ("/Offer", "/properties/same", "Must equal `full-price`."),
        ("/Offer", "/properties/count", "Must pass a check of the server."),
        (
            "/Offer",
            "/properties/tags",
            "Each item: Must begin with `a`.\n\nEach item: Must end with `z`.\n\nEach item: Must be ASCII.",
        ),
        (
            "/Offer",
            "/properties/code",
            "The unit of its length is `bytes`.\n\nMust contain only letters and digits.",
        ),
        ("/Line", "", "Must pass the check `functions::is_round`."),
        ("/Paid", "/oneOf/0/properties/number", "Must pass the check `functions::is_round`."),
    ] {
        let found = &document["components"]["schemas"].pointer(&format!("{path}{pointer}"));
        let found = found.unwrap_or_else(|| panic!("{path}{pointer} in {document:#}"));
        assert_eq!(found["description"], words, "{path}{pointer}: {found:#}");
    }
    let words = "Must pass the check `functions::is_free`.";
    let query = &document["paths"]["/c"]["get"];
    assert_eq!(parameter(query, "phone")["description"], words);
    let form = &document["paths"]["/d"]["post"]["requestBody"]["content"];
    let form = &form["application/x-www-form-urlencoded"]["schema"];
    assert_eq!(form["properties"]["phone"]["description"], words);
    let schemas = &document["components"]["schemas"];
    assert!(schemas["Paid"]["oneOf"][1]["properties"]["coins"].get("description").is_none());
}

#[test]
fn steps_in_front_add_credentials_answers_and_fields() {
    async fn pass(next: Next<'_>) -> Response {
        next.run().await
    }
    let credentials = |schemes: &'static [Scheme], optional: bool| {
        declared(pass, move |to| {
            for scheme in schemes {
                to.accepts(Credential::new(scheme.clone()).scope("read"));
            }
            if optional {
                to.credentials_are_optional();
            }
        })
    };
    const BASIC_OR_BEARER: &[Scheme] = &[Scheme::Basic, Scheme::Bearer(None)];
    let certificate: &[Scheme] = &[Scheme::Certificate];
    let limit = declared(pass, |to| {
        let refused =
            Answer::problem(StatusCode::TOO_MANY_REQUESTS, "Too many").header("retry-after");
        to.answers(refused)
            .adds(Field::new("ratelimit", "The quota"))
            .reads(Field::new("x-shop", "The shop"));
    });
    let old = declared(pass, |to| {
        to.deprecates().adds(Field::new("deprecation", "Since when"));
    });
    let api = Chain::new()
        .documented()
        .at("/open", |c| c.get(async || "a"))
        .group(|c| {
            c.use_(credentials(BASIC_OR_BEARER, false))
                .use_(credentials(certificate, false))
                .at("/both", |c| c.get(async || "a"))
        })
        .group(|c| {
            c.use_(credentials(BASIC_OR_BEARER, true)).at("/optional", |c| c.get(async || "a"))
        })
        .group(|c| c.use_(limit).at("/limited", |c| c.get(async || "a")))
        .group(|c| c.use_(old).at("/old", |c| c.get(async || Ok::<_, Error>("a"))))
        .build();
    let document = document(&api);
    let get = |path: &str| document["paths"][path]["get"].clone();
    let read = json!(["read"]);
    for (path, security) in [
        ("/open", json!([])),
        (
            "/both",
            json!([{ "basic": read, "certificate": read }, { "bearer": read, "certificate": read }]),
        ),
        ("/optional", json!([{}, { "basic": read }, { "bearer": read }])),
    ] {
        assert_eq!(get(path)["security"], security, "{path}");
    }
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["basic", "bearer", "certificate"]);
    let limited = get("/limited");
    assert_eq!(statuses(&limited), ["200", "429"]);
    assert_eq!(limited["responses"]["429"]["headers"]["retry-after"]["required"], true);
    assert_eq!(limited["responses"]["200"]["headers"]["ratelimit"]["required"], true);
    // The step does not add the field to its own refusal.
    assert!(limited["responses"]["429"]["headers"]["ratelimit"].is_null());
    assert_eq!(parameters(&limited), [("header", "x-shop", true)]);
    assert_eq!(get("/old")["deprecated"], true);
    assert!(!get("/old")["responses"]["4XX"]["headers"]["deprecation"].is_null());
}

#[test]
fn provided_settings_change_how_input_is_read() {
    let api = Chain::new()
        .documented()
        .provide(TextAsJson)
        .provide(BracketSyntax::new())
        .provide(InvalidInput::new().bad_request())
        .provide(MaxBody::bytes(7))
        .at("/json", |c| c.post(async |_: Json<Article>| ""))
        .at("/query", |c| c.get(async |_: Query<Search>| ""))
        .at("/text", |c| c.post(async |_: String| ""))
        .build();
    let document = document(&api);
    let post = &document["paths"]["/json"]["post"];
    assert_eq!(post["requestBody"]["content"].as_object().unwrap().len(), 2);
    assert_eq!(post["requestBody"]["description"], "At most 7 bytes.");
    assert_eq!(statuses(post), ["200", "400", "413", "415"]);
    assert_eq!(parameter(&document["paths"]["/query"]["get"], "range")["style"], "deepObject");
    let text = &document["paths"]["/text"]["post"]["requestBody"]["content"]["text/plain"];
    assert_eq!(text["schema"]["maxLength"], 7);
}

#[test]
fn a_guard_describes_its_arguments_and_its_error() {
    async fn check(_: Query<Place>) -> Result<(), Error> {
        Ok(())
    }
    async fn silent(_: HeaderMap) -> Result<(), StatusCode> {
        Ok(())
    }
    let api = Chain::new()
        .documented()
        .guard(check)
        .at("/a", |c| c.get(async || "a"))
        .guard(undescribed(silent))
        .at("/b", |c| c.get(async || "b"))
        .build();
    let document = document(&api);
    let a = &document["paths"]["/a"]["get"];
    assert_eq!(statuses(a), ["200", "400", "414", "4XX", "5XX"]);
    assert_eq!(parameters(a).len(), 2);
    assert!(statuses(&document["paths"]["/b"]["get"]).contains(&"default"));
}

#[test]
fn names_and_words_are_unique_and_can_be_set() {
    async fn list() -> &'static str {
        ""
    }
    let noted = described(list, |to| {
        to.id("allArticles").summary("All").description("Every *one*.").tag("second").tag("first");
    });
    let api = Chain::new()
        .documented()
        .tagged("first")
        .at("/a", |c| c.get(list))
        .at("/b", |c| c.get(list))
        .at("/c", |c| c.get(list).post(list))
        .at("/d/{id}", |c| c.get(async || ""))
        .at("/e", |c| c.get(noted))
        .at("/hidden", |c| {
            c.get(described(list, |to| {
                to.hide();
            }))
        })
        .build();
    let document = document(&api);
    let id = |path: &str, method: &str| document["paths"][path][method]["operationId"].clone();
    let mut ids = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        let operations = item.as_object().unwrap().values();
        ids.extend(operations.filter_map(|one| one["operationId"].as_str()));
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert_eq!(id("/a", "get"), "list");
    assert_eq!(id("/d/{id}", "get"), "get_d_id");
    assert_eq!(id("/e", "get"), "allArticles");
    let noted = &document["paths"]["/e"]["get"];
    assert_eq!((&noted["summary"], &noted["description"]), (&json!("All"), &json!("Every *one*.")));
    assert_eq!(noted["tags"], json!(["first", "second"]));
    assert_eq!(document["paths"]["/a"]["get"]["tags"], json!(["first"]));
    assert!(document["paths"]["/hidden"].is_null());
    assert_eq!(api.openapi(&info()), api.openapi(&info()));
}

#[test]
fn the_routing_table_adds_methods_and_paths() {
    let query = Method::from_bytes(b"QUERY").unwrap();
    let api = Chain::new()
        .documented()
        .at("/a", |c| c.get(async || "a").post(async || "a").on(query, async || "a"))
        .at("/files/{*rest}", |c| c.get(async |_: Path<String>| "a"))
        .at("/ä b/{{x}}", |c| c.all(async || "a"))
        .no_auto_options()
        .at("/quiet", |c| c.no_auto_options().put(async || "a"))
        .service("/served", undescribed(Chain::new().get(async || "a").build()))
        .mount("/mounted", undescribed(Chain::new().get(async || "a")))
        .build();
    let document = document(&api);
    let keys = |path: &str| -> Vec<&str> {
        let item = document["paths"][path].as_object();
        let keys = item.into_iter().flatten().map(|(key, _)| key.as_str());
        keys.filter(|key| *key != "description" && !key.starts_with("x-")).collect()
    };
    assert_eq!(keys("/a"), ["get", "head", "post"]);
    assert_eq!(
        document["paths"]["/a"]["x-additionalOperations"]["QUERY"]["operationId"],
        "query_a"
    );
    assert_eq!(keys("/files/{rest}"), ["get", "head"]);
    assert_eq!(keys("/%C3%A4%20b/%7Bx%7D").len(), 8);
    assert_eq!(keys("/quiet"), ["put"]);
    assert!(keys("/served").is_empty());
    assert_eq!(statuses(&document["paths"]["/mounted"]["get"]), ["default"]);
    let newer = api.openapi(&info().openapi_3_2().without_automatic_operations()).into_value();
    assert_eq!(newer["openapi"], "3.2.0");
    assert_eq!(newer["paths"]["/a"]["query"]["operationId"], "query_a");
    assert!(newer["paths"]["/a"]["head"].is_null());
    let options = Chain::new().documented().at("/a", |c| c.put(async || "a")).build();
    let options = &self::document(&options)["paths"]["/a"];
    let allow = options["options"]["responses"]["204"]["description"].as_str().unwrap();
    assert!(allow.contains("`OPTIONS, PUT`"), "{allow}");
}

#[test]
fn handlers_that_pass_requests_on_are_one_operation() {
    async fn maybe(_: Query<Place>, next: Next<'_>) -> Result<Response, Error> {
        Ok(next.run().await)
    }
    let api = Chain::new()
        .documented()
        .at("/a", |c| c.get(undescribed(maybe)).get(async || Json(1_u32)))
        .build();
    let document = document(&api);
    assert_eq!(statuses(&document["paths"]["/a"]["get"]), ["200", "default"]);
    assert_eq!(document["paths"]["/a"]["get"]["operationId"], "get_a");
}

#[test]
fn a_hook_renders_errors_in_another_format() {
    async fn page(error: Error) -> (StatusCode, &'static str) {
        (error.status(), "sorry")
    }
    let api = Chain::new()
        .documented()
        .on_error(page)
        .at("/a", |c| c.get(async || Err::<(), _>(Error::new(StatusCode::NOT_FOUND, ""))))
        .build();
    let refused = document(&api)["paths"]["/a"]["get"]["responses"]["4XX"].clone();
    assert!(refused["content"]["*/*"].is_object(), "{refused}");
}

#[test]
fn the_page_escapes_everything_and_has_the_hash_of_its_style() {
    let evil = "<script>alert('x')</script>\" onclick=\"y";
    async fn pass(next: Next<'_>) -> Response {
        next.run().await
    }
    let step = declared(pass, move |to| {
        let basic = Credential::new(Scheme::Header("x-key".to_owned())).description(evil);
        to.accepts(basic.scope(evil)).reads(Field::new("x-a", evil)).adds(Field::new("x-b", evil));
        to.answers(Answer::problem(StatusCode::FORBIDDEN, evil).with_type(evil));
    });
    let handler = described(
        async |_: Json<Article>| Json(1_u32),
        move |to| {
            to.summary(evil).description(evil).tag(evil);
        },
    );
    let api = Chain::new().documented().use_(step).at("/a<b>", |c| c.post(handler)).build();
    let page = api.openapi(&Info::new(evil, evil).description(evil)).to_page();
    assert!(!page.contains("<script") && !page.contains("\" onclick"), "{page}");
    let (_, style) = page.split_once("<style>").unwrap();
    let (style, _) = style.split_once("</style>").unwrap();
    let hash = BASE64_STANDARD.encode(Sha256::digest(style));
    assert!(OpenApi::page_policy().contains(&format!("'sha256-{hash}'")));
}

#[test]
fn what_occurs_more_than_once_is_a_component() {
    async fn pass(next: Next<'_>) -> Response {
        next.run().await
    }
    let limit = declared(pass, |to| {
        let refused =
            Answer::problem(StatusCode::TOO_MANY_REQUESTS, "Too many").header("retry-after");
        to.answers(refused).adds(Field::new("x-a", "A field"));
    });
    let api = Chain::new()
        .documented()
        .use_(limit)
        .at("/a", |c| c.get(async || "a"))
        .at("/b", |c| c.get(async || Json(1)))
        .build();
    let document = api.openapi(&info().without_automatic_operations()).into_value();
    let of = |path: &str| document["paths"][path]["get"]["responses"].clone();
    let refused = json!({ "$ref": "#/components/responses/429" });
    assert_eq!((&of("/a")["429"], &of("/b")["429"]), (&refused, &refused));
    assert_eq!(of("/a")["200"]["headers"]["x-a"]["$ref"], "#/components/headers/x-a");
    assert_eq!(document["components"]["headers"]["x-a"]["description"], "A field");
}

fn checked_api() -> ChainService {
    Chain::new()
        .documented()
        .at("/fine", |c| {
            c.get(async || Json(Article { name: "a".to_owned(), price: 1, size: None }))
        })
        .at("/teapot", |c| {
            c.get(described(undescribed(async || StatusCode::IM_A_TEAPOT), |to| {
                to.answers(Answer::new(StatusCode::OK, "Never"));
            }))
        })
        .at("/field", |c| {
            c.get(described(undescribed(async || ""), |to| {
                to.answers(
                    Answer::new(StatusCode::OK, "").content_type("text/plain").header("x-there"),
                );
            }))
        })
        .at("/kind", |c| {
            c.get(described(undescribed(async || "text"), |to| {
                to.answers(Answer::new(StatusCode::OK, "").content_type("application/json"));
            }))
        })
        .at("/schema", |c| {
            c.get(async || Json(Article { name: String::new(), price: 1, size: None }))
        })
        .at("/content", |c| {
            c.get(described(undescribed(async || "text"), |to| {
                to.answers(Answer::new(StatusCode::OK, ""));
            }))
        })
        .service("/service", undescribed(Chain::new().get(async || "a").build()))
        .build()
}

#[tokio::test]
async fn a_response_that_is_not_declared_fails_the_test() {
    let api = checked_api();
    let client = TestClient::new(api.clone()).declared_by(api.openapi(&info()));
    for (method, path) in [
        (Method::GET, "/fine"),
        (Method::HEAD, "/fine"),
        (Method::POST, "/fine"),
        (Method::OPTIONS, "/fine"),
        (Method::GET, "/nowhere"),
        (Method::GET, "/service/x"),
    ] {
        client.request(method, path).send().await;
    }
    for (path, reason) in [
        ("/teapot", "418"),
        ("/field", "x-there"),
        ("/kind", "application/json"),
        ("/schema", "/name"),
        ("/content", "declares none"),
    ] {
        let request = client.get(path).send();
        let failed = tokio::spawn(request).await.unwrap_err().into_panic();
        let message = failed.downcast::<String>().unwrap();
        assert!(message.contains(reason), "{path}: {message}");
    }
}

#[tokio::test]
async fn a_step_for_all_requests_may_answer_those_without_an_operation() {
    use tower_chain::RateLimit;
    use tower_http::cors::CorsLayer;
    let api = Chain::new()
        .always(CorsLayer::permissive())
        .always(RateLimit::per_minute(1))
        .documented()
        .at("/a", |c| c.get(async || "a"))
        .build();
    for document in [info(), info().without_automatic_operations()] {
        let client = TestClient::new(api.clone()).declared_by(api.openapi(&document));
        for (method, path) in [
            (Method::GET, "/a"),
            (Method::GET, "/none"),
            (Method::DELETE, "/a"),
            (Method::HEAD, "/a"),
            (Method::OPTIONS, "/a"),
        ] {
            client.request(method.clone(), path).send().await;
            let preflight = client.request(method, path).header("origin", "https://a.example");
            preflight.header("access-control-request-method", "GET").send().await;
        }
    }
    // A status that no operation has is still reported.
    async fn refuse(_: Next<'_>) -> StatusCode {
        StatusCode::IM_A_TEAPOT
    }
    let teapot = Chain::new().documented().always(refuse).at("/a", |c| c.get(async || "a")).build();
    for (method, path) in [(Method::GET, "/none"), (Method::DELETE, "/a")] {
        let client = TestClient::new(teapot.clone()).declared_by(teapot.openapi(&info()));
        let request = client.request(method, path).send();
        assert!(tokio::spawn(request).await.unwrap_err().is_panic());
    }
}

#[tokio::test]
async fn the_document_is_served_with_a_tag() {
    let docs = Docs::new(info());
    let api = Chain::new()
        .documented()
        .at("/openapi.json", |c| c.get(docs.json()))
        .at("/docs", |c| c.get(docs.page()))
        .build();
    let early = TestClient::new(api.clone());
    early.get("/openapi.json").send().await.assert_status(500);
    docs.publish(&api);
    let client = TestClient::new(api.clone()).declared_by(api.openapi(&info()));
    let json = client.get("/openapi.json").send().await;
    json.assert_status(200).assert_json_at("/info/title", "Shop");
    let tag = json.header("etag").unwrap().to_owned();
    for (path, tags, status) in [
        ("/openapi.json", tag.clone(), 304),
        ("/openapi.json", format!("W/{tag}, \"other\""), 304),
        ("/openapi.json", "\"other\"".to_owned(), 200),
        ("/docs", tag.clone(), 200),
    ] {
        client.get(path).header("if-none-match", &tags).send().await.assert_status(status);
    }
    let page = client.get("/docs").send().await;
    page.assert_content_type("text/html");
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(page.text().contains("id=\"operation-get_docs\""), "{}", page.text());
}
