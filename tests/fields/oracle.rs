//! Random inputs, whose errors are known because each member is made to be good, broken, of another type or missing.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tower_chain::extract::{ByField, RawInput, Violation, check};
use tower_chain::middleware::garde::Garde;
use tower_chain::{Chain, ChainService, Fields, Form, Json, Valid};
use validator::Validate as _;

use crate::{errors, form, json as post, send};

#[derive(Clone, Deserialize, Fields, garde::Validate, validator::Validate)]
#[serde(rename_all = "camelCase")]
struct Outer {
    #[validate(length(min = 2, max = 5))]
    #[garde(length(min = 2, max = 5))]
    first_name: String,
    #[serde(rename = "AGE")]
    #[validate(range(min = 10, max = 20))]
    #[garde(range(min = 10, max = 20))]
    age: u8,
    #[validate(length(min = 2, max = 5))]
    #[garde(inner(length(min = 2, max = 5)))]
    nick_name: Option<String>,
    #[garde(skip)]
    done: bool,
    #[serde(rename = "rows")]
    #[validate(nested)]
    #[garde(dive)]
    lines: Vec<Inner>,
    #[validate(nested)]
    #[garde(dive)]
    home: Box<Inner>,
    #[serde(flatten)]
    #[validate(nested)]
    #[garde(dive)]
    more: More,
    #[validate(nested)]
    #[garde(dive)]
    choice: Choice,
}

#[derive(Clone, Deserialize, Fields, garde::Validate, validator::Validate, serde::Serialize)]
struct Inner {
    #[serde(rename = "q-t-y")]
    #[validate(range(min = 10, max = 20))]
    #[garde(range(min = 10, max = 20))]
    quantity: u8,
    #[validate(length(min = 2, max = 5))]
    #[garde(inner(length(min = 2, max = 5)))]
    quantity_name: Option<String>,
}

#[derive(Clone, Deserialize, Fields, garde::Validate, validator::Validate)]
struct More {
    #[serde(rename = "c/d~")]
    #[validate(range(min = 10, max = 20))]
    #[garde(range(min = 10, max = 20))]
    count: u8,
}

