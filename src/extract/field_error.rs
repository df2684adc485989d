//! The error of one field of the input.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::json_text::{is_json, push_json_string};

/// One entry of the `errors` list in a refusal: a field, and what is wrong with it.
///
/// ```json
/// {"location":"body","pointer":"/email","code":"email","detail":"Must be an email address"}
/// ```
///
/// The pointer is a JSON Pointer ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)) in the names that the client uses; the empty pointer is the
/// whole input. Limits, such as `min` and `max`, are in the member `params`.
///
/// Put no submitted data into any of its parts.
///
/// # Example
///
/// ```
/// use tower_chain::StatusCode;
/// use tower_chain::extract::{FieldError, Location};
///
/// let taken = FieldError::new(Location::Body, "taken", "This name is taken").at("name");
/// assert_eq!(taken.pointer(), "/name");
/// let error = FieldError::refuse(StatusCode::CONFLICT, "The name is taken", &[taken]);
/// # let _ = error;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    location: Location,
    pointer: String,
    code: Cow<'static, str>,
    detail: Cow<'static, str>,
    /// Names, and values as JSON texts.
    params: Vec<(Cow<'static, str>, String)>,
}

/// The part of a request that an input is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Location {
    /// The parameters of the path.
    Path,
    /// The query string.
    Query,
    /// The header fields.
    Header,
    /// The body.
    Body,
}

impl FieldError {
    /// An error of the whole input, with a code for programs and a human-readable text.
    pub fn new(
        location: Location,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            location,
            pointer: String::new(),
            code: code.into(),
            detail: detail.into(),
            params: Vec::new(),
        }
    }

    /// Appends a step to the pointer, a member or an item: `at("items").at(0)` is `/items/0`.
    #[must_use]
    pub fn at(mut self, step: impl fmt::Display) -> Self {
        push_step(&mut self.pointer, &step.to_string());
        self
    }

    /// Sets the whole pointer, which must be a JSON Pointer.
    #[must_use]
    pub fn with_pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = pointer.into();
        self
    }

    /// Adds a parameter of the rule, such as `min`. `json` is sent unchanged. If it is not exactly one JSON value, the parameter is left out, and
    /// an error is logged.
    #[must_use]
    pub fn with_param(
        mut self,
        name: impl Into<Cow<'static, str>>,
        json: impl Into<String>,
    ) -> Self {
        let (name, json) = (name.into(), json.into());
        match is_json(&json) {
            true => self.params.push((name, json)),
            false => tracing::error!(%name, "a parameter is left out: its value is not JSON"),
        }
        self
    }

    /// Replaces the human-readable text, as a translation does.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The part of the request that the input is read from.
    pub fn location(&self) -> Location {
        self.location
    }

    /// The JSON Pointer of the field.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The code of the error, for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The human-readable text.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The parameters of the rule, as names and JSON texts.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, json)| (&**name, json.as_str()))
    }

    pub(crate) fn push(&self, json: &mut String) {
        let _ = write!(json, "{{\"location\":\"{}\",\"pointer\":", self.location);
        push_json_string(json, &self.pointer);
        json.push_str(",\"code\":");
        push_json_string(json, &self.code);
        json.push_str(",\"detail\":");
        push_json_string(json, &self.detail);
        if !self.params.is_empty() {
            json.push_str(",\"params\":{");
            for (i, (name, value)) in self.params.iter().enumerate() {
                if i > 0 {
                    json.push(',');
                }
                push_json_string(json, name);
                json.push(':');
                json.push_str(value);
            }
            json.push('}');
        }
        json.push('}');
    }
}

impl Location {
    /// The name of the location in a refusal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Appends one reference token, escaped (RFC 6901, 3).
pub(crate) fn push_step(pointer: &mut String, step: &str) {
    pointer.push('/');
    for c in step.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_escapes_tilde_and_slash() {
        let error = FieldError::new(Location::Body, "c", "d").at("a/b").at(0).at("~");
        assert_eq!(error.pointer(), "/a~1b/0/~0");
    }

    #[test]
    fn an_entry_lists_its_parameters() {
        let error = FieldError::new(Location::Query, "length", "Too \"long\"")
            .at("q")
            .with_param("max", "5");
        let mut json = String::new();
        error.push(&mut json);
        assert_eq!(
            json,
            r#"{"location":"query","pointer":"/q","code":"length","detail":"Too \"long\"","params":{"max":5}}"#
        );
    }
}
