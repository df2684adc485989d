//! A claim that may be of any JSON type.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::json::TextValue;

/// The value of an optional claim. Issuers differ in the types of these claims, and none of them must make a token invalid.
pub(super) enum OptionalClaim {
    /// Dates are exact: those of the year 9999 have 12 digits.
    Number(f64),
    Text(String),
    List(Vec<OptionalClaim>),
    Object(BTreeMap<String, OptionalClaim>),
    /// `null`, a boolean, or an object with a duplicate member.
    Other,
}

impl<'de> Deserialize<'de> for OptionalClaim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyType)
    }
}

struct AnyType;

impl<'de> Visitor<'de> for AnyType {
    type Value = OptionalClaim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<OptionalClaim, E> {
        Ok(OptionalClaim::Other)
    }

    fn visit_unit<E>(self) -> Result<OptionalClaim, E> {
        Ok(OptionalClaim::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<OptionalClaim, E> {
        Ok(OptionalClaim::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<OptionalClaim, E> {
        Ok(OptionalClaim::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<OptionalClaim, E> {
        Ok(OptionalClaim::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<OptionalClaim, E> {
        Ok(OptionalClaim::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<OptionalClaim, E> {
        Ok(OptionalClaim::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OptionalClaim, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = seq.next_element()? {
            list.push(entry);
        }
        Ok(OptionalClaim::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OptionalClaim, A::Error> {
        let mut members = BTreeMap::new();
        let mut unique = true;
        while let Some(TextValue(name)) = map.next_key()? {
            unique &= members.insert(name.into_owned(), map.next_value()?).is_none();
        }
        if let (1, Some(Self::Value::Text(number))) = (members.len(), members.get(NUMBER))
            && let Ok(number) = number.parse::<f64>()
        {
            // Without the feature, the parser returns this error.
            let error = || A::Error::custom("number out of range");
            return Some(number)
                .filter(|n| n.is_finite())
                .map(OptionalClaim::Number)
                .ok_or_else(error);
        }
        Ok(if unique { OptionalClaim::Object(members) } else { OptionalClaim::Other })
    }
}

/// If any crate of the build enables the feature `arbitrary_precision` of `serde_json`, a number that is not a 64-bit integer arrives as an object with
/// this member, and the text of the number is its value.
const NUMBER: &str = "$serde_json::private::Number";