#[derive(Clone, Deserialize, Fields, garde::Validate)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Choice {
    FirstOne(#[garde(dive)] Inner),
    SecondOne(#[garde(dive)] More),
    Nothing,
}

impl validator::Validate for Choice {
    fn validate(&self) -> Result<(), validator::ValidationErrors> {
        match self {
            Self::FirstOne(inner) => inner.validate(),
            Self::SecondOne(more) => more.validate(),
            Self::Nothing => Ok(()),
        }
    }
}

/// A member, and its errors: pointers inside the member, and codes.
type Made = (Option<Value>, Vec<(String, &'static str)>);

fn wrong() -> BoxedStrategy<Value> {
    prop_oneof![Just(json!([])), Just(json!({"a": 1})), Just(json!(-7.5)), Just(json!([[1]]))]
        .boxed()
}

fn broken(code: &'static str) -> Vec<(String, &'static str)> {
    vec![(String::new(), code)]
}

fn scalar(
    good: BoxedStrategy<Value>,
    bad: BoxedStrategy<Value>,
    rule: &'static str,
    is_required: bool,
) -> BoxedStrategy<Made> {
    let missing = if is_required { broken("missing") } else { Vec::new() };
    prop_oneof![
        4 => good.prop_map(|value| (Some(value), Vec::new())),
        2 => bad.prop_map(move |value| (Some(value), broken(rule))),
        1 => wrong().prop_map(|value| (Some(value), broken("type"))),
        1 => Just((None, missing)),
    ]
    .boxed()
}

fn text(is_required: bool) -> BoxedStrategy<Made> {
    let good = "[a-z]{2,5}".prop_map(Value::from).boxed();
    let bad = prop_oneof!["[a-z]{0,1}", "[a-z]{6,9}"].prop_map(Value::from).boxed();
    scalar(good, bad, "length", is_required)
}

fn number() -> BoxedStrategy<Made> {
    let bad = prop_oneof![0..10_u8, 21..=255_u8].prop_map(Value::from).boxed();
    scalar((10..=20_u8).prop_map(Value::from).boxed(), bad, "range", true)
}

fn flag() -> BoxedStrategy<Made> {
    let value = || any::<bool>().prop_map(Value::from);
    prop_oneof![
        4 => value().prop_map(|value| (Some(value), Vec::new())),
        1 => wrong().prop_map(|value| (Some(value), broken("type"))),
        1 => Just((None, broken("missing"))),
    ]
    .boxed()
}

/// An object of these members.
fn object(members: Vec<(&'static str, Made)>) -> Made {
    let mut object = Map::new();
    let mut errors = Vec::new();
    for (name, (value, inside)) in members {
        let step = name.replace('~', "~0").replace('/', "~1");
        errors
            .extend(inside.into_iter().map(|(pointer, code)| (format!("/{step}{pointer}"), code)));
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    }
    (Some(Value::Object(object)), errors)
}

fn inner() -> BoxedStrategy<Made> {
    (number(), text(false))
        .prop_map(|(quantity, name)| object(vec![("q-t-y", quantity), ("quantity_name", name)]))
        .boxed()
}

/// A member that is an object: it may also be missing or of another type.
fn or_not(object: BoxedStrategy<Made>) -> BoxedStrategy<Made> {
    prop_oneof![
        6 => object,
        1 => Just((Some(json!("x")), broken("type"))),
        1 => Just((None, broken("missing"))),
    ]
    .boxed()
}

fn list() -> BoxedStrategy<Made> {
    vec(inner(), 0..4)
        .prop_map(|items| {
            let mut list = Vec::new();
            let mut errors = Vec::new();
            for (index, (value, inside)) in items.into_iter().enumerate() {
                list.extend(value);
                errors.extend(inside.into_iter().map(|(at, code)| (format!("/{index}{at}"), code)));
            }
            (Some(Value::Array(list)), errors)
        })
        .boxed()
}

fn choice() -> BoxedStrategy<Made> {
    let with_kind = |kind: &'static str, (value, errors): Made| {
        let mut value = value.unwrap();
        value["kind"] = kind.into();
        (Some(value), errors)
    };
    prop_oneof![
        inner().prop_map(move |made| with_kind("first-one", made)),
        number().prop_map(move |made| with_kind("second-one", object(vec![("c/d~", made)]))),
        Just((Some(json!({"kind": "nothing"})), Vec::new())),
        Just((Some(json!({"kind": "other"})), vec![("/kind".to_owned(), "choice")])),
        Just((Some(json!({"q-t-y": 11})), vec![("/kind".to_owned(), "missing")])),
    ]
    .boxed()
}

fn outer() -> BoxedStrategy<Made> {
    let members = (
        (text(true), number(), text(false), flag()),
        (or_not(list()), or_not(inner()), number(), or_not(choice())),
    );
    members
        .prop_map(|((first, age, nick, done), (rows, home, more, choice))| {
            object(vec![
                ("firstName", first),
                ("AGE", age),
                ("nickName", nick),
                ("done", done),
                ("rows", rows),
                ("home", home),
                ("c/d~", more),
                ("choice", choice),
            ])
        })
        .boxed()
}

fn chain() -> ChainService {
    Chain::new()
        .at("/validator", |c| c.post(async |_: Valid<ByField<Json<Outer>>>| "fine"))
        .at("/garde", |c| c.post(async |_: Garde<ByField<Json<Outer>>>| "fine"))
        .at("/form", |c| c.post(async |_: Valid<ByField<Form<Flat>>>| "fine"))
        .build()
}

/// What can be sent in a form.
#[derive(Clone, Deserialize, Fields, validator::Validate)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct Flat {
    #[validate(length(min = 2, max = 5))]
    first_name: String,
    #[validate(range(min = 10, max = 20))]
    the_age: u8,
    #[validate(range(min = 10, max = 20))]
    second_age: u8,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_errors_of_json_are_known((value, expected) in outer()) {
        let chain = chain();
        let expected: BTreeSet<String> =
            expected.iter().map(|(pointer, code)| format!("{pointer} {code}")).collect();
        for engine in ["/validator", "/garde"] {
            let request = post(engine, value.as_ref().unwrap());
            let (status, body) = send(&chain, request).now_or_never().unwrap();
            let found: BTreeSet<String> = match status {
                200 => BTreeSet::new(),
                _ => errors(&body).into_iter().collect(),
            };
            prop_assert_eq!(&found, &expected, "{} {:?}", engine, value);
        }
    }

    #[test]
    fn all_errors_of_a_form_are_known(first in text(true), ages in (number(), number())) {
        let chain = chain();
        let (value, expected) =
            object(vec![("FIRST-NAME", first), ("THE-AGE", ages.0), ("SECOND-AGE", ages.1)]);
        let mut pairs = Vec::new();
        let mut expected: BTreeSet<String> =
            expected.iter().map(|(pointer, code)| format!("{pointer} {code}")).collect();
        for (name, value) in value.unwrap().as_object().unwrap() {
            match value {
                Value::String(text) => pairs.push(format!("{name}={text}")),
                value => pairs.push(format!("{name}={value}")),
            }
            // Each text is one in a form.
            if name == "FIRST-NAME" && !value.is_string() {
                expected.remove("/FIRST-NAME type");
                if value.to_string().len() > 5 {
                    expected.insert("/FIRST-NAME length".to_owned());
                }
            }
        }
        let (status, body) = send(&chain, form("/form", &pairs.join("&"))).now_or_never().unwrap();
        let found: BTreeSet<String> = match status {
            200 => BTreeSet::new(),
            _ => errors(&body).into_iter().collect(),
        };
        prop_assert_eq!(&found, &expected, "{:?}", pairs);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}\",:0-9a-c ]{0,40}") {
        let source = RawInput::body(text);
        let rules = |_: &Outer| -> Vec<Violation> { Vec::new() };
        if let Err(error) = check::<ByField<Json<Outer>>>(&source, rules) {
            prop_assert!(error.status().is_client_error());
        }
    }
}
