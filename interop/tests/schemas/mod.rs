//! Schemas as people write them in zod and yup: the same fields are refused, under the same pointers.
//!
//! The libraries differ in one respect: zod does not apply a rule for several fields (`refine`, `superRefine`) while one of them is missing or of another
//! type, and yup does. Such inputs are not combined here.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use http::Request;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_chain::extract::ByField;
use tower_chain::{Body, Chain, ChainService, Fields, Json, Query, Valid};
use validator::{Validate, ValidationError, ValidationErrors};

use crate::support::programs::Folder;

#[derive(Deserialize, Fields, Validate)]
#[serde(rename_all = "camelCase")]
struct SignUp {
    #[validate(length(min = 3, max = 20))]
    user_name: String,
    #[validate(email)]
    email: String,
    #[validate(range(min = 18))]
    age: u32,
    #[validate(length(min = 8))]
    password: String,
    #[validate(must_match(other = "password"))]
    confirm_password: String,
    #[allow(dead_code, reason = "only read")]
    newsletter: bool,
    #[allow(dead_code, reason = "only read")]
    role: Role,
}

#[derive(Deserialize, Fields)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Admin,
}

#[derive(Deserialize, Fields, Validate)]
struct Delivery {
    #[validate(length(min = 1))]
    name: String,
    #[validate(nested)]
    address: Address,
}

#[derive(Deserialize, Fields)]
#[serde(rename_all = "camelCase")]
struct Address {
    street: String,
    country: Country,
    postal_code: String,
    state: Option<String>,
}

#[derive(Clone, Copy, Deserialize, Fields)]
enum Country {
    #[serde(rename = "US")]
    UnitedStates,
    #[serde(rename = "GB")]
    Britain,
}

/// Rules that depend on another field are written by hand.
impl Validate for Address {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let mut errors = ValidationErrors::new();
        let code = self.postal_code.as_bytes();
        let is_code = match self.country {
            Country::UnitedStates => code.len() == 5 && code.iter().all(u8::is_ascii_digit),
            Country::Britain => {
                (5..=8).contains(&code.len())
                    && code
                        .iter()
                        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b' ')
            }
        };
        if self.street.is_empty() {
            errors.add("street", ValidationError::new("length"));
        }
        if !is_code {
            errors.add("postal_code", ValidationError::new("postal_code"));
        }
        match (&self.state, self.country) {
            (None, Country::UnitedStates) => errors.add("state", ValidationError::new("required")),
            (Some(state), _) if state.len() != 2 => {
                errors.add("state", ValidationError::new("length"));
            }
            _ => {}
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[derive(Deserialize, Fields, Validate)]
#[serde(rename_all = "camelCase")]
struct Order {
    #[validate(length(min = 1))]
    order_id: String,
    #[validate(length(min = 1, max = 3), nested)]
    lines: Vec<Line>,
    #[validate(length(max = 10))]
    note: Option<String>,
}

#[derive(Deserialize, Fields, Serialize, Validate)]
struct Line {
    #[validate(custom(function = is_sku))]
    sku: String,
    #[serde(rename = "qty")]
    #[validate(range(min = 1, max = 99))]
    quantity: u32,
    #[validate(range(exclusive_min = 0.0))]
    price: f64,
}

fn is_sku(text: &str) -> Result<(), ValidationError> {
    let is_sku = text.len() > 3
        && text.bytes().take(3).all(|b| b.is_ascii_uppercase())
        && text.bytes().skip(3).all(|b| b.is_ascii_digit());
    if is_sku { Ok(()) } else { Err(ValidationError::new("sku")) }
}

#[derive(Deserialize, Fields, Validate)]
struct Drawing {
    #[allow(dead_code, reason = "only read")]
    id: u32,
    #[validate(nested)]
    shape: Shape,
}

#[derive(Deserialize, Fields)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Shape {
    Circle(Circle),
    Rect(Rect),
}

