//! JSON texts that are written and checked without a parser.

/// Writes `text` as a JSON string (RFC 8259, 7).
pub(crate) fn push_json_string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if c < ' ' => {
                json.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => json.push(c),
        }
    }
    json.push('"');
}

/// Whether `text` is exactly one JSON value (RFC 8259, 2), with lists and objects up to 64 deep.
pub(crate) fn is_json(text: &str) -> bool {
    value(text.as_bytes(), MAX_DEPTH).is_some_and(|rest| blank(rest).is_empty())
}

/// The text after a value; `None` if there is none.
fn value(text: &[u8], depth: usize) -> Option<&[u8]> {
    let text = blank(text);
    match text.first()? {
        b'{' => list(&text[1..], b'}', depth, |member| {
            let rest = blank(string(blank(member))?);
            value(rest.strip_prefix(b":")?, depth - 1)
        }),
        b'[' => list(&text[1..], b']', depth, |item| value(item, depth - 1)),
        b'"' => string(text),
        b't' => text.strip_prefix(b"true"),
        b'f' => text.strip_prefix(b"false"),
        b'n' => text.strip_prefix(b"null"),
        _ => number(text),
    }
}

/// The text after the items, which commas separate, and the end.
fn list(
    text: &[u8],
    end: u8,
    depth: usize,
    item: impl Fn(&[u8]) -> Option<&[u8]>,
) -> Option<&[u8]> {
    if depth == 0 {
        return None;
    }
    if let Some(rest) = blank(text).strip_prefix(&[end]) {
        return Some(rest);
    }
    let mut rest = text;
    loop {
        rest = blank(item(rest)?);
        match rest.strip_prefix(b",") {
            Some(more) => rest = more,
            None => return rest.strip_prefix(&[end]),
        }
    }
}

fn string(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        let (first, after) = rest.split_first()?;
        rest = match first {
            b'"' => return Some(after),
            b'\\' => match after.split_first()? {
                (b'u', hex) => {
                    let (digits, after) = hex.split_at_checked(4)?;
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(after)?
                }
                (escaped, after) => br#""\/bfnrt"#.contains(escaped).then_some(after)?,
            },
            ..b' ' => return None,
            _ => after,
        };
    }
}

fn number(text: &[u8]) -> Option<&[u8]> {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.first() == Some(&b'0')) {
        return None;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        rest = (length > 0).then(|| &fraction[length..])?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', unsigned @ ..] => unsigned,
            unsigned => unsigned,
        };
        let length = digits(exponent);
        rest = (length > 0).then(|| &exponent[length..])?;
    }
    Some(rest)
}

fn blank(text: &[u8]) -> &[u8] {
    let start = text.iter().take_while(|b| b" \t\r\n".contains(b)).count();
    &text[start..]
}

/// The stack bounds the depth.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_text_is_one_value() {
        for (text, expected) in [
            ("0", true),
            (" -1.5e+3 ", true),
            ("1E5", true),
            ("\"a\\u00e9\\n\u{e9}\"", true),
            ("[]", true),
            ("[1, [2], {\"a\" : {}}]\n", true),
            ("{\"a\":1,\"b\":null}", true),
            ("true", true),
            ("", false),
            (" ", false),
            ("01", false),
            ("-", false),
            ("1.", false),
            (".5", false),
            ("1e", false),
            ("+1", false),
            ("NaN", false),
            ("tru", false),
            ("truex", false),
            ("1 2", false),
            ("1,\"admin\":true", false),
            ("1}", false),
            ("\"a", false),
            ("\"a\nb\"", false),
            ("\"\\x\"", false),
            ("\"\\u12g4\"", false),
            ("\"\\u1", false),
            ("[1,]", false),
            ("[,1]", false),
            ("[1", false),
            ("[1}", false),
            ("{\"a\"}", false),
            ("{a:1}", false),
            ("{\"a\":}", false),
            ("{\"a\":1,}", false),
            ("hello", false),
            ("\u{feff}1", false),
        ] {
            assert_eq!(is_json(text), expected, "{text}");
        }
        assert!(is_json(&format!("{}{}", "[".repeat(64), "]".repeat(64))));
        assert!(!is_json(&"[".repeat(1_000_000)));
    }
}
