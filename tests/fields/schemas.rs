//! Schemas as people write them in zod and yup, with random inputs: the same fields are refused, under the same pointers.
//!
//! `schemas/generate.mjs` has the schemas, and wrote `schemas/cases.jsonl`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum_core::extract::FromRequest;
use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower_chain::extract::{ByField, InvalidInput};
use tower_chain::middleware::garde::Garde;
use tower_chain::{Error, Fields, Json, Valid};
use validator::{Validate as _, ValidationError, ValidationErrors};

use crate::json;

fn is_hotel(text: &str) -> bool {
    text.len() == 6
        && text.bytes().take(2).all(|b| b.is_ascii_uppercase())
        && text.bytes().skip(2).all(|b| b.is_ascii_digit())
}

fn hotel_for_validator(text: &str) -> Result<(), ValidationError> {
    if is_hotel(text) { Ok(()) } else { Err(ValidationError::new("hotel")) }
}

fn hotel_for_garde(text: &str, _: &()) -> garde::Result {
    if is_hotel(text) { Ok(()) } else { Err(garde::Error::new("hotel")) }
}

#[derive(Deserialize, Fields, Serialize)]
#[serde(rename_all = "lowercase")]
enum Room {
    Single,
    Double,
    Suite,
}

#[derive(Deserialize, Fields, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Extra {
    Breakfast,
    Parking,
    LateCheckout,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate, validator::Validate)]
#[serde(rename_all = "camelCase")]
struct Booking {
    #[validate(custom(function = "hotel_for_validator"))]
    #[garde(custom(hotel_for_garde))]
    hotel_id: String,
    #[validate(range(min = 1, max = 30))]
    #[garde(range(min = 1, max = 30))]
    nights: u32,
    #[validate(nested)]
    #[garde(dive)]
    guests: Guests,
    #[validate(length(min = 1, max = 4), nested)]
    #[garde(length(min = 1, max = 4), dive)]
    rooms: Vec<OneRoom>,
    #[validate(length(max = 3))]
    #[garde(inner(length(max = 3)))]
    extras: Option<Vec<Extra>>,
    #[validate(range(min = 0.0, max = 100000.0))]
    #[garde(range(min = 0.0, max = 100000.0))]
    paid_amount: f64,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate, validator::Validate)]
struct Guests {
    #[validate(range(min = 1, max = 8))]
    #[garde(range(min = 1, max = 8))]
    adults: u8,
    #[serde(default)]
    #[validate(range(max = 6))]
    #[garde(range(max = 6))]
    children: u8,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate, validator::Validate)]
#[serde(rename_all = "camelCase")]
struct OneRoom {
    #[garde(skip)]
    room_type: Room,
    #[garde(skip)]
    extra_bed: Option<bool>,
    #[validate(length(max = 12))]
    #[garde(inner(length(max = 12)))]
    note: Option<String>,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate, validator::Validate)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[validate(length(min = 2, max = 10))]
    #[garde(length(min = 2, max = 10))]
    display_name: String,
    #[validate(range(min = 1900, max = 2020))]
    #[garde(inner(range(min = 1900, max = 2020)))]
    birth_year: Option<u32>,
    #[serde(default)]
    #[validate(length(max = 3), nested)]
    #[garde(length(max = 3), dive)]
    tags: Vec<Tag>,
    #[validate(nested)]
    #[garde(dive)]
    scores: BTreeMap<String, Score>,
    #[validate(nested)]
    #[garde(dive)]
    links: Option<HashMap<String, Link>>,
    #[validate(nested)]
    #[garde(dive)]
    contact: Contact,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
#[serde(transparent)]
struct Tag(#[garde(length(min = 1, max = 6))] String);

impl validator::Validate for Tag {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let mut e = ValidationErrors::new();
        if !(1..=6).contains(&self.0.len()) {
            e.add("__all__", ValidationError::new("length"));
        }
        if e.is_empty() { Ok(()) } else { Err(e) }
    }
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
struct Score(#[garde(range(max = 100))] u8);

impl validator::Validate for Score {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let mut e = ValidationErrors::new();
        if self.0 > 100 {
            e.add("__all__", ValidationError::new("range"));
        }
        if e.is_empty() { Ok(()) } else { Err(e) }
    }
}

#[derive(Deserialize, Fields, Serialize, garde::Validate, validator::Validate)]
struct Link {
    #[validate(length(min = 5))]
    #[garde(length(min = 5))]
    url: String,
    #[validate(length(max = 8))]
    #[garde(inner(length(max = 8)))]
    label: Option<String>,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate, validator::Validate)]
#[serde(rename_all = "camelCase")]
struct Contact {
    #[validate(email)]
    #[garde(email)]
    primary_email: String,
    #[validate(length(min = 1), nested)]
    #[garde(length(min = 1), dive)]
    phones: Vec<Phone>,
}

fn digits_for_validator(text: &str) -> Result<(), ValidationError> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err(ValidationError::new("digits"))
    }
}

fn digits_for_garde(text: &str, _: &()) -> garde::Result {
    digits_for_validator(text).map_err(|_| garde::Error::new("digits"))
}

#[derive(Deserialize, Fields, Serialize, garde::Validate, validator::Validate)]
#[serde(rename_all = "camelCase")]
struct Phone {
    #[validate(range(min = 1, max = 999))]
    #[garde(range(min = 1, max = 999))]
    country_code: u16,
    #[validate(custom(function = "digits_for_validator"))]
    #[garde(custom(digits_for_garde))]
    number: String,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
#[serde(rename_all = "camelCase")]
struct Payment {
    #[garde(length(min = 1))]
    order_ref: String,
    #[garde(custom(positive))]
    amount: f64,
    #[garde(skip)]
    currency: Currency,
    #[garde(dive)]
    method: Method,
}

fn positive(n: &f64, _: &()) -> garde::Result {
    if *n > 0.0 { Ok(()) } else { Err(garde::Error::new("positive")) }
}

#[derive(Deserialize, Fields, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Currency {
    Eur,
    Usd,
    Gbp,
}

