//! What a small request can cost, and what a refusal may contain.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use http::Request;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};
use validator::Validate as _;

use crate::extract::{
    BracketSyntax, ByField, FieldStep, Input, RawInput, Unchecked, Violation, check,
};
use crate::{Body, Chain, ChainService, Fields, Form, Json, Valid};

const JSON: &str = "application/json";

/// The status of the response, and its JSON.
async fn send(chain: &ChainService, kind: &str, body: impl Into<Body>) -> (u16, Value) {
    let req = Request::post("/").header("content-type", kind).body(body.into()).unwrap();
    let res = chain.handle(req).await;
    let status = res.status().as_u16();
    let text = res.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&text).unwrap_or_default())
}

/// A variant is read from the members beside the tag, which may be those of the variant around it.
#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Expr {
    Eq { a: u8 },
    Not(Box<Expr>),
    Maybe(Option<Box<Expr>>),
    Other(Box<Mutual>),
    Outer(Flat),
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Mutual {
    Other(Box<Expr>),
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
struct Flat {
    #[serde(flatten)]
    inner: Box<Expr>,
}

#[tokio::test]
async fn a_variant_that_contains_its_own_type_does_not_overflow_the_stack() {
    let chain = Chain::new().post(async |_: ByField<Json<Expr>>| "fine").build();
    let list = Chain::new().post(async |_: ByField<Json<Vec<Expr>>>| "fine").build();
    for op in ["not", "maybe", "other", "outer"] {
        let body = json!({"op": op});
        assert_eq!(send(&chain, JSON, body.to_string()).await.0, 422, "{op}");
        assert_eq!(send(&list, JSON, json!([body, body]).to_string()).await.0, 422, "{op}");
    }
    let (status, body) = send(&chain, JSON, r#"{"op":"eq","a":"x"}"#).await;
    assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!("/a")));
}

/// The first variant contains the type five times, so stand-ins to a depth of eight would have 390,625 values.
#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
enum Wide {
    Five(Box<Wide>, Box<Wide>, Box<Wide>, Box<Wide>, Box<Wide>),
    Leaf,
}

#[test]
fn a_stand_in_is_small() {
    fn values(tree: &super::document::Tree<'_>) -> usize {
        use super::document::Tree;
        1 + match tree {
            Tree::Object(members) => members.iter().map(|(_, tree)| values(tree)).sum(),
            Tree::List(items) => items.iter().map(values).sum(),
            _ => 0,
        }
    }
    for another in [false, true] {
        let made = super::stand_in::of(Wide::shape(), another);
        assert!(made.is_none_or(|(tree, _)| values(&tree) <= 4000));
    }
}

/// Four rules of each item are broken, without `Fields`.
#[derive(Clone, Default, Deserialize, serde::Serialize, validator::Validate)]
#[serde(default, rename_all = "camelCase")]
struct Item {
    #[validate(length(min = 1))]
    full_name: String,
    #[validate(length(min = 1))]
    last_name: String,
}

#[derive(Clone, Deserialize, validator::Validate)]
struct Items {
    #[validate(nested)]
    items: Vec<Item>,
}

#[test]
fn the_names_of_a_type_are_declared_once() {
    for (mark, count, body) in
        [("", 1, "{}"), ("", 400, "{}"), ("", 400, r#"{"fullName":"Ann"}"#), ("\u{feff}", 1, "{}")]
    {
        let text = format!("{mark}{{\"items\":[{}]}}", vec![body; count].join(","));
        let document = Json::<Items>::document(&RawInput::body(text.clone())).unwrap().declared;
        assert_eq!(document, [&["items"][..], &["fullName", "lastName"]], "{text}");
    }
}

thread_local! {
    static KEYS_READ: Cell<usize> = const { Cell::new(0) };
}

/// A key of a map that counts how often one is read.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        KEYS_READ.set(KEYS_READ.get() + 1);
        String::deserialize(from).map(Self)
    }
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Debug, Deserialize, Fields)]
struct Prices {
    prices: HashMap<Key, u8>,
}

