//! Prefixes of paths, and how a lenient reader could parse a path.
//!
//! A chain matches a path as the client wrote it. A service in the chain may parse the same path differently: a file
//! server drops empty segments, a URL type removes dot segments, a proxy decodes a second time. This file compares
//! paths under all of these readings at once. `step/around.rs` calls it for `use_at`, `tower/path.rs` for services.

use std::borrow::Cow;

use crate::Request;
use crate::route::pattern::{Pattern, rest_after};

/// The first segments of a path, relative to a scope: `/prefix` covers `/prefix`, `/prefix/` and `/prefix/x`, not
/// `/prefixed`.
#[derive(Debug)]
pub(crate) struct Prefix {
    /// The number of segments of the scope, which are before the prefix.
    depth: usize,
    relative: Box<[Segment]>,
    /// The segments of the scope and of the prefix.
    whole: Box<[Segment]>,
}

#[derive(Clone, Debug)]
enum Segment {
    Literal(Vec<u8>),
    Any,
}

impl Prefix {
    /// A prefix from a pattern whose first `depth` segments are those of the scope. The error states what to change.
    pub(crate) fn new(pattern: &Pattern, depth: usize) -> Result<Self, String> {
        let (mut relative, mut whole) = (Vec::new(), Vec::new());
        let segments = pattern.text.split('/').filter(|segment| !segment.is_empty());
        for (index, segment) in segments.enumerate() {
            let in_scope = index < depth;
            if segment.starts_with("{*") && !in_scope {
                return Err("a prefix has no catch-all: it covers all that is under it".to_owned());
            }
            let literal = segment.replace("{{", "\u{0}").replace("}}", "\u{1}");
            let partial = !(segment.starts_with('{') && segment.ends_with('}'));
            let parsed = match literal.contains('{') {
                true if partial && !in_scope => {
                    return Err(format!(
                        "in a prefix, a parameter takes a whole segment, not a part of `{segment}`"
                    ));
                }
                true => vec![Segment::Any],
                false => {
                    let literal = literal.replace('\u{0}', "{").replace('\u{1}', "}");
                    let literal = decoded(&literal);
                    let pieces = literal.split(|&byte| byte == MAYBE);
                    let pieces = pieces.filter(|piece| !piece.is_empty());
                    pieces.map(|piece| Segment::Literal(piece.to_vec())).collect()
                }
            };
            if !in_scope {
                relative.extend(parsed.iter().cloned());
            }
            whole.extend(parsed);
        }
        if whole.len() > MAX_SEGMENTS {
            return Err(format!("a prefix and its scope have at most {MAX_SEGMENTS} segments"));
        }
        Ok(Self { depth, relative: relative.into(), whole: whole.into() })
    }

    /// Whether a request is under the prefix: by the path that was matched, which decides on the handler, or by the
    /// path that the request has now, which is the one that a service receives.
    pub(crate) fn covers(&self, matched: Option<&str>, req: &Request) -> bool {
        let now = req.uri().path();
        self.covers_path(matched) || (matched != Some(now) && self.could_be_before(now))
    }

    /// Whether a request is under the prefix by the path that was matched alone.
    pub(crate) fn covers_path(&self, matched: Option<&str>) -> bool {
        matched.is_some_and(|path| self.could_be_before(path))
    }

    /// Whether any reader could find a path under the prefix: a service, which receives the rest of the path after its
    /// own, or a handler, which can also read the whole path.
    fn could_be_before(&self, path: &str) -> bool {
        could_begin(rest_after(path, self.depth), &self.relative)
            || (self.depth > 0 && !is_plain(path) && could_begin(path, &self.whole))
    }
}

/// Whether any reader could find that a path begins with these segments.
///
/// The state is a set of numbers, one bit each: how many of the segments the reader may have matched so far. It is a set
/// because readers differ in which pieces of the path they drop, join or resolve.
fn could_begin(path: &str, prefix: &[Segment]) -> bool {
    let all = 1_u64 << prefix.len();
    let mut matched = 1_u64;
    // The same set for a reader that may drop any piece. A `..` drops pieces before it; which ones depends on the reader.
    let mut dropping = 1_u64;
    let raw = path.split('/');
    let path = decoded(path);
    let climbs = path.windows(2).any(|pair| pair == b"..");
    // Decoding adds and removes no slash, so both have the same segments.
    for (raw, segment) in raw.zip(path.split(|&byte| byte == b'/')).skip(1) {
        for (index, piece) in segment.split(|&byte| byte == MAYBE).enumerate() {
            if matched & all != 0 {
                return true;
            }
            if matched == 0 && !climbs {
                return false;
            }
            let (wanted, parameters) = matching(prefix, piece, !raw.is_empty());
            dropping |= (dropping & wanted) << 1;
            matched = match kind(piece) {
                Kind::Parent => dropping,
                Kind::Nothing => matched | (matched & wanted) << 1,
                // For a reader that does not split the path here, the piece continues the value of a parameter.
                Kind::Name if index > 0 => (matched & wanted) << 1 | (matched & parameters << 1),
                Kind::Name => (matched & wanted) << 1,
            };
        }
    }
    matched & all != 0
}

