//! Path patterns, in the canonical form in which they are compared with the paths of requests (see `decode`).

use std::fmt::Write as _;

use crate::route::decode::{BadEncoding, canonical};

/// A valid pattern in canonical form.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// The pattern in the syntax of `matchit`.
    pub(crate) text: String,
    pub(crate) names: Vec<String>,
    pub(crate) catch_all: bool,
}

impl Pattern {
    /// Checks a whole pattern. The error states what to change.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        if !pattern.starts_with('/') {
            return Err(format!("a path starts with a slash: write `/{pattern}`"));
        }
        let mut text = String::with_capacity(pattern.len());
        let mut names = Vec::new();
        let mut catch_all = false;
        let trimmed = pattern.strip_suffix('/').unwrap_or(pattern);
        for segment in trimmed.split('/').skip(1) {
            if catch_all {
                return Err("a catch-all such as `{*rest}` must be the last segment".to_owned());
            }
            text.push('/');
            catch_all = parse_segment(segment, &mut text, &mut names)?;
        }
        if text.is_empty() || (pattern.ends_with('/') && !text.ends_with('/')) {
            text.push('/');
        }
        Ok(Self { text, names, catch_all })
    }

    /// The sort key that decides which of several patterns answers a path. Segment by segment: a literal comes first, then a
    /// parameter that is a part of a segment, then a parameter that is a whole segment, then a catch-all.
    pub(crate) fn precedence(&self) -> Vec<(u8, String)> {
        let segments = self.text.split('/').skip(1);
        let key = |segment: &str| match segment.replace("{{", "") {
            plain if plain.starts_with("{*") => (3, String::new()),
            plain if plain.starts_with('{') && plain.ends_with('}') => (2, String::new()),
            // The longer the literal part, the earlier: the key sorts by the complement of its length.
            plain if plain.contains('{') => {
                let literal = plain.len()
                    - plain.split_once('}').map_or(0, |(before, _)| {
                        before.len() - before.find('{').unwrap_or_default()
                    });
                (1, format!("{:08}{plain}", 99_999_999 - literal))
            }
            _ => (0, segment.to_owned()),
        };
        segments.map(key).collect()
    }

    /// Whether the pattern has a parameter that is only a part of a segment, as in `/{name}.png`.
    pub(crate) fn has_partial(&self) -> bool {
        self.precedence().iter().any(|(class, _)| *class == 1)
    }

    /// The number of segments that the pattern matches. A catch-all has no limit.
    pub(crate) fn depth(&self) -> usize {
        if self.catch_all {
            return usize::MAX;
        }
        self.segments().count()
    }

    /// Whether a path that matches this pattern can be under the prefix.
    pub(crate) fn reaches(&self, prefix: &Self) -> bool {
        let mut segments = self.segments();
        for wanted in prefix.segments() {
            match segments.next() {
                None => return false,
                Some(found) if found.starts_with("{*") => return true,
                Some(found) if found == wanted || has_param(found) || has_param(wanted) => {}
                Some(_) => return false,
            }
        }
        true
    }

    /// Whether some path may match both patterns. Parameters that are a part of a segment are taken as whole segments.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let mut own = self.segments();
        let mut other = other.segments();
        loop {
            match (own.next(), other.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.starts_with("{*") || b.starts_with("{*") => return true,
                (Some(a), Some(b)) if a == b || has_param(a) || has_param(b) => {}
                _ => return false,
            }
        }
    }

    /// The segments that are not empty.
    pub(super) fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('/').filter(|segment| !segment.is_empty())
    }

    /// The pattern without the names of its parameters. Two patterns of the same shape match the same paths.
    pub(crate) fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        while let Some((literal, tail)) = rest.split_once('{') {
            shape.push_str(literal);
            shape.push('{');
            if let Some(escaped) = tail.strip_prefix('{') {
                shape.push('{');
                rest = escaped;
                continue;
            }
            if tail.starts_with('*') {
                shape.push('*');
            }
            rest = tail.split_once('}').map_or("", |(_, after)| after);
            shape.push('}');
        }
        shape.push_str(rest);
        shape
    }
}

