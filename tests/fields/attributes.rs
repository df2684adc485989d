//! Each attribute of serde, as the derive macro reads it. `accepts` compares with serde.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tower_chain::extract::{ByField, FieldStep, RawInput, Violation, check};
use tower_chain::{Fields, Json};

/// The pointers of the errors of an input.
fn pointers<T: DeserializeOwned + Fields + Send + 'static>(input: &Value) -> Vec<String> {
    let source = RawInput::body(input.to_string());
    let parsed = check::<ByField<Json<T>>>(&source, |_| Vec::new());
    let by_serde = T::deserialize(input).is_ok();
    let Err(error) = parsed else {
        assert!(by_serde, "{input}");
        return Vec::new();
    };
    let (_, errors) = error.members().find(|(name, _)| *name == "errors").unwrap();
    let errors: Value = serde_json::from_str(errors).unwrap();
    errors.as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap().to_owned()).collect()
}

/// The pointer of a rule at a path of Rust names.
fn pointer<T: DeserializeOwned + Fields + Send + 'static>(input: &Value, path: &str) -> String {
    let path: Vec<FieldStep> = path
        .split('.')
        .filter(|step| !step.is_empty())
        .map(|step| match step.parse() {
            Ok(index) => FieldStep::Index(index),
            Err(_) => FieldStep::Field(step.to_owned()),
        })
        .collect();
    let source = RawInput::body(input.to_string());
    let rules = |_: &T| vec![Violation::new(path.clone(), "code", "Is broken")];
    let error = check::<ByField<Json<T>>>(&source, rules).map(drop).unwrap_err();
    let (_, errors) = error.members().find(|(name, _)| *name == "errors").unwrap();
    let errors: Value = serde_json::from_str(errors).unwrap();
    assert_eq!(errors[0]["code"], "code", "{input} {errors}");
    errors[0]["pointer"].as_str().unwrap().to_owned()
}

#[derive(Deserialize, Fields)]
#[serde(rename_all(serialize = "UPPERCASE", deserialize = "camelCase"))]
struct Renamed {
    first_name: String,
    #[serde(rename = "last")]
    last_name: String,
    #[serde(rename(serialize = "out", deserialize = "in"), alias = "inside", alias = "inner")]
    nested_name: u8,
    #[serde(default)]
    with_default: u8,
    #[serde(skip)]
    skipped: u8,
    r#type: Option<u8>,
}

#[test]
fn renamed_fields_have_their_wire_names() {
    assert_eq!(pointers::<Renamed>(&json!({})), ["/firstName", "/last", "/in"]);
    let all = json!({"firstName": 1, "last": 2, "inner": "x", "withDefault": "x", "type": "x"});
    assert_eq!(
        pointers::<Renamed>(&all),
        ["/firstName", "/last", "/inner", "/withDefault", "/type"]
    );
    let good = json!({"firstName": "a", "last": "b", "inside": 1});
    for (path, expected) in [
        ("first_name", "/firstName"),
        ("last_name", "/last"),
        ("nested_name", "/inside"),
        ("with_default", "/withDefault"),
        ("type", "/type"),
        // It is not on the wire.
        ("skipped", ""),
        // A rule that is written by hand.
        ("firstName", "/firstName"),
        ("unknown", ""),
    ] {
        assert_eq!(pointer::<Renamed>(&good, path), expected, "{path}");
    }
    let twice = r#"{"firstName":"a","last":"b","in":1,"in":2,"inner":3}"#;
    let error = check::<ByField<Json<Renamed>>>(&RawInput::body(twice), |_| Vec::new()).map(drop);
    assert!(
        error
            .unwrap_err()
            .members()
            .any(|(_, json)| json.contains("\"/in\",\"code\":\"duplicate\""))
    );
}

/// The names after the first one are aliases.
#[derive(Deserialize, Fields)]
struct SeveralNames {
    #[serde(rename(deserialize = "a", serialize = "x", deserialize = "b"))]
    one: u8,
    #[serde(rename(deserialize = "c"), rename(deserialize = "d"), alias = "e")]
    two: u8,
    kind: SeveralKinds,
}

#[derive(Deserialize, Fields)]
#[serde(rename_all = "lowercase")]
enum SeveralKinds {
    #[serde(rename(deserialize = "new", deserialize = "old"))]
    Renamed { n: u8 },
}

