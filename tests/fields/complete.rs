//! Every error at once.

use serde::Deserialize;
use serde_json::{Value, json};
use tower_chain::extract::{ByField, Unchecked};
use tower_chain::{Chain, Fields, Form, Json, Valid, ValidateInput};
use validator::{Validate as _, ValidationError};

use crate::{errors, form, json as post, send};

#[derive(Clone, Deserialize, Fields, validator::Validate)]
#[serde(rename_all = "camelCase")]
#[validate(schema(function = "adults_have_names", skip_on_field_errors = false))]
struct SignUp {
    #[validate(length(min = 1))]
    user_name: String,
    #[validate(email)]
    email: String,
    #[validate(range(min = 18))]
    age: u8,
    #[validate(length(min = 8))]
    password: String,
    #[validate(must_match(other = "password"))]
    confirm: String,
    role: Role,
    born: Option<Date>,
    #[serde(default)]
    #[validate(nested, length(max = 2))]
    addresses: Vec<Address>,
    terms: bool,
}

#[derive(Clone, Deserialize, Fields)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Admin,
}

/// Only a date can be read.
#[derive(Clone, serde::Serialize)]
struct Date;

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        if text.len() == 10 && digits == 8 {
            Ok(Self)
        } else {
            Err(serde::de::Error::custom("SECRET"))
        }
    }
}

#[derive(Clone, Deserialize, Fields, serde::Serialize, validator::Validate)]
struct Address {
    #[validate(length(min = 2))]
    city: String,
    #[serde(rename = "zip")]
    #[validate(length(equal = 5))]
    postal_code: String,
    since: Date,
}

fn adults_have_names(user: &SignUp) -> Result<(), ValidationError> {
    if user.age > 17 && user.user_name.is_empty() {
        Err(ValidationError::new("adult"))
    } else {
        Ok(())
    }
}

#[tokio::test]
async fn missing_mistyped_and_broken_fields_are_reported_together() {
    let chain = Chain::new().post(async |_: Valid<ByField<Json<SignUp>>>| "fine").build();
    let good = json!({
        "userName": "Ann", "email": "a@b.de", "age": 18, "password": "longenough", "confirm": "longenough",
        "role": "user", "terms": true,
    });
    let with = |changes: Value| {
        let mut body = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            match value.as_str() {
                Some("REMOVE") => drop(body.as_object_mut().unwrap().remove(name)),
                _ => body[name] = value.clone(),
            }
        }
        body
    };
    for (body, expected) in [
        (with(json!({})), vec![]),
        (
            json!({}),
            vec![
                "/userName missing",
                "/email missing",
                "/age missing",
                "/password missing",
                "/confirm missing",
                "/role missing",
                "/terms missing",
            ],
        ),
        (
            json!({"email": "x", "age": "x", "password": "short", "role": "SECRET", "born": "SECRET"}),
            vec![
                "/userName missing",
                "/email email",
                "/age type",
                "/password length",
                "/confirm missing",
                "/role choice",
                "/born invalid",
                "/terms missing",
            ],
        ),
        // A rule for several fields applies only if all of them could be read.
        (with(json!({"userName": ""})), vec!["/userName length", " adult"]),
        (with(json!({"userName": "", "age": "x"})), vec!["/userName length", "/age type"]),
        (with(json!({"confirm": "other"})), vec!["/confirm must_match"]),
        (with(json!({"confirm": "other", "age": "x"})), vec!["/age type", "/confirm must_match"]),
        (with(json!({"password": 1})), vec!["/password type"]),
        (
            with(json!({"password": "REMOVE", "email": "x"})),
            vec!["/email email", "/password missing"],
        ),
        (
            with(
                json!({"addresses": [{"city": "x", "zip": 1}, {"city": "Rome", "zip": "12", "since": "2020-01-01"}, {}]}),
            ),
            vec![
                "/addresses/0/zip type",
                "/addresses/0/since missing",
                "/addresses/2/city missing",
                "/addresses/2/zip missing",
                "/addresses/2/since missing",
                "/addresses length",
            ],
        ),
        (
            with(
                json!({"addresses": [{"city": "x", "zip": 1}, {"city": "Rome", "zip": "12", "since": "2020-01-01"}]}),
            ),
            vec![
                "/addresses/0/city length",
                "/addresses/0/zip type",
                "/addresses/0/since missing",
                "/addresses/1/zip length",
            ],
        ),
        (with(json!({"addresses": 1, "email": "x"})), vec!["/email email", "/addresses type"]),
        (with(json!({"addresses": [1], "email": "x"})), vec!["/email email", "/addresses/0 type"]),
        (json!([]), vec![" type"]),
        (json!(null), vec![" type"]),
    ] {
        let (status, answer) = send(&chain, post("/", &body)).await;
        assert!(!answer.to_string().contains("SECRET"));
        match expected.is_empty() {
            true => assert_eq!(status, 200, "{body} {answer}"),
            false => {
                let mut found = errors(&answer);
                let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
                // The error of a list comes before or after those of its items.
                found.sort();
                expected.sort();
                assert_eq!((status, found), (422, expected), "{body}");
            }
        }
    }
    for (text, status) in [
        ("", 400),
        ("{", 400),
        ("{\"userName\":\"a\",}", 400),
        // The first mistake is in a value.
        ("{\"userName\":1,}", 422),
        ("{\"userName\":1} x", 422),
    ] {
        assert_eq!(send(&chain, post("/", text)).await.0, status, "{text}");
    }
}