/// Whether a segment of a pattern has a parameter.
fn has_param(segment: &str) -> bool {
    segment.replace("{{", "").contains('{')
}

/// Checks one segment, and appends its canonical form to `text` and its parameters to `names`. Returns whether the segment is a
/// catch-all.
fn parse_segment(
    segment: &str,
    text: &mut String,
    names: &mut Vec<String>,
) -> Result<bool, String> {
    if segment.is_empty() {
        return Err("a path has no empty segment: write one `/` instead of `//`".to_owned());
    }
    let is_param = segment.starts_with([':', '{']);
    if is_param && (segment.ends_with('?') || segment.ends_with("?}")) {
        let name = segment.trim_matches([':', '{', '}', '?']);
        return Err(format!(
            "a parameter can't be optional, neither as `{{{name}?}}` nor as `{{{name}}}?`: register one path with `{{{name}}}` and one without it"
        ));
    }
    if let Some(mark) = segment.find(['?', '#']) {
        return Err(format!(
            "no path contains a `{}`: the query and the fragment come after the path (for a literal one write `{}`)",
            &segment[mark..=mark],
            if segment[mark..].starts_with('?') { "%3F" } else { "%23" }
        ));
    }
    if let Some(parameter) = foreign_parameter(segment) {
        return Err(parameter);
    }
    if segment.starts_with('*') {
        return Err(
            "a catch-all is written `{*rest}`, not `*` (for a literal asterisk write `%2A`)"
                .to_owned(),
        );
    }
    let mut params = 0;
    let mut catch_all = false;
    let mut rest = segment;
    while let Some(at) = rest.find(['{', '}']) {
        push_literal(&rest[..at], text)?;
        let brace = &rest[at..=at];
        let tail = &rest[at + 1..];
        if let Some(tail) = tail.strip_prefix(brace) {
            text.push_str(brace);
            text.push_str(brace);
            rest = tail;
            continue;
        }
        let Some((name, tail)) = tail.split_once('}').filter(|_| brace == "{") else {
            return Err(format!(
                "the braces of `{segment}` don't match (for a literal brace write `{{{{` or `}}}}`)"
            ));
        };
        params += 1;
        let plain = name.strip_prefix('*').unwrap_or(name);
        catch_all = plain.len() != name.len();
        if catch_all && segment.len() != name.len() + 2 {
            return Err(format!(
                "a catch-all takes a whole segment: write `{{{name}}}` alone between the slashes"
            ));
        }
        if !plain.chars().all(|c| c == '_' || c.is_alphanumeric())
            || !plain.starts_with(|c: char| c == '_' || c.is_alphabetic())
        {
            return Err(format!(
                "`{plain}` is no name for a parameter: a name has letters, digits and underscores, and constraints belong into the handler"
            ));
        }
        if names.iter().any(|taken| taken == plain) {
            return Err(format!(
                "the parameter `{plain}` stands twice along this path: rename one of the two"
            ));
        }
        names.push(plain.to_owned());
        let _ = write!(text, "{{{name}}}");
        rest = tail;
    }
    push_literal(rest, text)?;
    if params > 1 {
        return Err(format!(
            "`{segment}` has two parameters in one segment: take one, and split its value in the handler"
        ));
    }
    Ok(catch_all)
}

