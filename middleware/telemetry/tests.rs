use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

const ID: &str = "12345678901234567890123456789012";

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        headers.append(name, value);
    }
    headers
}

fn of(fields: &[(&'static str, &str)]) -> Option<String> {
    TraceContext::of(&headers(fields)).map(|context| context.to_string())
}

/// The rules of section 3.2 of the specification, and the cases of its test harness.
#[test]
fn a_traceparent_is_read_as_the_specification_says() {
    let sampled = Some("00-12345678901234567890123456789012-1234567890123456-01");
    let not_sampled = Some("00-12345678901234567890123456789012-1234567890123456-00");
    for (value, expected) in [
        ("00-12345678901234567890123456789012-1234567890123456-01", sampled),
        ("00-12345678901234567890123456789012-1234567890123456-00", not_sampled),
        (" \t00-12345678901234567890123456789012-1234567890123456-01\t ", sampled),
        // Unknown flags are cleared, that of a random id is kept.
        ("00-12345678901234567890123456789012-1234567890123456-fd", sampled),
        (
            "00-12345678901234567890123456789012-1234567890123456-02",
            Some("00-12345678901234567890123456789012-1234567890123456-02"),
        ),
        // Higher versions.
        ("cc-12345678901234567890123456789012-1234567890123456-01", sampled),
        ("01-12345678901234567890123456789012-1234567890123456-00", not_sampled),
        ("fe-12345678901234567890123456789012-1234567890123456-01-what-the-future", sampled),
        ("cc-12345678901234567890123456789012-1234567890123456-01-", sampled),
        ("cc-12345678901234567890123456789012-1234567890123456-01.what-the-future", None),
        ("ff-12345678901234567890123456789012-1234567890123456-01", None),
        // Version 00 ends after the flags.
        ("00-12345678901234567890123456789012-1234567890123456-01.", None),
        ("00-12345678901234567890123456789012-1234567890123456-01-", None),
        ("00-12345678901234567890123456789012-1234567890123456-01-what-the-future", None),
        // Zeros.
        ("00-00000000000000000000000000000000-1234567890123456-01", None),
        ("00-12345678901234567890123456789012-0000000000000000-01", None),
        // Other characters than lower-case digits.
        (".0-12345678901234567890123456789012-1234567890123456-01", None),
        ("0.-12345678901234567890123456789012-1234567890123456-01", None),
        ("00-.2345678901234567890123456789012-1234567890123456-01", None),
        ("00-1234567890123456789012345678901.-1234567890123456-01", None),
        ("00-1234567890123456789012345678901A-1234567890123456-01", None),
        ("CC-12345678901234567890123456789012-1234567890123456-01", None),
        ("00-12345678901234567890123456789012-.234567890123456-01", None),
        ("00-12345678901234567890123456789012-123456789012345.-01", None),
        ("00-12345678901234567890123456789012-1234567890123456-.0", None),
        ("00-12345678901234567890123456789012-1234567890123456-0.", None),
        ("00-12345678901234567890123456789012-1234567890123456-0A", None),
        // Lengths.
        ("0-12345678901234567890123456789012-1234567890123456-01", None),
        ("000-12345678901234567890123456789012-1234567890123456-01", None),
        ("00-1234567890123456789012345678901-1234567890123456-01", None),
        ("00-123456789012345678901234567890123-1234567890123456-01", None),
        ("00-12345678901234567890123456789012-123456789012345-01", None),
        ("00-12345678901234567890123456789012-12345678901234567-01", None),
        ("00-12345678901234567890123456789012-1234567890123456-1", None),
        ("00-12345678901234567890123456789012-1234567890123456-001", None),
        ("00 12345678901234567890123456789012-1234567890123456-01", None),
        ("00-12345678901234567890123456789012-1234567890123456", None),
        ("", None),
        ("00-é2345678901234567890123456789012-1234567890123456-01", None),
    ] {
        assert_eq!(of(&[("traceparent", value)]).as_deref(), expected, "{value}");
    }
    let valid = "00-12345678901234567890123456789012-1234567890123456-01";
    assert_eq!(of(&[("traceparent", valid), ("traceparent", valid)]), None);
    assert_eq!(of(&[("trace-parent", valid)]), None);
    assert_eq!(of(&[("tracestate", "foo=1")]), None);
}

/// Section 3.3 of the specification, and the cases of its test harness.
#[test]
fn a_tracestate_is_read_as_the_specification_says() {
    let state = |lines: &[&str]| {
        let parent = format!("00-{ID}-1234567890123456-00");
        let mut fields = vec![("traceparent", parent.as_str())];
        fields.extend(lines.iter().map(|line| ("tracestate", *line)));
        let context = TraceContext::of(&headers(&fields)).unwrap();
        assert_eq!(context.trace_id().to_string(), ID, "a bad tracestate keeps the traceparent");
        context.state().to_owned()
    };
    let (z256, z257) = ("z".repeat(256), "z".repeat(257));
    let tenant = format!("{}@{}", "t".repeat(241), "v".repeat(14));
    let chars: String = (b' '..=b'~').map(char::from).filter(|c| !",=".contains(*c)).collect();
    for (lines, expected) in [
        (vec!["foo=1,bar=2"], "foo=1,bar=2"),
        (vec!["foo=1", "bar=2,baz=3"], "foo=1,bar=2,baz=3"),
        (vec![" foo=1 \t,\t bar=2 "], "foo=1,bar=2"),
        (vec!["\t foo=1 \t"], "foo=1"),
        (vec!["", "foo=1", ""], "foo=1"),
        (vec!["foo=1,,bar=2,"], "foo=1,bar=2"),
        (vec![""], ""),
        (vec!["foo= 1"], "foo= 1"),
        (vec![&format!("a={chars}")], &format!("a={chars}")),
        // The same key twice: the first one is the newer one.
        (vec!["foo=1,foo=2"], "foo=1"),
        (vec!["foo=1", "foo=2,bar=3"], "foo=1,bar=3"),
        // Keys.
        (vec!["1foo=1"], "1foo=1"),
        (vec!["a_-*/@b@=1"], "a_-*/@b@=1"),
        (vec![&format!("foo=1,{z256}=1")], &format!("foo=1,{z256}=1")),
        (vec![&format!("foo=1,{tenant}=1")], &format!("foo=1,{tenant}=1")),
        (vec![&format!("foo=1,{z257}=1")], ""),
        (vec!["foo =1"], ""),
        (vec!["FOO=1"], ""),
        (vec!["foo.bar=1"], ""),
        (vec!["@foo=1,bar=2"], ""),
        (vec!["_foo=1,bar=2"], ""),
        (vec!["=1"], ""),
        // Values.
        (vec!["foo=bar=baz"], ""),
        (vec!["foo=,bar=3"], ""),
        (vec!["foo"], ""),
        (vec!["foo=é"], ""),
        (vec!["foo=a\tb"], ""),
        (vec![&format!("foo={z256}")], &format!("foo={z256}")),
        (vec![&format!("foo={z257}")], ""),
    ] {
        assert_eq!(state(&lines), expected, "{lines:?}");
    }
    let members = |count: usize| {
        let members: Vec<String> = (1..=count).map(|n| format!("bar{n:02}={n:02}")).collect();
        members.join(",")
    };
    assert_eq!(state(&[&members(32)]), members(32));
    assert_eq!(state(&[&members(33)]), "");
    assert_eq!(state(&[&members(20), &members(13).replace("bar", "foo")]), "");
}

/// Section 3.3.1.5: at most 512 characters, and long members go first.
#[test]
fn a_tracestate_that_is_too_long_loses_whole_members() {
    let state = |text: &str| TraceContext::from_parts([1; 16], [1; 8], 0, text);
    let state = |text: &str| state(text).unwrap().state().to_owned();
    let long = |key: &str, length: usize| format!("{key}={}", "x".repeat(length - key.len() - 1));
    let exact = [long("a", 255), long("b", 256)].join(",");
    assert_eq!((exact.len(), state(&exact)), (512, exact.clone()));
    assert_eq!(state(&[long("a", 256), long("b", 256)].join(",")), long("a", 256));
    let short: Vec<String> = (0..6).map(|n| long(&n.to_string(), 100)).collect();
    assert_eq!(state(&short.join(",")), short[..5].join(","));
    let mixed = [long("long", 129), short.join(",")].join(",");
    assert_eq!(state(&mixed), short[..5].join(","));
    let early = [long("a", 200), short[..4].join(",")].join(",");
    assert_eq!(state(&early), short[..4].join(","));
}

#[test]
fn a_child_keeps_the_trace_and_has_its_own_span() {
    let parent = TraceContext::from_parts([1; 16], [2; 8], 3, "a=1").unwrap();
    let child = parent.child();
    assert_eq!((child.trace_id(), child.flags()), (parent.trace_id(), 3));
    assert_eq!(child.state(), "a=1");
    assert_ne!(child.span_id(), parent.span_id());
    let fields: HeaderMap = child.headers().collect();
    assert_eq!(fields["traceparent"], child.to_string());
    assert_eq!(fields["tracestate"], "a=1");
    assert_eq!(TraceContext::of(&fields), Some(child));
}

#[test]
fn a_new_trace_is_random_and_states_it() {
    let (one, other) = (TraceContext::start(true), TraceContext::start(false));
    assert_ne!(one.trace_id(), other.trace_id());
    assert_eq!((one.flags(), other.flags()), (3, 2));
    assert!(one.is_sampled() && !other.is_sampled());
    let fields: Vec<_> = one.headers().collect();
    assert_eq!(fields.len(), 1, "no empty tracestate is sent");
    assert_eq!(TraceContext::of(&fields.into_iter().collect()), Some(one));
    let ids: std::collections::HashSet<_> =
        (0..10_000).map(|_| TraceContext::start(true).span_id()).collect();
    assert_eq!(ids.len(), 10_000);
}

#[test]
fn parts_that_are_not_valid_are_no_context() {
    let of = TraceContext::from_parts;
    assert_eq!(of([0; 16], [1; 8], 0, ""), None);
    assert_eq!(of([1; 16], [0; 8], 0, ""), None);
    assert_eq!(of([1; 16], [1; 8], 0, "A=1"), None);
    assert_eq!(of([1; 16], [1; 8], 0, "a=1\r\nx: y"), None);
    assert_eq!(of([1; 16], [1; 8], 0xff, "").map(|context| context.flags()), Some(3));
}

#[test]
fn an_id_of_a_caller_is_bounded() {
    let name = HeaderName::from_static("x-request-id");
    let sent = |values: &[&str]| {
        let fields: Vec<_> = values.iter().map(|value| ("x-request-id", *value)).collect();
        RequestId::sent(&headers(&fields), &name).map(|id| id.as_str().to_owned())
    };
    for id in ["a", "550e8400-e29b-41d4-a716-446655440000", "a_b.c:d+e/f=", &"x".repeat(128)] {
        assert_eq!(sent(&[id]).as_deref(), Some(id));
    }
    for id in ["", " ", "a b", "a\"b", "a\\b", "a\tb", "é", "a,b", "a;b", "<a>", &"x".repeat(129)]
    {
        assert_eq!(sent(&[id]), None, "{id:?}");
    }
    assert_eq!(sent(&["a", "a"]), None);
    assert_eq!(sent(&[]), None);
}

proptest::proptest! {
    #[test]
    fn no_input_panics_and_every_context_that_is_read_is_read_again(
        parent in proptest::collection::vec(32_u8..=255, 0..80),
        state in "[a-z0-9=, \\t@_A-Z]{0,200}",
    ) {
        let mut fields = HeaderMap::new();
        if let Ok(parent) = HeaderValue::from_bytes(&parent) {
            fields.insert("traceparent", parent);
        }
        assert_eq!(TraceContext::of(&fields), None);
        fields.insert("traceparent", HeaderValue::from_static("00-12345678901234567890123456789012-1234567890123456-01"));
        fields.insert("tracestate", HeaderValue::try_from(state).unwrap());
        let context = TraceContext::of(&fields).unwrap();
        assert_eq!(TraceContext::of(&context.headers().collect()), Some(context));
    }
}