/// An enum without `Fields`, whose first variant is no text.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Size {
    Exactly(u8),
    Large,
}

#[derive(Clone, Deserialize, Fields, validator::Validate)]
struct Shirt {
    size: Size,
    sizes: Vec<Size>,
    #[validate(length(min = 3))]
    color: String,
}

#[tokio::test]
async fn rules_are_applied_beside_an_enum_that_cannot_be_read() {
    let chain = Chain::new().post(async |_: Valid<ByField<Json<Shirt>>>| "fine").build();
    let (_, body) =
        send(&chain, post("/", json!({"size": "SECRET", "sizes": ["large"], "color": "x"}))).await;
    assert_eq!(errors(&body), ["/size choice", "/color length"]);
    let (_, body) =
        send(&chain, post("/", json!({"size": "large", "sizes": ["x"], "color": "x"}))).await;
    assert_eq!(errors(&body), ["/sizes/0 choice", "/color length"]);
}

#[derive(Clone, Deserialize, Fields, validator::Validate)]
struct Contact {
    #[validate(length(min = 2))]
    name: String,
    #[validate(email)]
    mail: String,
    terms: bool,
    level: u8,
}

#[tokio::test]
async fn an_unticked_checkbox_does_not_hide_the_other_errors() {
    let chain = Chain::new()
        .at("/step", |c| {
            c.use_(ValidateInput::<ByField<Form<Contact>>>::new()).post(async || "fine")
        })
        .at("/plain", |c| c.post(async |_: ByField<Form<Contact>>| "fine"))
        .at("/unchecked", |c| {
            c.post(async |data: Unchecked<ByField<Form<Contact>>>| {
                Valid::check(data).await.map(|_| "fine")
            })
        })
        .post(async |_: Valid<ByField<Form<Contact>>>| "fine")
        .build();
    let all = ["/name length", "/mail email", "/terms missing", "/level type"].map(str::to_owned);
    for path in ["/", "/step"] {
        let (_, body) = send(&chain, form(path, "name=x&mail=x&level=x")).await;
        assert_eq!(errors(&body), all, "{path}");
        assert_eq!(
            send(&chain, form(path, "name=Ann&mail=a%40b.de&level=1&terms=on")).await.0,
            200
        );
    }
    let of_the_form = ["/terms missing", "/level type"].map(str::to_owned);
    for path in ["/plain", "/unchecked"] {
        let (_, body) = send(&chain, form(path, "name=x&mail=x&level=x")).await;
        assert_eq!(errors(&body), of_the_form, "{path}");
    }
    let (_, body) = send(&chain, form("/unchecked", "name=x&mail=x&level=1&terms=on")).await;
    assert_eq!(errors(&body), all[..2]);
}

/// A flattened enum, whose members are beside those of the struct.
#[derive(Clone, Deserialize, Fields, validator::Validate)]
struct Flattened<T> {
    #[validate(length(min = 2))]
    name: String,
    #[serde(flatten)]
    choice: T,
}

#[derive(Clone, Deserialize, Fields)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Internal {
    One { a: String },
    Two(Inner),
    Three,
}

#[derive(Clone, Deserialize, Fields)]
#[serde(tag = "kind", content = "value", rename_all = "lowercase")]
enum Adjacent {
    One { a: String },
    Three,
}

#[derive(Clone, Deserialize, Fields)]
#[serde(rename_all = "lowercase")]
enum External {
    One { a: String },
    Two(Inner),
}

#[derive(Clone, Deserialize, Fields)]
#[serde(untagged)]
enum Untagged {
    One { a: String },
    Two(Inner),
}

#[derive(Clone, Deserialize, Fields)]
struct Inner {
    b: String,
}

