//! `express-rate-limit` with equal settings on the same requests. `express.tsv` lists each difference of a status or of a header field, and its reason.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tower_chain::extract::{ForwardedHeader, PeerAddr, TrustedProxies};
use tower_chain::middleware::rate_limit::{LimitClock, LimitHeaders, LimitKey, Policy, Quota};
use tower_chain::{Body, Chain, RateLimit, Request};

/// The same limit on both sides, and the requests.
struct Case {
    name: &'static str,
    express: Value,
    ours: RateLimit,
    /// When each request is made, in milliseconds, by which client, and for which path.
    requests: Vec<(u64, &'static str, &'static str)>,
}

const MINUTE: Duration = Duration::from_secs(60);
const ALICE: &str = "192.0.2.1";

fn cases() -> Vec<Case> {
    let window = |limit| Quota::new(limit, MINUTE).fixed_window();
    let named = |limit| RateLimit::new(Policy::new(format!("{limit}-in-1min"), window(limit)));
    let draft = |headers: &str, legacy: bool| json!({ "windowMs": 60_000, "limit": 3, "standardHeaders": headers, "legacyHeaders": legacy });
    let of = |client| move |at| (at, client, "/");
    let times = [0, 500, 1_000, 1_500, 59_000, 59_999, 61_000, 61_000, 125_000];
    let timeline = || times.map(of(ALICE)).to_vec();
    vec![
        Case {
            name: "draft 8",
            express: draft("draft-8", false),
            ours: named(3),
            requests: timeline(),
        },
        Case {
            name: "draft 7",
            express: draft("draft-7", false),
            ours: named(3).headers([LimitHeaders::Draft7]),
            requests: timeline(),
        },
        Case {
            name: "draft 6",
            express: draft("draft-6", false),
            ours: named(3).headers([LimitHeaders::Draft6]),
            requests: timeline(),
        },
        Case {
            name: "X-RateLimit",
            express: json!({ "windowMs": 60_000, "limit": 3, "standardHeaders": false, "legacyHeaders": true }),
            ours: named(3).headers([LimitHeaders::XRateLimitDelta]),
            requests: timeline(),
        },
        Case {
            name: "a burst and a drip",
            express: draft("draft-6", false),
            ours: RateLimit::new(Policy::new("3-in-1min", Quota::new(3, MINUTE)))
                .headers([LimitHeaders::Draft6]),
            requests: [0, 0, 0, 0, 20_000, 40_000, 60_000, 60_000].map(of(ALICE)).to_vec(),
        },
        Case {
            name: "no header fields",
            express: json!({ "windowMs": 60_000, "limit": 1, "standardHeaders": false, "legacyHeaders": false }),
            ours: named(1).headers([]),
            requests: vec![(0, ALICE, "/"), (10, ALICE, "/")],
        },
        Case {
            name: "failures count",
            express: json!({ "windowMs": 60_000, "limit": 2, "standardHeaders": "draft-6", "legacyHeaders": false, "skipSuccessfulRequests": true }),
            ours: named(2).headers([LimitHeaders::Draft6]).count_failures(),
            requests: ["200", "401", "200", "401", "200", "401"]
                .map(|status| (0, ALICE, status))
                .to_vec(),
        },
        Case {
            name: "successes count",
            express: json!({ "windowMs": 60_000, "limit": 2, "standardHeaders": "draft-6", "legacyHeaders": false, "skipFailedRequests": true }),
            ours: named(2).headers([LimitHeaders::Draft6]).count_successes(),
            requests: ["500", "200", "404", "200", "500"].map(|status| (0, ALICE, status)).to_vec(),
        },
        Case {
            name: "networks of IPv6",
            express: json!({ "windowMs": 60_000, "limit": 1, "standardHeaders": "draft-6", "legacyHeaders": false, "ipv6Subnet": 56 }),
            ours: named(1).headers([LimitHeaders::Draft6]).key(LimitKey::client().ipv6_prefix(56)),
            requests: [
                "2001:db8:0:100::1",
                "2001:db8:0:1ff::2",
                "2001:db8:0:200::1",
                "::ffff:192.0.2.1",
                ALICE,
            ]
            .map(|client| (0, client, "/"))
            .to_vec(),
        },
        Case {
            name: "networks of IPv6 by default",
            express: json!({ "windowMs": 60_000, "limit": 1, "standardHeaders": "draft-6", "legacyHeaders": false }),
            ours: named(1).headers([LimitHeaders::Draft6]),
            requests: ["2001:db8:0:100::1", "2001:db8:0:1ff::2"]
                .map(|client| (0, client, "/"))
                .to_vec(),
        },
        Case {
            name: "skipped",
            express: json!({ "windowMs": 60_000, "limit": 1, "standardHeaders": "draft-6", "legacyHeaders": false, "skipPath": "/health" }),
            ours: named(1)
                .headers([LimitHeaders::Draft6])
                .skip(|req| req.uri().path() == "/health"),
            requests: ["/health", "/", "/", "/health"].map(|path| (0, ALICE, path)).to_vec(),
        },
        Case {
            name: "a status of one's own",
            express: json!({ "windowMs": 60_000, "limit": 1, "standardHeaders": "draft-6", "legacyHeaders": false, "statusCode": 420 }),
            ours: named(1)
                .headers([LimitHeaders::Draft6])
                .reject(|_, _| StatusCode::from_u16(420).unwrap()),
            requests: vec![(0, ALICE, "/"), (0, ALICE, "/")],
        },
        Case {
            name: "a client that goes on",
            express: draft("draft-6", false),
            ours: named(3).headers([LimitHeaders::Draft6]),
            requests: (0..150).map(|at| (at * 1_000, ALICE, "/")).collect(),
        },
    ]
}