/// The keys are not shown, so all violations have the same pointer, and none of them fills the list.
#[test]
fn the_keys_of_a_map_are_read_once_for_all_violations() {
    let count = 300;
    let members: Vec<_> = (0..count).map(|at| format!("\"key{at}\":0")).collect();
    let source = RawInput::body(format!("{{\"prices\":{{{}}}}}", members.join(",")));
    let rules = |prices: &Prices| {
        let of_price = |at| {
            let path = vec![FieldStep::Field("prices".into()), FieldStep::Index(at)];
            Violation::new(path, "odd", "Is odd")
        };
        (0..prices.prices.len()).map(of_price).collect()
    };
    KEYS_READ.set(0);
    let refused = check::<ByField<Json<Prices>>>(&source, rules).unwrap_err();
    assert!(refused.members().any(|(_, json)| json.contains("/prices/*")), "{refused:?}");
    assert!(KEYS_READ.get() <= 4 * count, "{} keys were read", KEYS_READ.get());
}

#[derive(Deserialize, Fields)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    #[serde(alias = "root")]
    Admin,
    #[serde(rename = "read only")]
    ReadOnly,
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
struct Who {
    role: Role,
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
enum External {
    One(u8),
    Two { a: u8 },
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    One(u8),
    Two,
}

#[tokio::test]
async fn the_choices_are_those_of_the_type() {
    let texts = [
        "x",
        "`, expected `SECRET",
        "a`, expected `SECRET` at line 1",
        "a`, expected one of `SECRET`, `b` at line 1 column 2",
        "a`, expected `SECRET` at line 1 column 2`, there are no variants",
    ];
    let choices = "Must be one of user, admin, root, read only";
    let chains = [
        (true, Chain::new().post(async |_: Json<Who>| "fine").build()),
        (true, Chain::new().post(async |_: ByField<Json<Who>>| "fine").build()),
        (false, Chain::new().post(async |_: Form<Who>| "fine").build()),
        (false, Chain::new().post(async |_: ByField<Form<Who>>| "fine").build()),
    ];
    for text in texts {
        for (at, (is_json, chain)) in chains.iter().enumerate() {
            let (status, body) = match is_json {
                true => send(chain, JSON, json!({"role": text}).to_string()).await,
                false => {
                    let text = text.replace(' ', "+").replace('`', "%60").replace(',', "%2C");
                    send(chain, "application/x-www-form-urlencoded", format!("role={text}")).await
                }
            };
            assert_eq!(
                (status, &body["errors"][0]["detail"]),
                (422, &json!(choices)),
                "{at} {text}"
            );
            assert!(!body.to_string().contains("SECRET"), "{body}");
        }
    }
}

#[tokio::test]
async fn by_field_lists_the_choices_that_json_lists() {
    async fn check<T: serde::de::DeserializeOwned + Fields + Send>(bodies: &[Value]) {
        let whole = Chain::new().post(async |_: Json<T>| "fine").build();
        let by_field = Chain::new().post(async |_: ByField<Json<T>>| "fine").build();
        for body in bodies {
            let whole = send(&whole, JSON, body.to_string()).await;
            let by_field = send(&by_field, JSON, body.to_string()).await;
            assert_eq!(whole.0, 422, "{body}");
            let [whole, by_field] =
                [whole, by_field].map(|(_, body)| body["errors"][0]["detail"].clone());
            assert_eq!(whole, by_field, "{body}");
            assert!(whole.as_str().unwrap().starts_with("Must be one of "), "{whole}");
        }
    }
    check::<External>(&[json!("x"), json!({"x": 1})]).await;
    check::<Expr>(&[json!({"op": "x"}), json!({"a": 1, "op": "x"})]).await;
    check::<Adjacent>(&[json!({"t": "x"}), json!({"t": "x", "c": 1}), json!({"c": 1, "t": "x"})])
        .await;
    check::<Who>(&[json!({"role": "x"})]).await;
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
struct Numbered {
    by_number: HashMap<u32, u8>,
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
#[serde(deny_unknown_fields)]
struct Strict {
    id: u8,
}

/// Reading stops when a refusal is full: it lists a hundred errors.
#[test]
fn wrong_keys_are_collected_until_a_refusal_is_full() {
    fn found<T: Fields + serde::de::DeserializeOwned>(text: &str) -> (usize, usize) {
        let source = RawInput::body(text.to_owned());
        let document = super::Document::json(source.bytes(), 20_000).unwrap();
        let partial = super::reader::partial::<T>(
            &source,
            crate::extract::Location::Body,
            T::shape(),
            document,
        );
        let partial = partial.unwrap();
        let super::document::Tree::Object(members) = &partial.document.tree else { return (0, 0) };
        let left = match members.as_slice() {
            [(name, super::document::Tree::Object(inside))] if name == "by_number" => inside.len(),
            members => members.len(),
        };
        (partial.errors.len(), left)
    }
    let keys = |count: usize| -> String {
        (0..count).map(|at| format!("\"key{at}\":0,\"{at}\":0,")).collect()
    };
    let map = |count| format!("{{\"by_number\":{{{}\"9999\":0}}}}", keys(count));
    assert_eq!(found::<Numbered>(&map(3)), (3, 4));
    assert_eq!(found::<Numbered>(&map(50)), (50, 51));
    assert_eq!(found::<Numbered>(&map(5000)).0, 101);
    let strict = |count| format!("{{{}\"id\":0}}", keys(count));
    assert_eq!(found::<Strict>(&strict(3)), (6, 1));
    assert_eq!(found::<Strict>(&strict(5000)), (101, 1));
}

thread_local! {
    static READ_HERE: Cell<usize> = const { Cell::new(0) };
}

/// Counts on each thread how often it is read there, and is never valid.
#[derive(Debug)]
struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(from)?;
        READ_HERE.set(READ_HERE.get() + 1);
        Err(serde::de::Error::custom("no"))
    }
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
struct Counter {
    count: Counted,
}

#[tokio::test]
async fn long_input_is_read_by_field_on_another_thread() {
    let whole = Chain::new().post(async |_: Json<Counter>| "fine").build();
    let by_field = Chain::new().post(async |_: ByField<Json<Counter>>| "fine").build();
    for (spaces, is_here) in [(0, true), (RawInput::LONG, false)] {
        let body = format!("{{\"count\":1}}{}", " ".repeat(spaces));
        READ_HERE.set(0);
        assert_eq!(send(&whole, JSON, body.clone()).await.0, 422);
        let of_json = READ_HERE.replace(0);
        let (status, answer) = send(&by_field, JSON, body).await;
        assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/count")));
        assert_eq!(READ_HERE.get() > of_json, is_here, "{spaces}");
    }
}

/// serde itself reads only `null` for it, and never ends for another value.
#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
struct Endless(Option<Box<Endless>>);

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
struct Holder {
    endless: Endless,
    name: String,
}

#[test]
fn a_type_that_contains_nothing_but_itself_has_an_end() {
    assert!(Endless::shape().fields().is_empty());
    let source = RawInput::body(r#"{"endless":null,"name":""}"#);
    let rules = |_: &Holder| {
        let path = vec![FieldStep::Field("endless".into()), FieldStep::Field("inner".into())];
        vec![Violation::new(path, "odd", "Is odd")]
    };
    let refused = check::<ByField<Json<Holder>>>(&source, rules).map(drop).unwrap_err();
    assert!(refused.members().any(|(_, json)| json.contains("/endless")), "{refused:?}");
}

const FORM: &str = "application/x-www-form-urlencoded";

#[allow(dead_code, reason = "only its shape and its rules matter")]
#[derive(Deserialize, Fields, validator::Validate)]
#[serde(rename_all = "camelCase")]
struct Cart {
    #[validate(length(min = 1))]
    customer_name: String,
    #[validate(nested)]
    items: Vec<Line>,
    address: Address,
    #[serde(default)]
    is_gift: bool,
    prices: Option<BTreeMap<String, u32>>,
    outline: Option<Outline>,
    #[serde(default)]
    #[fields(value)]
    pairs: Vec<(u8, u8)>,
}

#[allow(dead_code, reason = "only its shape and its rules matter")]
#[derive(Deserialize, Fields, validator::Validate)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "SKU")]
    #[validate(length(min = 1))]
    sku: String,
    #[validate(range(min = 1))]
    piece_count: u8,
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
struct Address {
    city: String,
    zip: Option<u32>,
}

#[allow(dead_code, reason = "only its shape matters")]
#[derive(Deserialize, Fields)]
#[serde(rename_all = "lowercase")]
enum Outline {
    Circle { r: u8 },
    Point,
}

/// The pointers and codes of all errors.
fn errors(body: &Value) -> Vec<(&str, &str)> {
    let errors = body["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |error: &'_ Value, name: &str| error[name].as_str().unwrap_or_default().to_owned();
    errors
        .iter()
        .map(|error| (&*text(error, "pointer").leak(), &*text(error, "code").leak()))
        .collect()
}

#[tokio::test]
async fn every_error_of_a_form_with_brackets_has_the_name_that_the_client_sent() {
    let fine = "customerName=a&items[0][SKU]=a&items[0][pieceCount]=1&address[city]=b";
    let rest = "&customerName=a&address[city]=b";
    let table: Vec<(String, &[(&str, &str)])> = vec![
        (fine.into(), &[]),
        ("".into(), &[("/customerName", "missing"), ("/items", "missing"), ("/address", "missing")]),
        (
            "customerName=&items[0][SKU]=&items[0][pieceCount]=x&items[1][pieceCount]=0&address[zip]=y".into(),
            &[
                ("/customerName", "length"),
                ("/items/0/SKU", "length"),
                ("/items/0/pieceCount", "type"),
                ("/items/1/SKU", "missing"),
                ("/items/1/pieceCount", "range"),
                ("/address/city", "missing"),
                ("/address/zip", "type"),
            ],
        ),
        // The indexes are those of the client: a row was removed.
        (
            format!("items[7][SKU]=&items[7][pieceCount]=300&items[3][SKU]=a&items[3][pieceCount]=0{rest}"),
            &[("/items/3/pieceCount", "range"), ("/items/7/SKU", "length"), ("/items/7/pieceCount", "value")],
        ),
        (
            format!("items[7][SKU]=&items[7][pieceCount]=1{rest}"),
            &[("/items/7/SKU", "length")],
        ),
        // Items without an index are numbered.
        (
            format!("items[][SKU]=a&items[][pieceCount]=x&items[][SKU]=&items[][pieceCount]=1{rest}"),
            &[("/items/0/pieceCount", "type"), ("/items/1/SKU", "length")],
        ),
        (
            format!("items%5B0%5D%5BSKU%5D=&items%5B0%5D%5BpieceCount%5D=-1{rest}"),
            &[("/items/0/SKU", "length"), ("/items/0/pieceCount", "type")],
        ),
        (
            format!("{fine}&address=1&isGift=maybe"),
            &[("/address", "conflict"), ("/isGift", "value")],
        ),
        (format!("{fine}&isGift=false&isGift=on"), &[]),
        (format!("items[]=a&items[0][SKU]=x{rest}"), &[("/items", "type")]),
        (format!("items[a][SKU]=x&outline[circle][r]=x{rest}"), &[("/items", "type"), ("/outline/circle/r", "type")]),
        (format!("items[5000][SKU]=x&isGift=x{rest}"), &[("/items", "index"), ("/isGift", "value")]),
        (format!("items=a&items=b{rest}"), &[("/items/0", "type"), ("/items/1", "type")]),
        (
            format!("{fine}&prices[secret]=x&prices[1]=2&outline=square"),
            &[("/prices/*", "type"), ("/outline", "choice")],
        ),
        (format!("{fine}&customerName=b&isGift=x"), &[("/customerName", "duplicate"), ("/isGift", "value")]),
        // A value without known fields is read as a whole.
        (format!("{fine}&pairs[4][]=1&pairs[4][]=x&isGift=x"), &[("/isGift", "value"), ("/pairs/4/1", "type")]),
        ("items[0=1".into(), &[("", "brackets")]),
        ("a[b][c][d][e][f][g]=1".into(), &[("", "depth")]),
    ];
    let all = Chain::new()
        .provide(BracketSyntax::new())
        .post(async |_: Valid<ByField<Form<Cart>>>| "fine")
        .build();
    let first = Chain::new()
        .provide(BracketSyntax::new())
        .post(async |_: Valid<Form<Cart>>| "fine")
        .build();
    let mut differences = Vec::new();
    for (body, expected) in table {
        let status = if expected.is_empty() { 200 } else { 422 };
        let (found, answer) = send(&all, FORM, body.clone()).await;
        if (found, &*errors(&answer)) != (status, expected) {
            differences.push(format!("{body}: {found} {:?}", errors(&answer)));
        }
        assert!(!answer.to_string().contains("secret"), "{answer}");
        // Without `ByField`, the first error has the same pointer.
        let (found, answer) = send(&first, FORM, body.clone()).await;
        assert_eq!(found, status, "{body} {answer}");
        let pointers: Vec<&str> = expected.iter().map(|(pointer, _)| *pointer).collect();
        let found = errors(&answer);
        if !found.iter().all(|(pointer, _)| pointers.contains(pointer)) {
            differences.push(format!("{body}: first {found:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

thread_local! {
    static CHECKED_HERE: Cell<usize> = const { Cell::new(0) };
}

fn count_here(_: u8) -> Result<(), validator::ValidationError> {
    CHECKED_HERE.set(CHECKED_HERE.get() + 1);
    Ok(())
}

#[derive(Deserialize, validator::Validate)]
#[serde(default)]
#[derive(Default)]
struct Watched {
    #[validate(custom(function = "count_here"))]
    one: u8,
    two: u8,
}

#[derive(Deserialize, validator::Validate)]
struct AllWatched {
    #[validate(nested)]
    items: Vec<Watched>,
}

/// As `Valid` does.
#[tokio::test]
async fn short_input_with_many_values_is_checked_on_another_thread() {
    let chain = Chain::new()
        .post(async |data: Unchecked<Json<AllWatched>>| Valid::check(data).await.map(|_| "fine"))
        .build();
    let valid = Chain::new().post(async |_: Valid<Json<AllWatched>>| "fine").build();
    for (count, is_here) in [(1, true), (100, true), (1000, false), (3000, false)] {
        let body = format!(r#"{{"items":[{}]}}"#, vec!["{}"; count].join(","));
        for chain in [&chain, &valid] {
            CHECKED_HERE.set(0);
            assert_eq!(send(chain, JSON, body.clone()).await.0, 200, "{count}");
            assert_eq!(CHECKED_HERE.get(), if is_here { count } else { 0 }, "{count}");
        }
    }
    // The whole bound is that of `InvalidInput`.
    let chain = Chain::new()
        .provide(crate::extract::InvalidInput::new().max_values(2500))
        .post(async |data: Unchecked<Json<AllWatched>>| Valid::check(data).await.map(|_| "fine"))
        .build();
    let body = format!(r#"{{"items":[{}]}}"#, vec!["{}"; 1000].join(","));
    assert_eq!(send(&chain, JSON, body).await.0, 413);
}
