//! The names of both engines, in all formats.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::json;
use tower_chain::extract::{ByField, InvalidInput};
use tower_chain::middleware::garde::Garde;
use tower_chain::{Chain, Fields, Form, Json, Path, Query, Valid};

use validator::Validate as _;

use crate::{errors, form, get, json as post, send};

/// `a` and `b` have each other's names on the wire.
#[derive(Deserialize, Fields, garde::Validate, validator::Validate)]
struct Swapped {
    #[serde(rename = "b")]
    #[validate(length(min = 2))]
    #[garde(length(min = 2))]
    a: String,
    #[serde(rename = "a")]
    #[validate(length(max = 2))]
    #[garde(length(max = 2))]
    b: String,
    #[serde(rename = "n-o", alias = "number")]
    #[validate(range(max = 5))]
    #[garde(range(max = 5))]
    count: u8,
}

#[tokio::test]
async fn names_are_those_of_the_client_in_all_formats() {
    let chain = Chain::new()
        .at("/v", |c| {
            c.post(async |_: Valid<ByField<Json<Swapped>>>| "fine")
                .get(async |_: Valid<ByField<Query<Swapped>>>| "fine")
        })
        .at("/g", |c| {
            c.post(async |_: Garde<ByField<Json<Swapped>>>| "fine")
                .get(async |_: Garde<ByField<Query<Swapped>>>| "fine")
        })
        .at("/v/form", |c| c.post(async |_: Valid<ByField<Form<Swapped>>>| "fine"))
        .at("/g/form", |c| c.post(async |_: Garde<ByField<Form<Swapped>>>| "fine"))
        .at("/v/{a}/{b}/{number}", |c| c.get(async |_: Valid<ByField<Path<Swapped>>>| "fine"))
        .at("/g/{a}/{b}/{number}", |c| c.get(async |_: Garde<ByField<Path<Swapped>>>| "fine"))
        .build();
    for engine in ["/v", "/g"] {
        let broken = json!({"a": "long", "b": "x", "n-o": 9});
        let expected = ["/b length", "/a length", "/n-o range"];
        for req in [
            post(engine, broken),
            get(&format!("{engine}?a=long&b=x&n-o=9")),
            form(&format!("{engine}/form"), "b=x&n-o=9&a=long"),
            get(&format!("{engine}/long/x/9")),
        ] {
            let shown = format!("{engine} {req:?}");
            let (status, body) = send(&chain, req).await;
            // The parameter of the path has the other name.
            let found: Vec<_> =
                errors(&body).iter().map(|e| e.replace("/number", "/n-o")).collect();
            assert_eq!((status, found), (422, expected.map(str::to_owned).to_vec()), "{shown}");
        }
        // Every member is of another type or missing, or breaks a rule.
        for (req, expected) in [
            (
                post(engine, json!({"a": "long", "number": "x"})),
                &["/b missing", "/a length", "/number type"][..],
            ),
            (get(&format!("{engine}?b=x")), &["/b length", "/a missing", "/n-o missing"]),
            (
                form(&format!("{engine}/form"), "b=x&n-o="),
                &["/b length", "/a missing", "/n-o type"],
            ),
            (get(&format!("{engine}/long/x/y")), &["/b length", "/a length", "/number type"]),
        ] {
            let (status, body) = send(&chain, req).await;
            assert_eq!(errors(&body), expected, "{engine} {body}");
            assert!([400, 422].contains(&status));
        }
    }
}

#[derive(Deserialize, Fields, garde::Validate, validator::Validate)]
struct Line {
    #[serde(rename = "qty")]
    #[validate(range(min = 1))]
    #[garde(range(min = 1))]
    count: u8,
}

#[derive(Deserialize, Fields, garde::Validate, validator::Validate)]
#[serde(rename_all = "camelCase")]
struct Order {
    #[validate(nested)]
    #[garde(dive)]
    order_lines: Vec<Line>,
    #[validate(nested)]
    #[garde(dive)]
    by_hash: HashMap<String, Line>,
    #[validate(nested)]
    #[garde(dive)]
    by_tree: BTreeMap<String, Line>,
    #[validate(nested)]
    #[garde(dive)]
    maybe_line: Option<Line>,
    #[serde(flatten)]
    #[validate(nested)]
    #[garde(dive)]
    flat: Flat,
}

