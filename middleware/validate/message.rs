//! The texts of rules without a message of their own.

use serde_json::Value;
use validator::ValidationError;

/// A sentence without a subject, from the code and the limits of the rule. It never contains the value.
pub(super) fn of(error: &ValidationError) -> String {
    let param = |name: &str| error.params.get(name).filter(|value| !value.is_null());
    match &*error.code {
        "length" => length(error.params.get("value"), param("min"), param("max"), param("equal")),
        "range" => {
            range(param("min"), param("max"), param("exclusive_min"), param("exclusive_max"))
        }
        "email" => "Must be an email address".to_owned(),
        "url" => "Must be a URL".to_owned(),
        "ip" => "Must be an IP address".to_owned(),
        "ipv4" | "ip_v4" => "Must be an IPv4 address".to_owned(),
        "ipv6" | "ip_v6" => "Must be an IPv6 address".to_owned(),
        "required" => "Is required".to_owned(),
        "must_match" => "Must be the same as the other field".to_owned(),
        "contains" => match param("needle") {
            Some(needle) => format!("Must contain {needle}"),
            None => "Does not contain the required text".to_owned(),
        },
        "does_not_contain" => match param("needle") {
            Some(needle) => format!("Must not contain {needle}"),
            None => "Contains text that is not allowed".to_owned(),
        },
        "regex" => "Does not have the required format".to_owned(),
        "credit_card" => "Must be a card number".to_owned(),
        "non_control_character" => "Must not contain control characters".to_owned(),
        _ => "Is not valid".to_owned(),
    }
}

fn length(
    value: Option<&Value>,
    min: Option<&Value>,
    max: Option<&Value>,
    equal: Option<&Value>,
) -> String {
    // Only the kind of the value is used.
    let unit = match value {
        Some(Value::Array(_) | Value::Object(_)) => ["item", "items"],
        _ => ["character", "characters"],
    };
    let of = |limit: &Value| format!("{limit} {}", unit[usize::from(limit.as_u64() != Some(1))]);
    match (min, max, equal) {
        (_, _, Some(equal)) => format!("Must have exactly {}", of(equal)),
        (Some(min), Some(max), _) if min == max => format!("Must have exactly {}", of(min)),
        (Some(min), Some(max), _) => format!("Must have between {min} and {}", of(max)),
        (Some(min), None, _) if min.as_u64() == Some(1) => "Must not be empty".to_owned(),
        (Some(min), None, _) => format!("Must have at least {}", of(min)),
        (None, Some(max), _) => format!("Must have at most {}", of(max)),
        (None, None, None) => "Has the wrong length".to_owned(),
    }
}

fn range(
    min: Option<&Value>,
    max: Option<&Value>,
    above: Option<&Value>,
    below: Option<&Value>,
) -> String {
    let bounds = [
        above.map(|limit| format!("greater than {limit}")),
        min.map(|limit| format!("at least {limit}")),
        below.map(|limit| format!("less than {limit}")),
        max.map(|limit| format!("at most {limit}")),
    ];
    let bounds: Vec<String> = bounds.into_iter().flatten().collect();
    if bounds.is_empty() {
        return "Is out of range".to_owned();
    }
    format!("Must be {}", bounds.join(" and "))
}