/// The segments of a prefix that a piece of a path matches, and those that are parameters, as sets. A parameter matches a segment that is not
/// empty as the client sent it: `%01` is a value, also if a reader removes control characters.
fn matching(prefix: &[Segment], piece: &[u8], has_value: bool) -> (u64, u64) {
    let (mut wanted, mut parameters) = (0, 0);
    for (index, expected) in prefix.iter().enumerate() {
        let (matches, parameter) = match expected {
            Segment::Any => (has_value, 1),
            Segment::Literal(literal) => {
                let rest = piece.strip_prefix(literal.as_slice());
                (rest.is_some_and(|rest| rest.first().is_none_or(|next| END.contains(next))), 0)
            }
        };
        wanted |= u64::from(matches) << index;
        parameters |= parameter << index;
    }
    (wanted, parameters)
}

/// Whether all readers agree on the segments of a path.
fn is_plain(path: &str) -> bool {
    !path.contains(['%', '\\', ';']) && !path.contains("/.") && !path.contains("//")
}

/// Whether a reader could resolve a path to one outside of its first `depth` segments, which are those of a service.
pub(crate) fn could_leave(path: &str, depth: usize) -> bool {
    if is_plain(path) {
        return false;
    }
    let path = decoded(path);
    let mut segments = path.split(|&byte| byte == b'/').skip(1);
    let pieces = |segment| <[u8]>::split(segment, |&byte| byte == MAYBE).map(kind);
    // If a reader drops one of the first segments, a later one takes its position.
    let dropped = |segment| {
        pieces(segment).all(|kind| kind == Kind::Nothing)
            || pieces(segment).any(|kind| kind == Kind::Parent)
    };
    if segments.by_ref().take(depth).any(dropped) {
        return true;
    }
    // The least number of segments that a reader could have at this point.
    let mut level = 0_usize;
    for segment in segments {
        // A reader may not split the path between names of one segment, so they count as one.
        let mut joined = false;
        for kind in pieces(segment) {
            match kind {
                Kind::Nothing => {}
                Kind::Name => {
                    level += usize::from(!joined);
                    joined = true;
                }
                Kind::Parent if level == 0 => return true,
                Kind::Parent => {
                    level -= 1;
                    joined = false;
                }
            }
        }
    }
    false
}

/// Decodes a path until nothing is left to decode. A slash of the path itself stays a slash; an encoded slash and a
/// backslash, which are separators only to some readers, become [`MAYBE`].
///
/// URL types remove tabs and newlines; all encoded control characters except NUL are removed here.
fn decoded(path: &str) -> Cow<'_, [u8]> {
    if !path.contains('%') {
        return Cow::Borrowed(path.as_bytes());
    }
    let mut out = Vec::with_capacity(path.len());
    for byte in path.bytes() {
        out.push(byte);
        // A decoded byte may complete another encoding: `%252e` becomes `%2e`, and then a dot.
        while let [.., b'%', high, low] = out[..]
            && let Some(high) = char::from(high).to_digit(16)
            && let Some(low) = char::from(low).to_digit(16)
        {
            out.truncate(out.len() - 3);
            match (high * 16 + low) as u8 {
                b'/' => out.push(MAYBE),
                0x01..=0x1f | 0x7f => {}
                value => out.push(value),
            }
        }
    }
    Cow::Owned(out)
}

/// The meaning of a piece of a path to a reader that resolves dot segments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    /// An empty piece or a single dot.
    Nothing,
    Parent,
}

fn kind(piece: &[u8]) -> Kind {
    match piece.split(|byte| END.contains(byte)).next() {
        Some(b"..") => Kind::Parent,
        Some(b"" | b".") | None => Kind::Nothing,
        Some(_) => Kind::Name,
    }
}

/// Marks, in a decoded path, a separator that only some readers accept. A valid URL contains no backslash otherwise.
const MAYBE: u8 = b'\\';

/// A reader may end a name at these: parameters of a segment, the end of a C string, the query and the fragment.
const END: [u8; 4] = [b';', 0, b'?', b'#'];

/// A set of the numbers from 0 to 63 fits into 64 bits.
const MAX_SEGMENTS: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_whole_segments() {
        let prefix =
            |pattern, depth| Prefix::new(&Pattern::parse(pattern).unwrap(), depth).unwrap();
        for (path, expected) in [
            ("/m/a/1", true),
            ("/m/a/1/", true),
            ("/m/a/1/x", true),
            ("/m/a", false),
            ("/m/a/", false),
            ("/m/ab/1", false),
            ("/a/1", false),
            ("/m", false),
            ("", false),
            ("*", false),
        ] {
            assert_eq!(prefix("/m/a/{id}", 1).could_be_before(path), expected, "{path}");
        }
        assert!(prefix("/", 0).could_be_before("/anything"));
    }

    #[test]
    fn a_path_is_decoded_until_nothing_is_left() {
        for (path, expected) in [
            ("/a%20b", "/a b"),
            ("/%61%6D", "/am"),
            ("/%252525252e", "/."),
            ("/%25%32%65", "/."),
            ("/%2%35e", "/%e"),
            ("/%2%0Ae", "/."),
            ("/a%2Fb%5Cc", r"/a\b\c"),
            ("/%zz%", "/%zz%"),
            ("/%00", "/\0"),
        ] {
            assert_eq!(String::from_utf8_lossy(&decoded(path)), expected, "{path}");
        }
    }
}