/// The error for a segment that is a parameter in another framework, and would be a literal here, or a parameter of another kind.
fn foreign_parameter(segment: &str) -> Option<String> {
    let first = segment.chars().next()?;
    let enclosed = |end: char| segment[1..].strip_suffix(end);
    let (name, is_rest) = match first {
        ':' => {
            let rest = &segment[1..];
            let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
            (&rest[..end], matches!(&rest[end..], "*" | "+" | "(.*)" | "(.*)*"))
        }
        '[' => {
            let inside = enclosed(']')?.trim_matches(['[', ']']);
            (inside.trim_matches('.'), inside.starts_with('.'))
        }
        '<' => (enclosed('>')?.rsplit(':').next()?, false),
        '{' => {
            let (inside, after) = segment[1..].split_once('}')?;
            let name = inside.trim_matches(['*', '+', '.']);
            let is_own = inside == name || inside.strip_prefix('*') == Some(name);
            if is_own && !matches!(after, "*" | "+") {
                return None;
            }
            (name, true)
        }
        _ => return None,
    };
    if name.is_empty() || !name.chars().all(|c| matches!(c, '_' | '-') || c.is_alphanumeric()) {
        return (first == ':').then(|| "a parameter is written `{name}`, not `:name`".to_owned());
    }
    let name = name.replace('-', "_");
    let (kind, written) = match is_rest {
        true => ("catch-all", format!("{{*{name}}}")),
        false => ("parameter", format!("{{{name}}}")),
    };
    let literal = match first {
        '{' => "for a literal `*` write `%2A`, for a `+` `%2B`".to_owned(),
        _ => format!("for a literal `{first}` write `%{:02X}`", u32::from(first)),
    };
    Some(format!("a {kind} is written `{written}`, not `{segment}` ({literal})"))
}

/// Appends literal text in canonical form. Braces are doubled, as `matchit` requires.
fn push_literal(literal: &str, text: &mut String) -> Result<(), String> {
    let literal = canonical(literal).map_err(|BadEncoding| {
        format!(
            "`{literal}` has an invalid percent-encoding (for a literal percent sign write `%25`)"
        )
    })?;
    for c in literal.chars() {
        text.push(c);
        if matches!(c, '{' | '}') {
            text.push(c);
        }
    }
    Ok(())
}

/// Appends a path to a prefix. The path `/` after a prefix is the prefix with a slash at its end.
pub(crate) fn join(prefix: &str, path: &str) -> String {
    match path {
        "/" if !prefix.is_empty() && prefix != "/" => format!("{}/", prefix.trim_end_matches('/')),
        _ => format!("{}{path}", prefix.strip_suffix('/').unwrap_or(prefix)),
    }
}

