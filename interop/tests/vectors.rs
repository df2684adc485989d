//! Files of other projects: JSON texts, forms and cookies, and what a parser makes of them.

use std::fs;
use std::path::Path;

use http::Request;
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use tower_chain::{Body, Chain, ChainService, Form, Json, Provided, Query, TestClient};

async fn send(chain: &ChainService, req: Request<Body>) -> (u16, Vec<u8>) {
    let response = chain.clone().oneshot(req).await.unwrap();
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

fn names(folder: &Path, end: &str) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<String> =
        files.filter_map(|name| Some(name.to_str()?.strip_suffix(end)?.to_owned())).collect();
    names.sort();
    names
}

/// nst/JSONTestSuite: `y_` must be accepted, `n_` refused, and `i_` may be either.
#[tokio::test]
#[cfg_attr(
    not(json_test_suite),
    ignore = "set TOWER_CHAIN_VECTORS to the folder of the test vectors, see CONTRIBUTING.md"
)]
async fn json_test_suite_agrees() {
    let folder = Path::new(option_env!("JSON_TEST_SUITE").unwrap_or_default());
    let chain = Chain::new().post(async |Json(value): Json<Value>| Json(value)).build();
    let names = names(folder, ".json");
    assert_eq!(names.len(), 318);
    for name in names {
        let text = fs::read(folder.join(format!("{name}.json"))).unwrap();
        let req = Request::post("/").header("content-type", "application/json");
        let (status, answer) = send(&chain, req.body(Body::from(text)).unwrap()).await;
        let expected: &[u16] = match name.as_bytes()[0] {
            b'y' => &[200],
            b'n' => &[400],
            _ => &[200, 400, 422],
        };
        assert!(
            expected.contains(&status),
            "{name}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
    }
}

/// web-platform-tests, `url/resources/urlencoded-parser-data.json`.
#[tokio::test]
#[cfg_attr(
    not(urlencoded),
    ignore = "set TOWER_CHAIN_VECTORS to the folder of the test vectors, see CONTRIBUTING.md"
)]
async fn forms_and_queries_are_parsed_as_browsers_do() {
    let folder = Path::new(option_env!("URLENCODED").unwrap_or_default());
    let chain = Chain::new()
        .get(async |Query(pairs): Query<Vec<(String, String)>>| Json(pairs))
        .post(async |Form(pairs): Form<Vec<(String, String)>>| Json(pairs))
        .build();
    let cases: Vec<Value> =
        serde_json::from_slice(&fs::read(folder.join("urlencoded-parser-data.json")).unwrap())
            .unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        let input = case["input"].as_str().unwrap();
        let post = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
        let mut requests = vec![post.body(Body::from(input.to_owned())).unwrap()];
        if input.is_ascii() {
            requests.push(Request::get(format!("/?{input}")).body(Body::empty()).unwrap());
        }
        for req in requests {
            let (status, answer) = send(&chain, req).await;
            // Bytes that are not UTF-8 are refused, and not replaced: a value must not change on its way.
            if case["output"].to_string().contains('\u{fffd}') {
                assert_eq!(status, 400, "{input}");
                continue;
            }
            assert_eq!(status, 200, "{input}");
            assert_eq!(
                serde_json::from_slice::<Value>(&answer).unwrap(),
                case["output"],
                "{input}"
            );
        }
    }
}

/// abarth/http-state, `tests/data/parser`: which cookies a client returns to the path of each test. The extractor `Cookies` must then read what
/// was sent.
#[tokio::test]
#[cfg_attr(
    not(http_state),
    ignore = "set TOWER_CHAIN_VECTORS to the folder of the test vectors, see CONTRIBUTING.md"
)]
async fn cookies_are_stored_as_http_state_expects() {
    let folder = Path::new(option_env!("HTTP_STATE").unwrap_or_default());
    let mut names = names(folder, "-test");
    names.retain(|name| !name.starts_with("disabled-"));
    assert_eq!(names.len(), 218);
    let mut differ = Vec::new();
    for name in names {
        let set = fs::read(folder.join(format!("{name}-test"))).unwrap();
        let expected = fs::read(folder.join(format!("{name}-expected"))).unwrap();
        let mut fields = HeaderMap::new();
        let mut target = format!("/cookie-parser-result?{name}");
        for line in set.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(value) = line.strip_prefix(b"Set-Cookie:") {
                if let Ok(value) = HeaderValue::from_bytes(value.trim_ascii()) {
                    fields.append(SET_COOKIE, value);
                }
            } else if let Some(value) = line.strip_prefix(b"Location:") {
                let url = String::from_utf8_lossy(value.trim_ascii()).into_owned();
                let (_, rest) = url.split_once("//").unwrap_or(("", &url));
                target = rest.find('/').map_or(url.clone(), |at| rest[at..].to_owned());
            }
        }
        let client = TestClient::new(
            Chain::new()
                .provide(fields)
                .at("/cookie-parser", |c| {
                    c.get(async |Provided(fields): Provided<HeaderMap>| fields)
                })
                .all(async |headers: HeaderMap| {
                    headers.get(COOKIE).map(|v| v.as_bytes().to_vec()).unwrap_or_default()
                })
                .build(),
        )
        .cookie_jar();
        client.get(&format!("/cookie-parser?{name}")).send().await;
        let found = client.get(&target).send().await;
        let expected = expected.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let expected = expected.strip_prefix(b"Cookie:").unwrap_or_default().trim_ascii();
        if found.bytes() != expected {
            differ.push(name);
        }
    }
    let waived = WAIVED.iter().flat_map(|(names, _)| names.split(' ')).collect::<Vec<_>>();
    let unexplained: Vec<_> = differ.iter().filter(|name| !waived.contains(&&***name)).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    assert_eq!(differ.len(), waived.len(), "a waived case agrees now: {differ:?}");
}

/// Cases of http-state whose result differs, with the reason.
const WAIVED: &[(&str, &str)] = &[
    (
        "0010 attribute0001 attribute0002 attribute0004 attribute0005 attribute0007 attribute0008 attribute0009 attribute0010 attribute0011 \
         attribute0012 attribute0013 attribute0025 attribute0026",
        "Secure: a client in process has no scheme, and sends these cookies as over HTTPS",
    ),
    (
        "domain0002 domain0006 domain0007 domain0010 domain0011 domain0013 domain0014 domain0015 domain0016 domain0017 domain0018 domain0021 \
         domain0024 domain0027 domain0028 domain0029 domain0034 domain0037 domain0041 domain0042 mozilla0011 optional-domain0042 \
         optional-domain0043 ordering0001",
        "Domain: a client is for one host, and ignores it",
    ),
    ("0002 comma0006", "Expires is in 2019, which has passed since the tests were written"),
];