#[derive(Deserialize, Fields, garde::Validate, validator::Validate)]
struct Flat {
    #[serde(rename = "tel")]
    #[validate(length(min = 2))]
    #[garde(length(min = 2))]
    phone: String,
}

#[tokio::test]
async fn nested_names_are_those_of_the_client() {
    let chain = |invalid| {
        Chain::new()
            .provide(invalid)
            .at("/v", |c| c.post(async |_: Valid<ByField<Json<Order>>>| "fine"))
            .at("/g", |c| c.post(async |_: Garde<ByField<Json<Order>>>| "fine"))
            .build()
    };
    let told = chain(InvalidInput::new().tell_keys());
    let hidden = chain(InvalidInput::new());
    // As many keys that the order of the hash map is not that of the input.
    let many: HashMap<String, _> =
        (0..40).map(|n| (format!("k{n}"), json!({"qty": n % 2}))).collect();
    let order = json!({
        "orderLines": [{"qty": 1}, {"qty": 0}], "byHash": many, "byTree": {"9": {"qty": 0}, "10": {"qty": 1}},
        "maybeLine": {"qty": 0}, "tel": "x",
    });
    for engine in ["/v", "/g"] {
        let (_, body) = send(&told, post(engine, &order)).await;
        let mut expected: Vec<String> =
            (0..40).step_by(2).map(|n| format!("/byHash/k{n}/qty range")).collect();
        expected.extend(
            [
                "/orderLines/1/qty range",
                "/byTree/9/qty range",
                "/maybeLine/qty range",
                "/tel length",
            ]
            .map(str::to_owned),
        );
        expected.sort();
        let mut found = errors(&body);
        found.sort();
        assert_eq!(found, expected, "{engine}");
        let (_, body) = send(&hidden, post(engine, &order)).await;
        let expected = [
            "/orderLines/1/qty range",
            "/byHash/*/qty range",
            "/byTree/*/qty range",
            "/maybeLine/qty range",
            "/tel length",
        ];
        assert_eq!(errors(&body), expected, "{engine}");
    }
}

#[derive(Deserialize, Fields, garde::Validate)]
struct Wrapped {
    #[serde(rename = "called")]
    #[garde(dive)]
    name: Name,
    #[serde(rename = "lines")]
    #[garde(dive)]
    line: One,
}

