//! The challenge of a response that refuses a request: `WWW-Authenticate`.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderValue, Uri};

/// A challenge, the value of a `WWW-Authenticate` header ([RFC 9110, 11.3](https://www.rfc-editor.org/rfc/rfc9110#section-11.3)).
///
/// Parameters are written in the order in which they are set, each as a quoted string.
///
/// # Example
///
/// ```
/// use tower_chain::challenge::Challenge;
///
/// # fn main() -> Result<(), tower_chain::challenge::ChallengeError> {
/// let challenge = Challenge::new("Bearer")?.param("realm", "The \"inner\" circle")?;
/// assert_eq!(challenge.to_string(), r#"Bearer realm="The \"inner\" circle""#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(String);

impl Challenge {
    /// A challenge without parameters.
    ///
    /// # Errors
    ///
    /// If the scheme is not a token (RFC 9110, 5.6.2).
    pub fn new(scheme: impl Into<String>) -> Result<Self, ChallengeError> {
        let scheme = scheme.into();
        if is_token(&scheme) { Ok(Self(scheme)) } else { Err(ChallengeError::NotToken(scheme)) }
    }

    /// The challenge of [RFC 6750, 3](https://www.rfc-editor.org/rfc/rfc6750#section-3), without parameters.
    pub fn bearer() -> Self {
        Self("Bearer".to_owned())
    }

    /// Adds a parameter. Its value is written as a quoted string.
    ///
    /// # Errors
    ///
    /// If the name is not a token, or the value contains a line break, another control character or a character outside of ASCII.
    pub fn param(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl AsRef<str>,
    ) -> Result<Self, ChallengeError> {
        let name = name.into();
        let value = value.as_ref();
        if !is_token(&name) {
            return Err(ChallengeError::NotToken(name.into_owned()));
        }
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(ChallengeError::NotQuotable { name: name.into_owned() });
        }
        // The first parameter follows the scheme, the others follow a comma.
        self.0.push_str(if self.0.contains(' ') { ", " } else { " " });
        self.0.push_str(&name);
        self.0.push_str("=\"");
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                self.0.push('\\');
            }
            self.0.push(c);
        }
        self.0.push('"');
        Ok(self)
    }

    /// Adds a parameter that is an absolute `http` or `https` URL, such as `resource_metadata`.
    ///
    /// # Errors
    ///
    /// The errors of [`param`](Self::param), or if it is not such a URL.
    pub fn url(
        self,
        name: impl Into<Cow<'static, str>>,
        url: impl AsRef<str>,
    ) -> Result<Self, ChallengeError> {
        let (name, url) = (name.into(), url.as_ref());
        let this = self.param(name.clone(), url)?;
        let uri: Option<Uri> = url.parse().ok();
        let scheme = uri.as_ref().and_then(Uri::scheme_str);
        match scheme {
            Some("http" | "https") => Ok(this),
            _ => Err(ChallengeError::NotUrl { name: name.into_owned() }),
        }
    }

    /// The challenge as the value of a header.
    pub fn to_value(&self) -> HeaderValue {
        // The constructors accept only printable ASCII, so the fallback is never used.
        HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a [`Challenge`] can't be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChallengeError {
    /// A scheme or the name of a parameter is not a token.
    NotToken(String),
    /// The value of a parameter can't be sent.
    NotQuotable {
        /// The name of the parameter.
        name: String,
    },
    /// The value of a parameter is not an absolute URL.
    NotUrl {
        /// The name of the parameter.
        name: String,
    },
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotToken(text) => write!(
                f,
                "{text:?} can't name a scheme or a parameter of a challenge: use letters, digits and hyphens"
            ),
            Self::NotQuotable { name } => write!(
                f,
                "the {name} of a challenge must be printable ASCII: take out line breaks, control characters and accents"
            ),
            Self::NotUrl { name } => write!(
                f,
                "the {name} of a challenge must be an absolute URL, such as `https://api.example.com/.well-known/oauth-protected-resource`"
            ),
        }
    }
}

impl std::error::Error for ChallengeError {}

/// Whether a text is a token (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(tchar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_quoted_and_escaped_in_order() -> Result<(), ChallengeError> {
        let challenge = Challenge::new("Basic")?;
        assert_eq!(challenge.to_value(), "Basic");
        let challenge = challenge.param("realm", r#"a\b "c", d"#)?.param("charset", "UTF-8")?;
        assert_eq!(challenge.to_value(), r#"Basic realm="a\\b \"c\", d", charset="UTF-8""#);
        assert_eq!(Challenge::new("Bearer")?.param("realm", "")?.to_value(), r#"Bearer realm="""#);
        Ok(())
    }

    #[test]
    fn what_would_break_the_header_is_refused() {
        for scheme in ["", "Bea rer", "Bearer,", "Bearer\"", "Bear\ner", "Béarer"] {
            assert!(Challenge::new(scheme).is_err(), "{scheme:?}");
        }
        let challenge = Challenge::new("Bearer").expect("a token");
        for realm in ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "a\tb", "é", "\u{7f}"] {
            let refused = challenge.clone().param("realm", realm);
            assert_eq!(refused, Err(ChallengeError::NotQuotable { name: "realm".into() }));
        }
        for name in ["", "re alm", "realm=", "realm\""] {
            assert!(challenge.clone().param(name, "x").is_err(), "{name:?}");
        }
        for url in
            ["", " ", "/metadata", "api.example.com", "ftp://a.example/m", "https://", "https:///m"]
        {
            assert!(challenge.clone().url("resource_metadata", url).is_err(), "{url:?}");
        }
        assert!(challenge.url("resource_metadata", "https://a.example/m").is_ok());
    }
}
