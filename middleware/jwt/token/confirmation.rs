//! What a token is bound to (RFC 7800).

use serde_json::Value;

/// What a token is bound to: the claim `cnf` (RFC 7800, 3.1), as far as thumbprints go.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Confirmation {
    /// The thumbprint of a key (RFC 9449, 6.1).
    pub(crate) key: Option<Box<str>>,
    /// The thumbprint of a certificate (RFC 8705, 3.1).
    pub(crate) certificate: Option<Box<str>>,
    /// Whether it is bound to something else, which can't be proven here.
    pub(crate) other: bool,
}

impl Confirmation {
    /// Reads the value of `cnf`.
    pub(crate) fn read(cnf: &Value) -> Self {
        let mut confirmation = Self::default();
        match cnf {
            Value::Object(members) if !members.is_empty() => {
                for (name, value) in members {
                    match (&**name, value) {
                        ("jkt", Value::String(text)) => confirmation.key = Some(Box::from(&**text)),
                        ("x5t#S256", Value::String(text)) => {
                            confirmation.certificate = Some(Box::from(&**text));
                        }
                        _ => confirmation.other = true,
                    }
                }
            }
            _ => confirmation.other = true,
        }
        confirmation
    }
}
