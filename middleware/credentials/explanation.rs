//! Why credentials are refused, for the log.

use std::borrow::Cow;

/// What the operator reads about a refusal, and the client never receives: only names of claims and texts of the configuration, and no value of a
/// token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// The claim, the header parameter or the part of a proof that is at fault.
    pub(crate) part: Option<Cow<'static, str>>,
    /// What the part must be.
    pub(crate) expected: Option<String>,
    /// The probable cause.
    pub(crate) hint: Option<&'static str>,
}

impl Explanation {
    pub(crate) fn part<P: Into<Cow<'static, str>>>(part: P) -> Self {
        Self { part: Some(part.into()), ..Self::default() }
    }

    pub(crate) fn expected(self, expected: impl Into<String>) -> Self {
        Self { expected: Some(expected.into()), ..self }
    }

    /// Adds a hint if the text and one of the expected ones are equal but for a slash at the end.
    pub(crate) fn slash<'a>(
        self,
        text: Option<&str>,
        expected: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).len();
        let alike = |text: &str, one: &str| {
            text != one && text.get(..bare(text)) == one.get(..bare(one)) && !text.is_empty()
        };
        let found = text.is_some_and(|text| expected.into_iter().any(|one| alike(text, one)));
        Self { hint: found.then_some(TRAILING_SLASH).or(self.hint), ..self }
    }
}

/// The texts of the configuration in one line.
pub(crate) fn one_of<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let mut line = String::new();
    for text in texts {
        if !line.is_empty() {
            line.push_str(", ");
        }
        line.push_str(text.as_ref());
    }
    line
}

/// The member `error` of a response of an authorization server (RFC 6749, 5.2), if it is fit for the log.
#[cfg(any(feature = "introspection", feature = "jwks"))]
pub(crate) fn issuer_error(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error")?.as_str()?;
    let fit = error.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    (fit && error.len() <= 64).then(|| error.to_owned())
}

pub(crate) const TRAILING_SLASH: &str = "differs in the trailing slash";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_is_the_cause_only_if_nothing_else_differs() {
        let expected = ["https://a.example/", "https://b.example"];
        for (text, found) in [
            ("https://a.example", true),
            ("https://b.example/", true),
            ("https://b.example//", false),
            ("https://a.example/", false),
            ("https://c.example", false),
            ("", false),
            ("/", false),
        ] {
            let explanation = Explanation::part("iss").slash(Some(text), expected);
            assert_eq!(explanation.hint.is_some(), found, "{text}");
        }
    }

    #[cfg(feature = "introspection")]
    #[test]
    fn an_error_of_the_issuer_is_logged_only_as_a_code() {
        for (body, expected) in [
            (r#"{"error":"invalid_client"}"#, Some("invalid_client")),
            (r#"{"error":"a\nb"}"#, None),
            (r#"{"error":"a b"}"#, None),
            (r#"{"error":{"code":1}}"#, None),
            (&format!(r#"{{"error":"{}"}}"#, "a".repeat(65)), None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(issuer_error(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
