//! Routing compared with a simple reference implementation: random tables, random paths.

use std::collections::{BTreeMap, BTreeSet};

use super::support::{ask, header, text};
use http::Method;
use proptest::prelude::*;
use tower_chain::Chain;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "HEAD", "OPTIONS"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    Param,
    CatchAll,
}

/// A pattern, and the methods that have handlers. `None`: every method.
type Table = BTreeMap<Vec<Segment>, BTreeSet<Option<usize>>>;

fn literal() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "a.b", "a b", "ü", "100%", "x+y"])
        .prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = Vec<Segment>> {
    let segment = prop_oneof![3 => literal().prop_map(Segment::Literal), 2 => Just(Segment::Param)];
    (prop::collection::vec(segment, 0..4), prop::bool::weighted(0.2)).prop_map(
        |(mut segments, rest)| {
            if rest {
                segments.push(Segment::CatchAll);
            }
            segments
        },
    )
}

fn table() -> impl Strategy<Value = Table> {
    let methods = prop::collection::btree_set(prop::option::weighted(0.9, 0..3_usize), 1..3);
    prop::collection::btree_map(pattern(), methods, 0..12)
}

/// Generates mostly paths that resemble the patterns, with values that need encoding.
fn path() -> impl Strategy<Value = (Vec<String>, bool)> {
    let value = prop_oneof![4 => literal(), 1 => Just("a/b".to_owned()), 1 => Just("z".to_owned())];
    (prop::collection::vec(value, 0..5), any::<bool>())
}

fn write_pattern(segments: &[Segment]) -> String {
    let mut text = String::new();
    for (i, segment) in segments.iter().enumerate() {
        text.push('/');
        match segment {
            Segment::Literal(literal) => text.push_str(&literal.replace('%', "%25")),
            Segment::Param => text.push_str(&format!("{{p{i}}}")),
            Segment::CatchAll => text.push_str("{*rest}"),
        }
    }
    if text.is_empty() { "/".to_owned() } else { text }
}

fn write_path(segments: &[String], slash: bool) -> String {
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        for byte in segment.bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'.' | b'+' => text.push(char::from(byte)),
                byte => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    if slash || text.is_empty() {
        text.push('/');
    }
    text
}

/// Whether a pattern without catch-all matches.
fn matches(pattern: &[Segment], path: &[String]) -> bool {
    pattern.len() == path.len()
        && pattern.iter().zip(path).all(|(segment, value)| match segment {
            Segment::Literal(literal) => literal == value,
            _ => true,
        })
}

/// The pattern that answers: of those that match, the first by literal, parameter, catch-all, segment by segment from the left.
fn winner<'t>(table: &'t Table, path: &[String]) -> Option<&'t Vec<Segment>> {
    let matching = |pattern: &&Vec<Segment>| match pattern.split_last() {
        // `/a/` leaves nothing for the rest of `/a/{*rest}`; `/a/b/` does.
        Some((Segment::CatchAll, prefix)) => {
            path.len() > prefix.len() && matches(prefix, &path[..prefix.len()])
        }
        _ => matches(pattern, path),
    };
    table.keys().filter(matching).min()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_path_is_answered_as_the_oracle_says(table in table(), paths in prop::collection::vec(path(), 1..12), order in any::<u64>()) {
        let mut rows: Vec<_> = table.iter().collect();
        // The order of registration must not matter.
        rows.sort_by_key(|(pattern, _)| {
            pattern.iter().fold(order, |hash, segment| hash.wrapping_mul(31).rotate_left(7) ^ write_pattern(std::slice::from_ref(segment)).len() as u64)
        });
        let mut chain = Chain::new().at("/never/never/never/never/never/never", |c| c.get(async || ""));
        for (pattern, methods) in rows {
            let text = write_pattern(pattern);
            for method in methods.iter().rev() {
                let name = format!("{text} {}", method.map_or("ALL", |method| METHODS[method]));
                let handler = move || std::future::ready(name.clone());
                chain = match method {
                    Some(method) => chain.at(&text, |c| c.on(Method::from_bytes(METHODS[*method].as_bytes()).unwrap(), handler)),
                    None => chain.at(&text, |c| c.all(handler)),
                };
            }
        }
        let service = chain.build();
        for (segments, slash) in paths {
            let path = write_path(&segments, slash);
            for method in METHODS {
                let response = ask(&service, method, &path);
                let Some(pattern) = winner(&table, &segments) else {
                    prop_assert_eq!(response.status().as_u16(), 404, "{} {}", method, path);
                    continue;
                };
                let methods = &table[pattern];
                let named: BTreeSet<&str> = methods.iter().flatten().map(|method| METHODS[*method]).collect();
                let text_of = write_pattern(pattern);
                let by = if named.contains(method) {
                    Some(method)
                } else if method == "HEAD" && named.contains("GET") {
                    Some("GET")
                } else if methods.contains(&None) {
                    Some("ALL")
                } else {
                    None
                };
                match by {
                    Some(by) => {
                        prop_assert_eq!(response.status().as_u16(), 200, "{} {}", method, path);
                        let expected = if method == "HEAD" { String::new() } else { format!("{text_of} {by}") };
                        prop_assert_eq!(text(response), expected, "{} {}", method, path);
                    }
                    None => {
                        let mut allow = named.clone();
                        allow.insert("OPTIONS");
                        if named.contains("GET") {
                            allow.insert("HEAD");
                        }
                        let allow: Vec<&str> = allow.into_iter().collect();
                        let expected = if method == "OPTIONS" { 204 } else { 405 };
                        prop_assert_eq!(response.status().as_u16(), expected, "{} {}", method, path);
                        prop_assert_eq!(header(&response, "allow"), allow.join(", "), "{} {}", method, path);
                    }
                }
            }
        }
    }

    #[test]
    fn no_path_and_no_method_panics(path in "(/|%|[a-z]|%2F|\\{|\\}|\\*|:|ü){0,12}", method in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}") {
        let service = Chain::new()
            .use_at("/{a}", async |next: tower_chain::Next<'_>| next.run().await)
            .at("/{a}/b", |c| c.get(async || ""))
            .at("/{*rest}", |c| c.post(async || ""))
            .mount("/m/{x}", Chain::new().always(async |next: tower_chain::Next<'_>| next.run().await))
            .build();
        if let Ok(uri) = format!("/{path}").parse::<http::Uri>() {
            let mut req = super::support::request("GET", "/");
            *req.uri_mut() = uri;
            *req.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
            let response = super::support::now(service.handle(req));
            prop_assert!(response.status().as_u16() < 500);
        }
    }
}