#[derive(Deserialize, Fields, garde::Validate)]
struct Name(#[garde(length(min = 2))] String);

#[derive(Deserialize, Fields, garde::Validate)]
struct One(#[garde(dive)] Line);

#[tokio::test]
async fn a_newtype_adds_no_step() {
    let chain = Chain::new().post(async |_: Garde<ByField<Json<Wrapped>>>| "fine").build();
    let body = json!({"called": "x", "lines": {"qty": 0}});
    assert_eq!(
        errors(&send(&chain, post("/", body)).await.1),
        ["/called length", "/lines/qty range"]
    );
}

/// In the paths of garde, the field of a newtype or of a variant is a step, unless the type is transparent.
#[derive(Deserialize, Fields, garde::Validate)]
struct Wrappers {
    #[garde(dive)]
    lines: Lines,
    #[garde(dive)]
    clear: ClearLines,
    #[garde(dive)]
    named: NamedLines,
    #[garde(dive)]
    twice: Twice,
    #[garde(dive)]
    by_key: ByKey,
    #[garde(dive)]
    pair: Pair,
    #[garde(dive)]
    maybe: Option<Box<Lines>>,
    #[garde(dive)]
    variants: Vec<OneOf>,
    #[garde(dive)]
    untagged: Vec<Untagged>,
}

#[derive(Deserialize, Fields, garde::Validate)]
struct Lines(#[garde(length(max = 2), dive)] Vec<Line>);

#[derive(Deserialize, Fields, garde::Validate)]
#[garde(transparent)]
struct ClearLines(#[garde(length(max = 2), dive)] Vec<Line>);

#[derive(Deserialize, Fields, garde::Validate)]
#[serde(transparent)]
struct NamedLines {
    #[garde(length(max = 2), dive)]
    lines: Vec<Line>,
}

#[derive(Deserialize, Fields, garde::Validate)]
struct Twice(#[garde(dive)] Lines);

#[derive(Deserialize, Fields, garde::Validate)]
struct ByKey(#[garde(dive)] BTreeMap<String, Line>);

#[derive(Deserialize, Fields, garde::Validate)]
struct Pair(#[garde(dive)] (Line, Name));

#[derive(Deserialize, Fields, garde::Validate)]
#[serde(rename_all = "lowercase")]
enum OneOf {
    Lines(#[garde(length(max = 2), dive)] Vec<Line>),
    Wrapped(#[garde(dive)] Lines),
    Text(#[garde(length(min = 2))] String),
}

/// Each variant has a field of the same name in Rust.
#[derive(Deserialize, Fields, garde::Validate)]
#[serde(untagged)]
enum Untagged {
    First {
        #[serde(rename = "one")]
        #[garde(length(min = 2))]
        text: String,
    },
    Second {
        #[serde(rename = "two")]
        #[garde(length(min = 2))]
        text: String,
    },
    Third(#[garde(length(max = 2), dive)] Vec<Line>),
}

#[tokio::test]
async fn newtypes_and_variants_add_no_step_around_lists_and_maps() {
    let chain = Chain::new().post(async |_: Garde<ByField<Json<Wrappers>>>| "fine").build();
    let (bad, good) = (json!({"qty": 0}), json!({"qty": 1}));
    let list = json!([good, bad, good]);
    let body = json!({
        "lines": list, "clear": list, "named": list, "twice": list, "maybe": list,
        "by_key": {"a": good, "b": bad}, "pair": [bad, "x"],
        "variants": [{"lines": list}, {"wrapped": list}, {"text": "x"}],
        "untagged": [{"two": "x"}, {"one": "x"}, list, {"two": "xx", "one": 1}],
    });
    let of_list = |at: &str| [format!("{at} length"), format!("{at}/1/qty range")];
    let lists = [
        "/lines",
        "/clear",
        "/named",
        "/twice",
        "/maybe",
        "/variants/0/lines",
        "/variants/1/wrapped",
        "/untagged/2",
    ];
    let others = [
        "/by_key/*/qty range",
        "/pair/0/qty range",
        "/pair/1 length",
        "/variants/2/text length",
        "/untagged/0/two length",
        "/untagged/1/one length",
    ];
    let mut expected: Vec<String> = lists.into_iter().flat_map(of_list).collect();
    expected.extend(others.map(str::to_owned));
    expected.sort();
    let mut found = errors(&send(&chain, post("/", body)).await.1);
    found.sort();
    assert_eq!(found, expected);
}

#[derive(Deserialize, garde::Validate, validator::Validate)]
#[serde(rename_all = "camelCase")]
struct Plain {
    #[validate(length(min = 2))]
    #[garde(length(min = 2))]
    full_name: String,
    #[serde(rename = "mail")]
    #[validate(email)]
    #[garde(email)]
    contact: String,
    #[serde(default)]
    #[validate(required)]
    #[garde(required)]
    note_text: Option<String>,
}

/// Without `Fields`, one client's input does not set the names of another, and nothing is guessed.
#[tokio::test]
async fn without_fields_a_name_is_in_the_input_or_the_parent_is_blamed() {
    let chain = Chain::new()
        .at("/v", |c| {
            c.post(async |_: Valid<Json<Plain>>| "fine").get(async |_: Valid<Query<Plain>>| "fine")
        })
        .at("/g", |c| {
            c.post(async |_: Garde<Json<Plain>>| "fine").get(async |_: Garde<Query<Plain>>| "fine")
        })
        .build();
    for engine in ["/v", "/g"] {
        let (_, body) = send(&chain, post(engine, json!({"fullName": "x", "mail": "x"}))).await;
        let mut found = errors(&body);
        found.sort();
        assert_eq!(found, [" email", "/fullName length", "/noteText required"], "{engine}");
        let odd = json!({"fullName": "xx", "full-name": "y", "mail": "x", "contact": "z", "noteText": "x"});
        let (_, body) = send(&chain, post(engine, odd)).await;
        let expected = if engine == "/v" { "/contact email" } else { "/* email" };
        assert_eq!(errors(&body), [expected], "{engine}");
        let (_, body) =
            send(&chain, get(&format!("{engine}?fullName=x&mail=a@b.de&noteText=x"))).await;
        assert_eq!(errors(&body), ["/fullName length"], "{engine}");
    }
}
