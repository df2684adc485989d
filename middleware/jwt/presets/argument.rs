//! The forms of the arguments of presets.

use crate::middleware::jwt::error::JwtError;

/// Texts that are not blank, at least one.
pub(super) fn list(
    texts: impl IntoIterator<Item: AsRef<str>>,
    what: &'static str,
    example: &'static str,
) -> Result<Vec<String>, JwtError> {
    let texts: Vec<String> = texts.into_iter().map(|text| text.as_ref().to_owned()).collect();
    let blank = |text: &String| text.trim_ascii().is_empty();
    if texts.is_empty() || texts.iter().any(blank) {
        return Err(JwtError::Preset { what, example });
    }
    Ok(texts)
}

/// A text of letters, digits, `-` and some other characters.
pub(super) fn name<'t>(
    text: &'t str,
    others: &str,
    what: &'static str,
    example: &'static str,
) -> Result<&'t str, JwtError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || others.contains(c);
    if text.is_empty() || !text.chars().all(allowed) {
        return Err(JwtError::Preset { what, example });
    }
    Ok(text)
}

/// A host name with at least one dot, without a scheme, a port or a path.
pub(super) fn host<'t>(
    text: &'t str,
    what: &'static str,
    example: &'static str,
) -> Result<&'t str, JwtError> {
    if !text.contains('.') || text.split('.').any(str::is_empty) {
        return Err(JwtError::Preset { what, example });
    }
    name(text, ".", what, example)
}