fn card(text: &str, _: &()) -> garde::Result {
    if text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err(garde::Error::new("card"))
    }
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Method {
    Card {
        #[garde(custom(card))]
        card_number: String,
        #[garde(range(min = 1, max = 12))]
        exp_month: u8,
        #[garde(range(min = 2024))]
        exp_year: u32,
        #[garde(dive)]
        holder: Holder,
    },
    BankTransfer(#[garde(dive)] Bank),
    Invoice {
        #[garde(length(min = 1))]
        company_name: String,
        #[garde(skip)]
        vat_id: Option<String>,
    },
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
struct Bank {
    #[garde(length(min = 15, max = 34))]
    iban: String,
    #[garde(inner(length(min = 8)))]
    bic: Option<String>,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
#[serde(rename_all = "camelCase")]
struct Holder {
    #[garde(length(min = 1))]
    first_name: String,
    #[garde(length(min = 1))]
    last_name: String,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
struct Survey {
    #[garde(length(min = 1, max = 20))]
    title: String,
    #[garde(length(min = 1, max = 3), dive)]
    sections: Vec<Section>,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
struct Section {
    #[garde(length(min = 1))]
    heading: String,
    #[garde(length(min = 1), dive)]
    questions: Vec<Question>,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Question {
    Text {
        #[garde(length(min = 1))]
        prompt: String,
        #[garde(inner(range(min = 1, max = 500)))]
        max_length: Option<u32>,
    },
    Choice {
        #[garde(length(min = 1))]
        prompt: String,
        #[garde(length(min = 2), dive)]
        options: Vec<Answer>,
    },
    Rating {
        #[garde(range(min = 3, max = 10))]
        scale_max: u8,
    },
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
struct Answer {
    #[garde(skip)]
    id: u32,
    #[garde(length(min = 1))]
    text: String,
}

#[derive(Deserialize, Fields, Serialize)]
#[serde(rename_all = "lowercase")]
enum Theme {
    Light,
    Dark,
    System,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
#[serde(rename_all = "camelCase")]
struct Settings {
    #[garde(skip)]
    theme: Option<Theme>,
    #[garde(inner(range(min = 8, max = 72)))]
    font_size: Option<u8>,
    #[garde(dive)]
    notifications: Option<Notifications>,
    #[garde(dive)]
    position: Option<(Lat, Lon)>,
    #[garde(range(min = 0.0, max = 1.0))]
    volume: f64,
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
struct Lat(#[garde(range(min=-90.0,max=90.0))] f64);

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
#[garde(transparent)]
struct Lon(#[garde(range(min=-180.0,max=180.0))] f64);

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
#[serde(rename_all = "camelCase")]
struct Notifications {
    #[garde(skip)]
    email: Option<bool>,
    #[garde(skip)]
    push: Option<bool>,
    #[garde(dive)]
    quiet_hours: Option<Quiet>,
}

fn hhmm(text: &str, _: &()) -> garde::Result {
    let b = text.as_bytes();
    if b.len() == 5 && b[2] == b':' && [0, 1, 3, 4].iter().all(|i| b[*i].is_ascii_digit()) {
        Ok(())
    } else {
        Err(garde::Error::new("hhmm"))
    }
}

#[derive(Deserialize, Fields, Serialize, garde::Validate)]
struct Quiet {
    #[garde(custom(hhmm))]
    from: String,
    #[garde(custom(hhmm))]
    to: String,
}

/// The pointers at which an extractor refuses an input.
fn refused<E: FromRequest<(), Rejection = Error>>(input: &Value) -> BTreeSet<String> {
    let mut req = json("/", input);
    req.extensions_mut().insert(InvalidInput::new().tell_keys());
    match E::from_request(req, &()).now_or_never().unwrap() {
        Ok(_) => BTreeSet::new(),
        Err(error) => {
            let errors = error.field_errors();
            assert!(!errors.is_empty(), "{error}");
            errors.iter().map(|error| error.pointer().to_owned()).collect()
        }
    }
}

fn by_garde<T>(input: &Value) -> BTreeSet<String>
where
    T: DeserializeOwned + Fields + garde::Validate<Context: Default> + Send,
{
    refused::<Garde<ByField<Json<T>>>>(input)
}

fn by_validator<T>(input: &Value) -> BTreeSet<String>
where
    T: DeserializeOwned + Fields + validator::Validate + Send,
{
    refused::<Valid<ByField<Json<T>>>>(input)
}

#[test]
fn the_same_fields_are_refused_as_by_zod_and_yup() {
    let cases = include_str!("schemas/cases.jsonl");
    let mut differences = Vec::new();
    for line in cases.lines() {
        let (name, input, expected): (String, Value, BTreeSet<String>) =
            serde_json::from_str(line).unwrap();
        let found = match &*name {
            "booking" => vec![by_validator::<Booking>(&input), by_garde::<Booking>(&input)],
            "profile" => vec![by_validator::<Profile>(&input), by_garde::<Profile>(&input)],
            "payment" => vec![by_garde::<Payment>(&input)],
            "survey" => vec![by_garde::<Survey>(&input)],
            _ => vec![by_garde::<Settings>(&input)],
        };
        if found.iter().any(|found| *found != expected) {
            differences.push(format!("{line}\n  ours {found:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(cases.lines().count(), 200);
}