#[derive(Deserialize, Fields, Validate)]
struct Circle {
    #[validate(range(exclusive_min = 0.0))]
    radius: f64,
}

#[derive(Deserialize, Fields, Validate)]
struct Rect {
    #[validate(range(exclusive_min = 0.0))]
    width: f64,
    #[validate(range(exclusive_min = 0.0))]
    height: f64,
}

impl Validate for Shape {
    fn validate(&self) -> Result<(), ValidationErrors> {
        match self {
            Self::Circle(circle) => circle.validate(),
            Self::Rect(rect) => rect.validate(),
        }
    }
}

#[derive(Deserialize, Fields, Validate)]
#[serde(rename_all = "camelCase")]
struct Search {
    #[serde(default = "first_page")]
    #[validate(range(min = 1))]
    page: u32,
    #[validate(range(min = 1, max = 100))]
    per_page: Option<u32>,
    #[allow(dead_code, reason = "only read")]
    sort: Option<Sort>,
    #[validate(length(min = 2))]
    q: Option<String>,
    #[serde(default)]
    #[validate(length(max = 3))]
    tag: Vec<String>,
}

fn first_page() -> u32 {
    1
}

#[derive(Deserialize, Fields)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Asc,
    Desc,
}

fn api() -> ChainService {
    Chain::new()
        .at("/signUp", |c| c.post(async |_: Valid<ByField<Json<SignUp>>>| "fine"))
        .at("/address", |c| c.post(async |_: Valid<ByField<Json<Delivery>>>| "fine"))
        .at("/order", |c| c.post(async |_: Valid<ByField<Json<Order>>>| "fine"))
        .at("/shape", |c| c.post(async |_: Valid<ByField<Json<Drawing>>>| "fine"))
        .at("/search", |c| c.get(async |_: Valid<ByField<Query<Search>>>| "fine"))
        .build()
}

fn request(name: &str, input: &Value) -> Request<Body> {
    let json = |input: &Value| {
        Request::post(format!("/{name}"))
            .header("content-type", "application/json")
            .body(Body::from(input.to_string()))
            .unwrap()
    };
    if name != "search" {
        return json(input);
    }
    let mut pairs = Vec::new();
    for (name, value) in input.as_object().unwrap() {
        for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
            pairs.push(format!("{name}={}", value.as_str().unwrap()));
        }
    }
    Request::get(format!("/search?{}", pairs.join("&"))).body(Body::empty()).unwrap()
}

