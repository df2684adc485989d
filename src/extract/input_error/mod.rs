//! The message of a user's own `Deserialize`.

#[cfg(test)]
#[cfg(all(feature = "fields", feature = "form", feature = "json", feature = "query"))]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

/// An error that a type's own `Deserialize` reports to the client.
///
/// Messages of other errors are not sent, because they often quote submitted data: the client gets the code `invalid` and the text "Is not
/// valid". Pass this type to [`custom`](https://docs.rs/serde/latest/serde/de/trait.Error.html#tymethod.custom) to send a code and a text of
/// the program. Put no submitted data into them.
///
/// # Example
///
/// ```
/// use serde::de::Error;
/// use serde::{Deserialize, Deserializer};
/// use tower_chain::extract::InputError;
///
/// struct Slug(String);
///
/// impl<'de> Deserialize<'de> for Slug {
///     fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
///         let text = String::deserialize(deserializer)?;
///         match text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
///             true => Ok(Self(text)),
///             false => Err(D::Error::custom(InputError::new("slug", "May have lower-case letters and hyphens"))),
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputError {
    code: Cow<'static, str>,
    detail: Cow<'static, str>,
}

impl InputError {
    /// An error with a code for programs and a human-readable text.
    pub fn new(code: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), detail: detail.into() }
    }

    /// The code and the text of an error that became a message of serde.
    pub(crate) fn in_message(message: &str) -> Option<(String, String)> {
        let mut parts = message.strip_prefix(&**MARK)?.split(END);
        let (code, detail) = (parts.next()?, parts.next()?);
        Some((code.to_owned(), detail.to_owned()))
    }
}

/// serde keeps only the text of an error. It is marked with a number that no client knows.
impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{END}{}{END}", *MARK, self.code, self.detail)
    }
}

impl std::error::Error for InputError {}

static MARK: LazyLock<String> =
    LazyLock::new(|| format!("{:016x}: ", RandomState::new().build_hasher().finish()));

/// Ends a part. A text for people does not have it.
const END: char = '\u{1f}';