#[tokio::test]
async fn a_flattened_enum_does_not_hide_the_errors_beside_it() {
    let chain = Chain::new()
        .at("/internal", |c| c.post(async |_: Valid<ByField<Json<Flattened<Internal>>>>| "fine"))
        .at("/adjacent", |c| c.post(async |_: Valid<ByField<Json<Flattened<Adjacent>>>>| "fine"))
        .at("/external", |c| c.post(async |_: Valid<ByField<Json<Flattened<External>>>>| "fine"))
        .at("/untagged", |c| c.post(async |_: Valid<ByField<Json<Flattened<Untagged>>>>| "fine"))
        .build();
    for (path, choice, expected) in [
        ("/internal", json!({}), vec!["/kind missing"]),
        ("/internal", json!({"kind": "x"}), vec!["/kind choice"]),
        ("/internal", json!({"kind": 1}), vec!["/kind type"]),
        ("/internal", json!({"kind": "one"}), vec!["/a missing"]),
        ("/internal", json!({"kind": "one", "a": 1}), vec!["/a type"]),
        ("/internal", json!({"kind": "two"}), vec!["/b missing"]),
        ("/internal", json!({"kind": "three"}), vec![]),
        ("/adjacent", json!({}), vec!["/kind missing"]),
        ("/adjacent", json!({"kind": "x", "value": {}}), vec!["/kind choice"]),
        ("/adjacent", json!({"kind": "one"}), vec!["/value missing"]),
        ("/adjacent", json!({"kind": "one", "value": {}}), vec!["/value/a missing"]),
        ("/adjacent", json!({"kind": "three"}), vec![]),
        ("/external", json!({}), vec![" invalid"]),
        ("/external", json!({"x": 1}), vec![" invalid"]),
        ("/external", json!({"one": {}}), vec!["/one/a missing"]),
        ("/external", json!({"more": 1, "two": {"b": 1}}), vec!["/two/b type"]),
        ("/external", json!({"two": {"b": "x"}}), vec![]),
        ("/untagged", json!({}), vec![" invalid"]),
        ("/untagged", json!({"b": 1}), vec![" invalid"]),
        ("/untagged", json!({"b": "x"}), vec![]),
    ] {
        for (name, of_name) in [("x", "/name length"), ("xx", "")] {
            let mut body = choice.clone();
            body["name"] = json!(name);
            let (status, answer) = send(&chain, post(path, &body)).await;
            let mut expected: Vec<&str> = expected.clone();
            expected.extend((!of_name.is_empty()).then_some(of_name));
            expected.sort_unstable();
            let mut found = if status == 200 { Vec::new() } else { errors(&answer) };
            found.sort();
            assert_eq!(found, expected, "{path} {body}");
        }
    }
}

#[derive(Clone, Deserialize, Fields, validator::Validate)]
struct Maps {
    #[validate(nested)]
    by_hash: std::collections::HashMap<String, Contact>,
    n: u8,
}

/// The keys are not shown, and a hash map has its own order each time.
#[tokio::test]
async fn an_error_of_one_key_does_not_hide_those_of_another() {
    let chain = Chain::new().post(async |_: Valid<ByField<Json<Maps>>>| "fine").build();
    let contact = |name: Value, level: Value| json!({"name": name, "mail": "a@b.de", "terms": true, "level": level});
    for keys in 2..12 {
        let mut by_hash = json!({});
        for key in 0..keys {
            by_hash[format!("k{key}")] = match key {
                0 => contact(json!(1), json!(1)),
                1 => contact(json!("x"), json!(1)),
                _ => contact(json!("xx"), json!(1)),
            };
        }
        let (_, answer) = send(&chain, post("/", json!({"by_hash": by_hash, "n": "x"}))).await;
        let mut found = errors(&answer);
        found.sort();
        assert_eq!(found, ["/by_hash/*/name length", "/by_hash/*/name type", "/n type"], "{keys}");
    }
}

#[derive(Clone, Deserialize, Fields, validator::Validate)]
struct Items {
    #[validate(nested)]
    items: Vec<Contact>,
}

#[derive(Clone, Deserialize, Fields)]
struct Deep {
    next: Option<Box<Deep>>,
    n: u8,
}

#[tokio::test]
async fn the_work_on_refused_input_is_bounded() {
    let chain = Chain::new()
        .at("/items", |c| c.post(async |_: Valid<ByField<Json<Items>>>| "fine"))
        .at("/deep", |c| c.post(async |_: ByField<Json<Deep>>| "fine"))
        .build();
    let items = |count: usize| format!("{{\"items\":[{}{{}}]}}", "{},".repeat(count - 1));
    for (count, expected) in [(1, 4), (25, 100), (26, 100), (4000, 100)] {
        let (status, body) = send(&chain, post("/items", items(count))).await;
        assert_eq!((status, errors(&body).len()), (422, expected), "{count}");
        assert_eq!(body["more"], if count > 25 { json!(true) } else { Value::Null });
    }
    assert_eq!(send(&chain, post("/items", items(100_000))).await.0, 422);
    for depth in [1, 20, 100, 126] {
        let body = format!("{}{{}}{}", "{\"next\":".repeat(depth), "}".repeat(depth));
        let (status, body) = send(&chain, post("/deep", body)).await;
        assert_eq!(status, 422, "{depth}");
        assert!(errors(&body).len() <= 100);
    }
}