#[test]
fn a_field_may_have_several_names() {
    let kind = json!({"old": {"n": "x"}});
    for (input, expected) in [
        (json!({}), vec!["/a", "/c", "/kind"]),
        (json!({"b": "x", "d": "x", "kind": kind}), vec!["/b", "/d", "/kind/old/n"]),
        (json!({"a": "x", "e": "x", "kind": {"new": {}}}), vec!["/a", "/e", "/kind/new/n"]),
        (json!({"one": 1, "two": 1, "kind": {"Renamed": 1}}), vec!["/a", "/c", "/kind"]),
    ] {
        assert_eq!(pointers::<SeveralNames>(&input), expected, "{input}");
    }
}

#[derive(Deserialize, Fields)]
struct Pairs {
    first: WithDefaults,
    second: Kinds,
    third: (u8, u8),
    n: u8,
}

/// The items with a default may be missing at the end of a list.
#[derive(Deserialize, Fields)]
struct WithDefaults(u8, #[serde(default)] u8, #[serde(default)] u8);

#[derive(Deserialize, Fields)]
#[serde(rename_all = "lowercase")]
enum Kinds {
    Pair(u8, #[serde(default)] u8),
    Nothing(#[serde(skip)] u8),
}

#[test]
fn items_with_a_default_may_be_missing() {
    for (first, second, third, expected) in [
        (json!([1]), json!({"pair": [1]}), json!([1, 2]), vec![]),
        (json!([1, 2, 3]), json!({"pair": [1, 2]}), json!([1, 2]), vec![]),
        (json!([]), json!({"pair": []}), json!([1]), vec!["/first", "/second/pair", "/third"]),
        (json!([1, 2, 3, 4]), json!("nothing"), json!([1, 2, 3]), vec!["/first", "/third"]),
        (
            json!([1, "x"]),
            json!({"pair": ["x"]}),
            json!([1, 2]),
            vec!["/first/1", "/second/pair/0"],
        ),
    ] {
        let mut input = json!({"first": first, "second": second, "third": third, "n": 1});
        assert_eq!(pointers::<Pairs>(&input), expected, "{input}");
        // Another error does not add one here.
        input["n"] = json!("x");
        let expected: Vec<_> = expected.into_iter().chain(["/n"]).collect();
        assert_eq!(pointers::<Pairs>(&input), expected, "{input}");
    }
}

#[derive(Deserialize, Fields)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Defaults {
    the_name: String,
    count: u8,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { the_name: "none".to_owned(), count: 1 }
    }
}

#[test]
fn defaults_of_a_container_make_fields_optional() {
    assert!(pointers::<Defaults>(&json!({})).is_empty());
    assert_eq!(pointers::<Defaults>(&json!({"the-name": 1, "count": -1})), ["/the-name", "/count"]);
    let unknown = json!({"a": 1, "count": -1, "b": 1});
    assert_eq!(pointers::<Defaults>(&unknown), ["/count", "/*"]);
    assert!(!Defaults::shape().fields()[0].is_required());
}

#[derive(Deserialize, Fields)]
struct Page {
    #[serde(rename = "no")]
    number: u8,
}

#[derive(Deserialize, Fields)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    page: Page,
    #[serde(flatten)]
    more: Option<More>,
    #[serde(flatten)]
    rest: HashMap<String, Value>,
}

#[derive(Deserialize, Fields)]
struct More {
    size: u8,
}

#[derive(Deserialize, Fields)]
struct FlatMap {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, Page>,
}

#[test]
fn flattened_fields_add_no_step() {
    assert_eq!(pointers::<Flat>(&json!({"x": 1})), ["/id", "/no"]);
    assert!(pointers::<Flat>(&json!({"id": 1, "no": 1, "size": "x"})).is_empty());
    assert_eq!(pointer::<Flat>(&json!({"id": 1, "no": 1}), "page.number"), "/no");
    assert_eq!(pointer::<Flat>(&json!({"id": 1, "no": 1}), "page"), "");
    assert_eq!(pointers::<FlatMap>(&json!({"x": {"no": "y"}})), ["/id", "/*/no"]);
    assert_eq!(pointer::<FlatMap>(&json!({"id": 1, "x": {"no": 1}}), "rest.0.number"), "/*/no");
}

#[derive(Deserialize, Fields)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Shape {
    RoundThing {
        outer_radius: u8,
    },
    #[serde(rename = "box", alias = "crate", rename_all = "UPPERCASE")]
    Square {
        side: u8,
    },
    Paged(Page),
    Nothing,
}