/// The part of a path after its first `segments` segments. It begins with a slash, and is `/` if nothing is left.
pub(crate) fn rest_after(path: &str, segments: usize) -> &str {
    let before: usize =
        path.split('/').skip(1).take(segments).map(|segment| segment.len() + 1).sum();
    match path.get(before..) {
        Some(rest) if rest.starts_with('/') => rest,
        _ => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::decode::decode_value;

    #[test]
    fn paths_are_decoded_up_to_slash_and_percent() {
        for (path, expected) in [
            ("/a/b", Ok("/a/b")),
            ("/a%20b", Ok("/a b")),
            ("/%e6%97%a5", Ok("/日")),
            ("/a%2fb/c%2Fd", Ok("/a%2Fb/c%2Fd")),
            ("/100%25", Ok("/100%25")),
            ("/%252F", Ok("/%252F")),
            ("/%", Err(BadEncoding)),
            ("/%2", Err(BadEncoding)),
            ("/%zz", Err(BadEncoding)),
            ("/%+1", Err(BadEncoding)),
            ("/%ff", Err(BadEncoding)),
        ] {
            assert_eq!(canonical(path).as_deref(), expected.as_ref().map(|s| *s), "{path}");
        }
    }

    #[test]
    fn values_are_decoded_once() {
        for (encoded, value) in
            [("/a%2Fb", "/a/b"), ("/100%25", "/100%"), ("/%252F", "/%2F"), ("/%25252F", "/%252F")]
        {
            let path = canonical(encoded).unwrap();
            assert_eq!(decode_value(&path), value, "{encoded}");
        }
    }

    #[test]
    fn patterns_are_checked_and_the_error_says_what_to_change() {
        for (pattern, expected) in [
            ("/", Ok("/")),
            ("/a/", Ok("/a/")),
            ("/a.b/a+b/(x|y)/a b/日本", Ok("/a.b/a+b/(x|y)/a b/日本")),
            ("/a%20b", Ok("/a b")),
            ("/%7Bx}}", Ok("/{{x}}")),
            ("/{id}/f-{n}.png/{*rest}", Ok("/{id}/f-{n}.png/{*rest}")),
            ("a", Err("write `/a`")),
            ("", Err("starts with a slash")),
            ("/a//b", Err("instead of `//`")),
            ("/:id", Err("is written `{id}`, not `:id` (for a literal `:` write `%3A`)")),
            ("/:", Err("is written `{name}`")),
            (r"/:id(\d+)", Err("parameter is written `{id}`")),
            ("/:path(.*)", Err("catch-all is written `{*path}`")),
            ("/:id*", Err("catch-all is written `{*id}`, not `:id*`")),
            ("/:id+", Err("catch-all is written `{*id}`")),
            ("/:id.json", Err("parameter is written `{id}`")),
            ("/{id}*", Err("catch-all is written `{*id}`, not `{id}*` (for a literal `*`")),
            ("/{id}+", Err("catch-all is written `{*id}`")),
            ("/{id*}", Err("catch-all is written `{*id}`")),
            ("/{**rest}", Err("catch-all is written `{*rest}`")),
            ("/{rest...}", Err("catch-all is written `{*rest}`")),
            (
                "/[id]",
                Err("parameter is written `{id}`, not `[id]` (for a literal `[` write `%5B`)"),
            ),
            ("/[user-id]", Err("parameter is written `{user_id}`")),
            ("/[...slug]", Err("catch-all is written `{*slug}`")),
            ("/[[...slug]]", Err("catch-all is written `{*slug}`")),
            (
                "/<id>",
                Err("parameter is written `{id}`, not `<id>` (for a literal `<` write `%3C`)"),
            ),
            ("/<int:id>", Err("parameter is written `{id}`")),
            ("/%5Bid%5D/%3Cid%3E/[]/a[0]/<", Ok("/[id]/<id>/[]/a[0]/<")),
            ("/*", Err("is written `{*rest}`")),
            ("/{id", Err("don't match")),
            ("/id}", Err("don't match")),
            ("/users/{id}?", Err("can't be optional")),
            ("/users/{id?}", Err("can't be optional")),
            ("/users/:id?", Err("can't be optional")),
            ("/users/all?", Err("a literal one write `%3F`")),
            ("/users?all", Err("a literal one write `%3F`")),
            ("/users?page={page}", Err("a literal one write `%3F`")),
            ("/users#all", Err("a literal one write `%23`")),
            ("/what%3F/%23", Ok("/what?/#")),
            ("/{}", Err("is no name")),
            (r"/{id:\d+}", Err("is no name")),
            ("/{a}-{b}", Err("two parameters in one segment")),
            ("/{a}/{a}", Err("stands twice")),
            ("/{*rest}/x", Err("must be the last segment")),
            ("/x-{*rest}", Err("takes a whole segment")),
            ("/%zz", Err("invalid percent-encoding")),
        ] {
            match (Pattern::parse(pattern), expected) {
                (Ok(found), Ok(text)) => assert_eq!(found.text, text, "{pattern}"),
                (Err(found), Err(text)) => assert!(found.contains(text), "{pattern}: {found}"),
                (found, _) => panic!("{pattern}: {found:?}"),
            }
        }
    }

    #[test]
    fn shapes_forget_names() {
        let shape = |pattern| Pattern::parse(pattern).unwrap().shape();
        assert_eq!(shape("/a/{x}/f-{y}.png/{*z}"), "/a/{}/f-{}.png/{*}");
        assert_eq!(shape("/{{x}}"), "/{{x}}");
    }

    #[test]
    fn the_rest_of_a_path_begins_with_a_slash() {
        for (path, segments, rest) in [
            ("/a/b/c", 0, "/a/b/c"),
            ("/a/b/c", 1, "/b/c"),
            ("/a/%2F/c/", 2, "/c/"),
            ("/a", 1, "/"),
            ("/a/", 1, "/"),
            ("/a", 3, "/"),
            ("*", 0, "/"),
            ("", 1, "/"),
        ] {
            assert_eq!(rest_after(path, segments), rest, "{path}");
        }
    }
}