/// The status and the header fields of a response.
type Seen = BTreeMap<String, String>;

fn path(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/?status={path}") }
}

fn ours(case: Case) -> Vec<Seen> {
    let clock = LimitClock::fake();
    // Noon, as for the other side.
    clock.advance(Duration::from_secs(20_458 * 86_400 + 43_200));
    let proxies = TrustedProxies::cidrs(ForwardedHeader::XForwardedFor, ["10.0.0.1/32"]).unwrap();
    let status = async |req: Request| {
        let query = req.uri().query().and_then(|query| query.strip_prefix("status="));
        query.map_or(StatusCode::OK, |status| status.parse().unwrap())
    };
    let limit = case.ours.clock(clock.clone()).trusted_proxies(proxies);
    let service = Chain::new().always(limit).get(status).build();
    let mut now = 0;
    let mut seen = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (at, client, to) in case.requests {
        clock.advance(Duration::from_millis(at - now));
        now = at;
        let peer: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        let req = http::Request::get(path(to)).header("x-forwarded-for", client);
        let req = req.extension(PeerAddr(peer)).body(Body::empty()).unwrap();
        let response = runtime.block_on(service.handle(req));
        let mut fields = Seen::from([("status".to_owned(), response.status().as_str().to_owned())]);
        for (name, value) in response.headers() {
            if name.as_str().contains("ratelimit") || name == "retry-after" {
                fields.insert(name.to_string(), value.to_str().unwrap().to_owned());
            }
        }
        seen.push(fields);
    }
    seen
}

fn theirs(cases: &[Case]) -> BTreeMap<String, Vec<Seen>> {
    let cases: Vec<_> = cases
        .iter()
        .map(|case| {
            let requests = case.requests.iter().map(|(at, client, to)| {
                json!({ "at": at, "client": client, "path": path(to), "headers": {} })
            });
            json!({
                "name": case.name,
                "express": case.express,
                "requests": requests.collect::<Vec<_>>(),
            })
        })
        .collect();
    let output = super::node("express.mjs", &Value::from(cases).to_string());
    let mut seen = BTreeMap::<String, Vec<Seen>>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let fields = line["fields"].as_object().unwrap();
        let mut fields: Seen =
            fields.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        fields.insert("status".to_owned(), line["status"].to_string());
        seen.entry(text(&line["case"])).or_default().push(fields);
    }
    seen
}

/// Each difference: the case, the field, how many of its responses differ, and the first of them on both sides.
fn differences() -> Vec<[String; 5]> {
    let theirs = theirs(&cases());
    let mut found = Vec::new();
    for case in cases() {
        let (name, count) = (case.name, case.requests.len());
        let (ours, theirs) = (ours(case), &theirs[name]);
        assert_eq!((ours.len(), theirs.len()), (count, count), "{name}");
        let fields = ours.iter().chain(theirs).flat_map(BTreeMap::keys);
        let fields: std::collections::BTreeSet<&String> = fields.collect();
        for field in fields {
            let value = |seen: &Seen| seen.get(field).map_or("-", |value| value).to_owned();
            let pairs = theirs.iter().zip(&ours).map(|(theirs, ours)| (value(theirs), value(ours)));
            let pairs: Vec<_> = pairs.filter(|(theirs, ours)| theirs != ours).collect();
            if let Some((theirs, ours)) = pairs.first() {
                let differ = format!("{} of {count}", pairs.len());
                found.push([name.to_owned(), field.clone(), differ, theirs.clone(), ours.clone()]);
            }
        }
    }
    found
}

#[test]
#[cfg_attr(not(node), ignore = "install node 20 and npm to run this test")]
fn every_difference_to_express_rate_limit_is_listed_with_its_reason() {
    let listed: Vec<Vec<&str>> = include_str!("express.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect();
    assert!(listed.iter().all(|row| row.len() == 6 && row[5].len() > 20), "a row has no reason");
    let found = differences();
    let listed: Vec<Vec<&str>> = listed.into_iter().map(|row| row[..5].to_vec()).collect();
    let mut rows = String::new();
    for row in &found {
        let _ = writeln!(rows, "{}", row.join("\t"));
    }
    assert!(found.iter().map(|row| row.to_vec()).eq(listed), "the differences are now:\n{rows}");
}