#[derive(Deserialize, Fields)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Page(Page),
    Named { a_b: u8 },
    Pair(u8, u8),
    Empty,
}

#[derive(Deserialize, Fields)]
#[serde(rename_all = "lowercase")]
enum External {
    Page(Page),
    Named {
        a: u8,
    },
    Pair(u8, u8),
    Empty,
    #[serde(skip)]
    Never,
}

#[derive(Deserialize, Fields)]
#[serde(untagged)]
enum Untagged {
    Page(Page),
    Text(String),
}

#[derive(Deserialize, Fields)]
struct Enums {
    shape: Option<Shape>,
    adjacent: Option<Adjacent>,
    external: Option<External>,
    untagged: Option<Untagged>,
}

#[test]
fn variants_are_those_that_the_input_has() {
    for (input, expected) in [
        (json!({"shape": {"kind": "round_thing"}}), vec!["/shape/outerRadius"]),
        (json!({"shape": {"kind": "box", "SIDE": "x"}}), vec!["/shape/SIDE"]),
        (json!({"shape": {"kind": "crate"}}), vec!["/shape/SIDE"]),
        (json!({"shape": {"kind": "paged"}}), vec!["/shape/no"]),
        (json!({"shape": {"kind": "nothing"}}), vec![]),
        (json!({"shape": {"kind": "SECRET"}}), vec!["/shape/kind"]),
        (json!({"shape": {"kind": 1}}), vec!["/shape/kind"]),
        (json!({"shape": {}}), vec!["/shape/kind"]),
        (json!({"shape": 1}), vec!["/shape"]),
        (json!({"adjacent": {"t": "Page", "c": {}}}), vec!["/adjacent/c/no"]),
        (json!({"adjacent": {"t": "Named", "c": {"a_b": "x"}}}), vec!["/adjacent/c/a_b"]),
        (
            json!({"adjacent": {"t": "Pair", "c": ["x", "y"]}}),
            vec!["/adjacent/c/0", "/adjacent/c/1"],
        ),
        (json!({"adjacent": {"t": "Pair", "c": [1]}}), vec!["/adjacent/c"]),
        (json!({"adjacent": {"t": "Page"}}), vec!["/adjacent/c"]),
        (json!({"adjacent": {"t": "Empty"}}), vec![]),
        (json!({"adjacent": {"c": {}}}), vec!["/adjacent/t"]),
        (json!({"external": {"page": {}}}), vec!["/external/page/no"]),
        (json!({"external": {"named": {"a": -1}}}), vec!["/external/named/a"]),
        (json!({"external": "empty"}), vec![]),
        (json!({"external": "SECRET"}), vec!["/external"]),
        (json!({"external": {"SECRET": 1}}), vec!["/external"]),
        (json!({"untagged": {"no": 1}}), vec![]),
        (json!({"untagged": "x"}), vec![]),
        (json!({"untagged": 1}), vec!["/untagged"]),
    ] {
        assert_eq!(pointers::<Enums>(&input), expected, "{input}");
    }
    for (input, path, expected) in [
        (
            json!({"shape": {"kind": "round_thing", "outerRadius": 1}}),
            "shape.outer_radius",
            "/shape/outerRadius",
        ),
        (json!({"shape": {"kind": "paged", "no": 1}}), "shape.number", "/shape/no"),
        (json!({"adjacent": {"t": "Page", "c": {"no": 1}}}), "adjacent.number", "/adjacent/c/no"),
        (json!({"external": {"page": {"no": 1}}}), "external.number", "/external/page/no"),
        (json!({"external": {"pair": [1, 2]}}), "external.1", "/external/pair/1"),
        (json!({"untagged": {"no": 1}}), "untagged.number", "/untagged/no"),
    ] {
        assert_eq!(pointer::<Enums>(&input, path), expected, "{input}");
    }
}

#[derive(Deserialize, Fields)]
#[serde(transparent)]
struct Transparent {
    page: Page,
}

#[derive(Deserialize, Fields)]
struct Newtype(Page);

#[derive(Deserialize, Fields)]
struct Pair(Page, u8);

#[derive(Deserialize, Fields)]
struct Wrapped<T> {
    #[serde(rename = "theItems")]
    items: Vec<T>,
    boxed: Option<Box<Page>>,
    transparent: Transparent,
    newtype: Newtype,
    pair: Pair,
    array: [Page; 2],
    by_number: HashMap<u32, T>,
    text: Cow<'static, str>,
}