async fn pointers(api: &ChainService, name: &str, input: &Value) -> BTreeSet<String> {
    let response = api.handle(request(name, input)).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    if status == 200 {
        return BTreeSet::new();
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let errors = body["errors"].as_array().unwrap_or_else(|| panic!("{input} {body}"));
    errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
}

/// A valid input, changes that may be combined, and changes that may not.
type Schema = (&'static str, Value, Vec<Value>, Vec<Value>);

/// `"-"` removes a member.
fn schemas() -> Vec<Schema> {
    vec![
        (
            "signUp",
            json!({
                "userName": "Ann", "email": "a@b.de", "age": 20, "password": "longenough", "confirmPassword": "longenough",
                "newsletter": true, "role": "user",
            }),
            vec![
                json!({"userName": "-"}),
                json!({"userName": "x"}),
                json!({"userName": 1}),
                json!({"email": "x"}),
                json!({"email": null}),
                json!({"age": 17}),
                json!({"age": "20"}),
                json!({"age": 18.5}),
                json!({"age": "-"}),
                json!({"password": "short", "confirmPassword": "short"}),
                json!({"password": "-", "confirmPassword": "-"}),
                json!({"password": 1, "confirmPassword": 1}),
                json!({"newsletter": "-"}),
                json!({"newsletter": "yes"}),
                json!({"role": "root"}),
                json!({"role": "-"}),
                json!({"more": 1}),
            ],
            vec![
                json!({"confirmPassword": "other"}),
                json!({"confirmPassword": "other", "email": "x"}),
                json!({"confirmPassword": "-"}),
                json!({"confirmPassword": "other", "age": 1, "userName": "x"}),
            ],
        ),
        (
            "address",
            json!({"name": "Ann", "address": {"street": "1 Main", "country": "US", "postalCode": "12345", "state": "CA"}}),
            vec![
                json!({"name": "-"}),
                json!({"name": ""}),
                json!({"name": 1}),
                json!({"address.street": "-"}),
                json!({"address.street": ""}),
                json!({"address.street": {}}),
                json!({"address.country": "FR"}),
                json!({"address.country": "-"}),
                json!({"address.postalCode": "-"}),
                json!({"address.postalCode": 12345}),
                json!({"address.state": "California"}),
                json!({"address.state": 1}),
                json!({"address.country": "GB", "address.postalCode": "SW1A 1AA", "address.state": null}),
                json!({"address.country": "GB", "address.postalCode": "SW1A 1AA", "address.state": "-"}),
            ],
            vec![
                json!({"address": "-"}),
                json!({"address": "x"}),
                json!({"address": null}),
                json!({}),
                json!({"address.postalCode": "1234"}),
                json!({"address.state": "-"}),
                json!({"address.state": null}),
                json!({"address.country": "GB", "address.postalCode": "12"}),
                json!({"address": "-", "name": "-"}),
                json!({"address.postalCode": "x", "address.state": "-"}),
                json!({"address.postalCode": "x", "name": ""}),
                json!({"address.state": "-", "name": "-"}),
            ],
        ),
        (
            "order",
            json!({"orderId": "7", "lines": [{"sku": "ABC1", "qty": 1, "price": 0.5}, {"sku": "DEF22", "qty": 99, "price": 3}], "note": null}),
            vec![
                json!({"orderId": "-"}),
                json!({"orderId": ""}),
                json!({"orderId": 7}),
                json!({"lines.0.sku": "abc"}),
                json!({"lines.1.sku": "-"}),
                json!({"lines.0.qty": 0}),
                json!({"lines.0.qty": "1"}),
                json!({"lines.1.qty": 100}),
                json!({"lines.1.qty": 1.5}),
                json!({"lines.1.price": -1}),
                json!({"lines.0.price": "-"}),
                json!({"lines.0.price": "1"}),
                json!({"note": "x".repeat(11)}),
                json!({"note": 1}),
                json!({"note": "-"}),
            ],
            vec![
                json!({"lines": "-"}),
                json!({"lines": []}),
                json!({"lines": {}}),
                json!({"lines": [{}]}),
                json!({"lines": [1]}),
                json!({"lines": [{}, {"sku": "ABC1"}], "orderId": "-"}),
            ],
        ),
        (
            "shape",
            json!({"id": 1, "shape": {"type": "rect", "width": 1, "height": 2.5}}),
            vec![
                json!({"id": "-"}),
                json!({"id": -1}),
                json!({"id": "1"}),
                json!({"id": 1.5}),
                json!({"shape.width": 0}),
                json!({"shape.width": "-"}),
                json!({"shape.width": "1"}),
                json!({"shape.height": -1}),
                json!({"shape.height": null}),
                json!({"shape.more": 1}),
                json!({"shape": {"type": "circle", "radius": 1}}),
                json!({"shape": {"type": "circle", "radius": 0}}),
                json!({"shape": {"type": "circle"}}),
                json!({"shape": {"type": "circle", "radius": "x"}}),
                json!({"shape": {"type": "circle", "width": 1, "height": 1}}),
            ],
            vec![
                json!({"shape": "-"}),
                json!({"shape": 1}),
                json!({"shape": {}}),
                json!({"shape.type": "line"}),
                json!({"shape.type": "-"}),
                json!({"shape.type": "line", "id": "-"}),
                json!({"shape": "-", "id": -1}),
            ],
        ),
        (
            "search",
            json!({"page": "2", "perPage": "10", "sort": "asc", "q": "ab", "tag": ["a", "b"]}),
            vec![
                json!({"page": "0"}),
                json!({"page": "x"}),
                json!({"page": "1.5"}),
                json!({"page": "-1"}),
                json!({"page": "-"}),
                json!({"perPage": "101"}),
                json!({"perPage": "x"}),
                json!({"perPage": "0"}),
                json!({"perPage": "-"}),
                json!({"sort": "up"}),
                json!({"sort": "-"}),
                json!({"q": "a"}),
                json!({"q": "-"}),
                json!({"tag": ["a", "b", "c", "d"]}),
                json!({"tag": ["a"]}),
                json!({"tag": "-"}),
            ],
            vec![json!({})],
        ),
    ]
}

fn changed(mut input: Value, changes: &Value) -> Value {
    for (path, value) in changes.as_object().unwrap() {
        let pointer = format!("/{}", path.replace('.', "/"));
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let Some(parent) = input.pointer_mut(parent).and_then(Value::as_object_mut) else {
            continue;
        };
        match value.as_str() {
            Some("-") => drop(parent.remove(name)),
            _ => drop(parent.insert(name.to_owned(), value.clone())),
        }
    }
    input
}

/// Forty inputs of a schema: the changes alone, and then combined.
fn inputs((_, valid, changes, alone): &Schema) -> Vec<Value> {
    let mut inputs: Vec<Value> =
        changes.iter().chain(alone).map(|change| changed(valid.clone(), change)).collect();
    for distance in 1.. {
        for (index, change) in changes.iter().enumerate() {
            if inputs.len() == 40 {
                return inputs;
            }
            let mut input = changed(valid.clone(), change);
            for step in 1..=distance.min(3) {
                let other = changes.get((index + distance * step * 3 + step) % changes.len());
                input = changed(input, other.unwrap());
            }
            inputs.push(input);
        }
    }
    inputs
}

#[tokio::test]
#[cfg_attr(not(npm), ignore = "npm is not installed")]
async fn the_same_fields_are_refused_as_by_zod_and_yup() {
    let folder = Folder::new();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&*folder);
        command
    };
    std::fs::write(folder.join("package.json"), "{\"private\":true}").unwrap();
    std::fs::write(folder.join("schemas.mjs"), include_str!("schemas.mjs")).unwrap();
    let packages =
        ["install", "--no-audit", "--no-fund", "--ignore-scripts", "zod@3.25.76", "yup@1.6.1"];
    let installed = run("npm", &packages).output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));

    let cases: Vec<(&str, Value)> = schemas()
        .iter()
        .flat_map(|schema| inputs(schema).into_iter().map(|input| (schema.0, input)))
        .collect();
    assert_eq!(cases.len(), 200);
    let input = folder.join("inputs.json");
    std::fs::write(&input, serde_json::to_vec(&cases).unwrap()).unwrap();
    let node = run("node", &["schemas.mjs"])
        .stdin(Stdio::from(std::fs::File::open(input).unwrap()))
        .output()
        .unwrap();
    assert!(node.status.success(), "{}", String::from_utf8_lossy(&node.stderr));
    let results: Vec<Value> = serde_json::from_slice(&node.stdout).unwrap();
    let api = api();
    let mut refused = 0;
    let mut differences = Vec::new();
    for ((name, input), result) in cases.iter().zip(&results) {
        let ours = pointers(&api, name, input).await;
        refused += usize::from(!ours.is_empty());
        for library in ["zod", "yup"] {
            let theirs: BTreeSet<String> = serde_json::from_value(result[library].clone()).unwrap();
            if ours != theirs {
                differences
                    .push(format!("{name} {input}\n  {library} {theirs:?}\n  ours {ours:?}"));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
    assert!(refused > 150, "{refused}");
}