#[derive(Deserialize, Fields)]
struct Tree {
    #[serde(rename = "label")]
    name: String,
    #[serde(default)]
    children: Vec<Tree>,
}

#[test]
fn wrappers_lists_and_generics_are_entered() {
    let bad = json!({"no": "x"});
    let input = json!({
        "theItems": [{"no": 1}, bad], "boxed": bad, "transparent": bad, "newtype": bad, "pair": [bad, "x"],
        "array": [bad, {"no": 1}], "by_number": {"7": bad, "x": {"no": 1}}, "text": 1,
    });
    assert_eq!(
        pointers::<Wrapped<Page>>(&input),
        [
            "/theItems/1/no",
            "/boxed/no",
            "/transparent/no",
            "/newtype/no",
            "/pair/0/no",
            "/pair/1",
            "/array/0/no",
            "/by_number/*/no",
            "/by_number/*",
            "/text",
        ]
    );
    let page = json!({"no": 1});
    let input = json!({
        "theItems": [page, page], "boxed": page, "transparent": page, "newtype": page, "pair": [page, 1],
        "array": [page, page], "by_number": {"7": page}, "text": "x",
    });
    for (path, expected) in [
        ("items.1.number", "/theItems/1/no"),
        ("boxed.number", "/boxed/no"),
        ("transparent.page.number", "/transparent/no"),
        ("newtype.number", "/newtype/no"),
        ("pair.0.number", "/pair/0/no"),
        ("array.1.number", "/array/1/no"),
        ("by_number.0.number", "/by_number/*/no"),
    ] {
        assert_eq!(pointer::<Wrapped<Page>>(&input, path), expected, "{path}");
    }
    let tree = json!({"label": "a", "children": [{"label": "b", "children": [{}]}]});
    assert_eq!(pointers::<Tree>(&tree), ["/children/0/children/0/label"]);
}

fn halved<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    u8::deserialize(from).map(|number| number / 2)
}

mod textual {
    use serde::{Deserialize, Deserializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[derive(Default)]
struct Remote {
    pub(crate) degrees: u8,
}

#[derive(Deserialize, Fields)]
#[serde(remote = "Remote")]
struct RemoteDef {
    #[serde(rename = "deg")]
    degrees: u8,
}

#[derive(Deserialize, Fields)]
#[serde(try_from = "Page")]
struct Even {
    number: u8,
}

impl TryFrom<Page> for Even {
    type Error = &'static str;

    fn try_from(page: Page) -> Result<Self, &'static str> {
        if page.number.is_multiple_of(2) {
            Ok(Self { number: page.number })
        } else {
            Err("SECRET is odd")
        }
    }
}

#[derive(Deserialize, Fields)]
struct Custom {
    #[serde(deserialize_with = "halved")]
    half: u8,
    #[serde(with = "textual", default)]
    text: u8,
    #[serde(with = "RemoteDef")]
    remote: Remote,
    even: Even,
}

#[test]
fn custom_functions_and_conversions_are_used() {
    assert_eq!(pointers::<Custom>(&json!({})), ["/half", "/remote", "/even"]);
    let bad = json!({"half": "x", "text": 1, "remote": {}, "even": {"no": "x"}});
    assert_eq!(pointers::<Custom>(&bad), ["/half", "/text", "/remote/deg", "/even/no"]);
    let odd = json!({"half": 1, "text": "1", "remote": {"deg": 1}, "even": {"no": 1}});
    assert_eq!(pointers::<Custom>(&odd), ["/even"]);
    let good = json!({"half": 1, "text": "1", "remote": {"deg": 1}, "even": {"no": 2}});
    assert_eq!(pointer::<Custom>(&good, "even.number"), "/even/no");
    assert_eq!(pointer::<Custom>(&good, "remote.degrees"), "/remote/deg");
}

#[derive(Deserialize)]
struct Foreign {
    a: u8,
}

#[derive(Deserialize, Fields)]
struct Values<T> {
    foreign: Foreign,
    list: Vec<Foreign>,
    #[fields(value)]
    any: T,
}

#[test]
fn a_type_without_fields_is_one_value() {
    let input = json!({"foreign": {}, "list": [{"a": 1}, {"a": "x"}, {}], "any": {"a": "x"}});
    assert_eq!(pointers::<Values<Foreign>>(&input), ["/foreign/a", "/list/1/a", "/any/a"]);
}
