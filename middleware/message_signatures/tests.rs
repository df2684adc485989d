use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Version};
use http_body_util::BodyExt;
use sfv::{InnerList, ListEntry, Parser};
use tower::ServiceExt;

use super::*;
use crate::extract::MaxBody;
use crate::test_log::Log;
use crate::{Chain, ChainService};

/// RFC 9421, B.1.1 to B.1.5.
const RSA: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAhAKYdtoeoy8zcAcR874L8cnZxKzAGwd7v36APp7Pv6Q2jdsPBRrw
WEBnez6d0UDKDwGbc6nxfEXAy5mbhgajzrw3MOEt8uA5txSKobBpKDeBLOsdJKFq
MGmXCQvEG7YemcxDTRPxAleIAgYYRjTSd/QBwVW9OwNFhekro3RtlinV0a75jfZg
kne/YiktSvLG34lw2zqXBDTC5NHROUqGTlML4PlNZS5Ri2U4aCNx2rUPRcKIlE0P
uKxI4T+HIaFpv8+rdV6eUgOrB2xeI1dSFFn/nnv5OoZJEIB+VmuKn3DCUcCZSFlQ
PSXSfBDiUGhwOw76WuSSsf1D4b/vLoJ10wIDAQAB
-----END RSA PUBLIC KEY-----";
const RSA_PSS: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----";
const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----";
const ED25519_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----";
const SECRET: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";

/// When the examples of the RFC were signed.
const NOW: u64 = 1_618_884_475;

const BODY: &str = r#"{"hello": "world"}"#;
const SHA512: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

fn at(seconds: u64) -> impl Fn() -> SystemTime + Send + Sync + 'static {
    move || UNIX_EPOCH + Duration::from_secs(seconds)
}

/// With the keys of the RFC.
fn signatures(origin: &str) -> MessageSignatures {
    let key = |algorithm, key: &[u8]| VerifyingKey::new(algorithm, key).unwrap();
    MessageSignatures::new(origin)
        .unwrap()
        .key("test-key-rsa", key(SignatureAlgorithm::RsaV15Sha256, RSA.as_bytes()))
        .unwrap()
        .key("test-key-rsa-pss", key(SignatureAlgorithm::RsaPssSha512, RSA_PSS.as_bytes()))
        .unwrap()
        .key("test-key-ecc-p256", key(SignatureAlgorithm::EcdsaP256Sha256, P256.as_bytes()))
        .unwrap()
        .key("test-key-ed25519", key(SignatureAlgorithm::Ed25519, ED25519.as_bytes()))
        .unwrap()
        .key(
            "test-shared-secret",
            key(SignatureAlgorithm::HmacSha256, &STANDARD.decode(SECRET).unwrap()),
        )
        .unwrap()
        .clock(at(NOW))
}

/// Accepts whatever the signature covers.
fn lenient(origin: &str) -> MessageSignatures {
    let signatures = signatures(origin).cover([""; 0]).unwrap().unsigned_body();
    signatures.max_age(Duration::from_secs(600)).unwrap()
}

/// Answers with the identifier of the key, the label and the body.
fn receiver(signatures: MessageSignatures) -> ChainService {
    let handler = async |signed: VerifiedSignature, body: String| {
        format!("{} {} {body}", signed.key_id(), signed.label())
    };
    Chain::new().use_(signatures).all(handler).build()
}

/// A request in the form in which the RFC prints it: the request line, the fields and a body after an empty line.
fn request(text: &str) -> Request {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let mut req = http::Request::builder().method(method).uri(target);
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        req = req.header(name, value.trim());
    }
    req.body(Body::from(body.to_owned())).unwrap()
}

async fn send(chain: &ChainService, req: Request) -> (StatusCode, HeaderMap, String) {
    let (head, body) = chain.clone().oneshot(req).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    (head.status, head.headers, String::from_utf8(body).unwrap())
}

/// The request of RFC 9421, B.2, with a signature.
fn test_request(input: &str, signature: &str) -> Request {
    request(&format!(
        "POST /foo?param=Value&Pet=dog
Host: example.com
Date: Tue, 20 Apr 2021 02:07:55 GMT
Content-Type: application/json
Content-Digest: {SHA512}
Content-Length: 18
Signature-Input: {input}
Signature: {signature}

{BODY}"
    ))
}

/// RFC 9421, B.2.1 to B.2.6, without the response of B.2.4.
const EXAMPLES: [(&str, &str, &str, &[&str]); 5] = [
    (
        "test-key-rsa-pss",
        r#"sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
        "sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==:",
        &[],
    ),
    (
        "test-key-rsa-pss",
        r#"sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
        "sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:",
        &["@authority", "content-digest", "\"@query-param\";name=\"Pet\""],
    ),
    (
        "test-key-rsa-pss",
        r#"sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
        "sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:",
        &["date", "@method", "@path", "@query", "@authority", "content-type", "content-length"],
    ),
    (
        "test-shared-secret",
        r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
        "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
        &["date", "@authority", "content-type"],
    ),
    (
        "test-key-ed25519",
        r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
        &["date", "@method", "@path", "@authority", "content-type", "content-length"],
    ),
];

#[tokio::test]
async fn the_signed_requests_of_the_rfc_are_accepted() {
    for (key, input, signature, covered) in EXAMPLES {
        let (label, _) = input.split_once('=').unwrap();
        let chain = receiver(lenient("https://example.com"));
        let (status, _, text) = send(&chain, test_request(input, signature)).await;
        assert_eq!((status.as_u16(), text), (200, format!("{key} {label} {BODY}")), "{label}");
        // Each change of a covered component makes it invalid, and other changes do not.
        let changes: [(&str, fn(&mut Request)); 7] = [
            ("date", |req| drop(req.headers_mut().remove("date"))),
            ("@method", |req| *req.method_mut() = Method::PUT),
            ("@path", |req| *req.uri_mut() = Uri::from_static("/bar?param=Value&Pet=dog")),
            ("@query", |req| *req.uri_mut() = Uri::from_static("/foo?param=value&Pet=dog")),
            ("content-type", |req| {
                let text = HeaderValue::from_static("text/plain");
                req.headers_mut().insert("content-type", text);
            }),
            ("content-length", |req| {
                req.headers_mut().insert("content-length", HeaderValue::from_static("018"));
            }),
            ("\"@query-param\";name=\"Pet\"", |req| {
                *req.uri_mut() = Uri::from_static("/foo?param=Value&Pet=dog&Pet=dog");
            }),
        ];
        for (component, change) in changes {
            let mut req = test_request(input, signature);
            change(&mut req);
            let expected = if covered.contains(&component) { 401 } else { 200 };
            // A changed query changes both of its components.
            let query = ["@query", "\"@query-param\";name=\"Pet\""];
            if !(query.contains(&component) && covered.contains(&"@query")) {
                assert_eq!(send(&chain, req).await.0, expected, "{label} {component}");
            }
        }
        let other = receiver(lenient("https://other.example"));
        let expected = if covered.contains(&"@authority") { 401 } else { 200 };
        assert_eq!(send(&other, test_request(input, signature)).await.0, expected, "{label}");
        // Another parameter of the signature.
        let later = input.replace("1618884473", "1618884474");
        assert_eq!(send(&chain, test_request(&later, signature)).await.0, 401, "{label}");
    }
}

/// RFC 9421, B.2.4.
#[test]
fn the_signed_response_of_the_rfc_is_reproduced() {
    let req = request("POST /foo?param=Value&Pet=dog\nHost: example.com");
    let response = request(
        "GET /
Content-Type: application/json
Content-Digest: sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:
Content-Length: 23",
    );
    let covered = covered(
        r#"("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#,
    );
    let origin = Origin::parse("https://example.com").unwrap();
    let message = Message {
        method: req.method(),
        origin: &origin,
        uri: req.uri(),
        version: Version::HTTP_11,
        headers: req.headers(),
        response: Some((StatusCode::OK, response.headers())),
    };
    let (base, _) = signature_base(&covered, &message, &Structures::new()).unwrap();
    let signature = STANDARD.decode(
        "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==",
    );
    let key = VerifyingKey::new(SignatureAlgorithm::EcdsaP256Sha256, P256).unwrap();
    assert!(key.verify(base.as_bytes(), &signature.unwrap()));
    let body = b"{\"message\": \"good dog\"}\n";
    digest::check(response.headers(), &CONTENT_DIGEST, &body[..23]).unwrap();
}

/// RFC 9421, 4.3: the second signature is that of a proxy, which the server knows. The first one is for the request that the proxy received.
#[tokio::test]
async fn one_of_several_signatures_is_enough() {
    let req = || {
        request(&format!(
            r#"POST /foo?param=Value&Pet=dog
Host: origin.host.internal.example
Date: Tue, 20 Apr 2021 02:07:56 GMT
Content-Type: application/json
Content-Length: 18
Forwarded: for=192.0.2.123;host=example.com;proto=https
Content-Digest: {SHA512}
Signature-Input: sig1=("@method" "@authority" "@path" "content-digest" "content-type" "content-length");created=1618884475;keyid="test-key-ecc-p256", proxy_sig=("@method" "@authority" "@path" "content-digest" "content-type" "content-length" "forwarded");created=1618884480;keyid="test-key-rsa";alg="rsa-v1_5-sha256";expires=1618884540
Signature: sig1=:X5spyd6CFnAG5QnDyHfqoSNICd+BUP4LYMz2Q0JXlb//4Ijpzp+kve2w4NIyqeAuM7jTDX+sNalzA8ESSaHD3A==:, proxy_sig=:S6ZzPXSdAMOPjN/6KXfXWNO/f7V6cHm7BXYUh3YD/fRad4BCaRZxP+JH+8XY1I6+8Cy+CM5g92iHgxtRPz+MjniOaYmdkDcnL9cCpXJleXsOckpURl49GwiyUpZ10KHgOEe11sx3G2gxI8S0jnxQB+Pu68U9vVcasqOWAEObtNKKZd8tSFu7LB5YAv0RAGhB8tmpv7sFnIm9y+7X5kXQfi8NMaZaA8i2ZHwpBdg7a6CMfwnnrtflzvZdXAsD3LH2TwevU+/PBPv0B6NMNk93wUs/vfJvye+YuI87HU38lZHowtznbLVdp770I6VHR6WfgS9ddzirrswsE1w5o0LV/g==:

{BODY}"#
        ))
    };
    let internal = "https://origin.host.internal.example";
    for (signatures, expected) in [
        (lenient(internal), Some("test-key-rsa proxy_sig")),
        (lenient(internal).label("proxy_sig").unwrap(), Some("test-key-rsa proxy_sig")),
        (lenient(internal).label("sig1").unwrap(), None),
        (lenient(internal).label("sig2").unwrap(), None),
        (lenient(internal).tag("proxy").unwrap(), None),
        (lenient("https://example.com"), Some("test-key-ecc-p256 sig1")),
        // The `Host` of the request chooses only among configured origins.
        (lenient("https://example.com").origin(internal).unwrap(), Some("test-key-rsa proxy_sig")),
        (lenient(internal).clock(at(1_618_884_571)), None),
    ] {
        let (status, _, text) = send(&receiver(signatures), req()).await;
        assert_eq!(status.is_success(), expected.is_some());
        assert!(expected.is_none_or(|expected| text.starts_with(expected)), "{text}");
    }
}

/// RFC 9421, B.3.
#[tokio::test]
async fn the_signature_of_a_proxy_that_terminates_tls_is_accepted() {
    let cert = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:";
    let req = |cert: &str| {
        request(&format!(
            r#"POST /foo?param=Value&Pet=dog
Host: service.internal.example
Date: Tue, 20 Apr 2021 02:07:55 GMT
Content-Type: application/json
Content-Length: 18
Client-Cert: {cert}
Signature-Input: ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"
Signature: ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:

{BODY}"#
        ))
    };
    let default = signatures("https://service.internal.example").unsigned_body();
    let chain = receiver(default);
    assert_eq!(send(&chain, req(cert)).await.0, 200);
    assert_eq!(send(&chain, req(&cert.replace("MIIB", "MIIC"))).await.0, 401);
    // The body is not covered.
    let chain = receiver(signatures("https://service.internal.example"));
    let (status, headers, _) = send(&chain, req(cert)).await;
    assert_eq!(status, 401);
    let accept = r#"sig=("@method" "@target-uri" "content-digest");created"#;
    assert_eq!(headers["accept-signature"], accept);
    assert_eq!(headers["want-content-digest"], "sha-512=10, sha-256=9");
    assert_eq!(headers["www-authenticate"], "Message-Signature");
}

/// RFC 9421, B.4.
#[tokio::test]
async fn the_transformations_of_the_rfc_keep_a_signature_or_break_it() {
    for (expected, head) in [
        (
            200,
            "GET /demo?name1=Value1&Name2=value2\nHost: example.org\nAccept: application/json\nAccept: */*",
        ),
        (
            200,
            "GET /demo?name1=Value1&Name2=value2&param=added\nHost: example.org\nAccept: application/json\nAccept: */*\nAccept-Language: en-US,en;q=0.5",
        ),
        (
            200,
            "GET /demo?name1=Value1&Name2=value2\nHost: example.org\nReferer: https://developer.example.org/demo\nAccept: application/json, */*",
        ),
        (
            200,
            "GET /demo?name1=Value1&Name2=value2\nAccept: application/json\nAccept: */*\nHost: example.org",
        ),
        (
            401,
            "POST /demo?name1=Value1&Name2=value2\nHost: example.com\nAccept: application/json\nAccept: */*",
        ),
        (
            401,
            "GET /demo?name1=Value1&Name2=value2\nHost: example.org\nAccept: */*\nAccept: application/json",
        ),
    ] {
        let text = format!(
            "{head}
Signature-Input: transform=(\"@method\" \"@path\" \"@authority\" \"accept\");created=1618884473;keyid=\"test-key-ed25519\"
Signature: transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:"
        );
        let chain = receiver(lenient("https://example.org"));
        assert_eq!(send(&chain, request(&text)).await.0, expected, "{head}");
    }
}

fn covered(text: &str) -> InnerList {
    let list: sfv::List = Parser::new(text).parse().unwrap();
    match list.into_iter().next() {
        Some(ListEntry::InnerList(list)) => list,
        other => panic!("{other:?}"),
    }
}

/// RFC 9421, 2.1 to 2.2: each component with its value, or with the reason why it has none.
#[test]
fn components_have_the_values_of_the_rfc() {
    let req = request(
        "GET /parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&twice=1&twice=2&no
Host: www.example.com
X-OWS-Header:   Leading and trailing whitespace.
Empty-Header:
Cache-Control: max-age=60
Cache-Control:    must-revalidate
Example-Dict:  a=1,    b=2;x=1;y=2,   c=(a   b   c), d
Example-Header: value, with, lots
Example-Header: of, commas
Priority:  u=1 ,  i=?1
Bad-Dict: =",
    );
    let origin = Origin::parse("https://WWW.example.com:443/").unwrap();
    let message = Message {
        method: req.method(),
        origin: &origin,
        uri: req.uri(),
        version: Version::HTTP_11,
        headers: req.headers(),
        response: None,
    };
    let query = req.uri().query().unwrap();
    let target = format!("/parameters?{query}");
    let uri = format!("https://www.example.com{target}");
    let structures = vec![
        (HeaderName::from_static("example-dict"), StructuredField::Dictionary),
        (HeaderName::from_static("bad-dict"), StructuredField::Dictionary),
    ];
    let all_of = format!("?{query}");
    for (component, expected) in [
        (r#""x-ows-header""#, Ok("Leading and trailing whitespace.")),
        (r#""empty-header""#, Ok("")),
        (r#""cache-control""#, Ok("max-age=60, must-revalidate")),
        (r#""example-dict""#, Ok("a=1,    b=2;x=1;y=2,   c=(a   b   c), d")),
        (r#""example-dict";sf"#, Ok("a=1, b=2;x=1;y=2, c=(a b c), d")),
        (r#""example-dict";key="a""#, Ok("1")),
        (r#""example-dict";key="b""#, Ok("2;x=1;y=2")),
        (r#""example-dict";key="c""#, Ok("(a b c)")),
        (r#""example-dict";key="d""#, Ok("?1")),
        (r#""priority";sf"#, Ok("u=1, i")),
        (r#""example-header";bs"#, Ok(":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:")),
        (r#""@method""#, Ok("GET")),
        (r#""@target-uri""#, Ok(&uri)),
        (r#""@authority""#, Ok("www.example.com")),
        (r#""@scheme""#, Ok("https")),
        (r#""@request-target""#, Ok(&target)),
        (r#""@path""#, Ok("/parameters")),
        (r#""@query""#, Ok(&all_of)),
        (r#""@query-param";name="var""#, Ok("this%20is%20a%20big%0Amultiline%20value")),
        (r#""@query-param";name="bar""#, Ok("with%20plus%20whitespace")),
        (r#""@query-param";name="fa%C3%A7ade%22%3A%20""#, Ok("something")),
        (r#""@query-param";name="no""#, Ok("")),
        (
            r#""@query-param";name="twice""#,
            Err("a covered query parameter is there more than once"),
        ),
        (r#""@query-param";name="none""#, Err("a covered query parameter is missing")),
        (r#""@query-param""#, Err("the parameter `name` is missing, or not allowed")),
        (r#""@method";name="x""#, Err("the parameter `name` is missing, or not allowed")),
        (r#""@method";sf"#, Err("a derived component has a parameter of fields")),
        (r#""@status""#, Err("an unknown derived component")),
        (r#""@signature-params""#, Err("an unknown derived component")),
        (r#""@method";req"#, Err("`req` is for responses")),
        (r#""cache-control";req"#, Err("`req` is for responses")),
        (r#""cache-control";tr"#, Err("trailers are not supported")),
        (r#""cache-control";sf=?0"#, Err("a component has an unknown parameter")),
        (r#""cache-control";sf=1"#, Err("a component has an unknown parameter")),
        (r#""cache-control";key=1"#, Err("a component has an unknown parameter")),
        (r#""cache-control";other"#, Err("a component has an unknown parameter")),
        (r#""cache-control";name="x""#, Err("a field has the parameter `name`")),
        (r#""cache-control";sf"#, Err("the structure of a covered field is not known")),
        (r#""cache-control";bs;sf"#, Err("`bs` is combined with `sf` or `key`")),
        (r#""example-dict";bs;key="a""#, Err("`bs` is combined with `sf` or `key`")),
        (r#""example-dict";key="e""#, Err("a covered member of a dictionary is missing")),
        (r#""example-dict";key="É""#, Err("")),
        (r#""bad-dict";sf"#, Err("a covered structured field is malformed")),
        (r#""bad-dict";key="a""#, Err("a covered dictionary is malformed")),
        (r#""missing""#, Err("a covered field is missing")),
        (r#""Cache-Control""#, Err("not a field name")),
        (r#""a b""#, Err("not a field name")),
        (r#""""#, Err("not a field name")),
        ("cache-control", Err("a component is not a string")),
        ("1", Err("a component is not a string")),
    ] {
        if expected == Err("") {
            assert!(Parser::new(component).parse::<Item>().is_err(), "{component}");
            continue;
        }
        let list = covered(&format!("({component});created=1"));
        let expected = expected.map(|value| {
            format!("{component}: {value}\n\"@signature-params\": ({component});created=1")
        });
        let found = signature_base(&list, &message, &structures).map(|(base, _)| base);
        assert_eq!(found, expected, "{component}");
    }
    for twice in
        [r#"("@method" "@method")"#, r#"("example-dict";sf;key="a" "example-dict";key="a";sf)"#]
    {
        let found = signature_base(&covered(twice), &message, &structures);
        assert_eq!(found.err(), Some("a component is covered twice"), "{twice}");
    }
}

#[test]
fn the_target_is_that_of_the_configured_origin() {
    for (origin, method, version, uri, [target_uri, request_target, path, query]) in [
        ("https://a.example", "GET", Version::HTTP_11, "/", ["https://a.example/", "/", "/", "?"]),
        (
            "http://A.example:80/",
            "GET",
            Version::HTTP_11,
            "/x?",
            ["http://a.example/x?", "/x?", "/x", "?"],
        ),
        (
            "https://a.example:80/",
            "GET",
            Version::HTTP_11,
            "/x",
            ["https://a.example:80/x", "/x", "/x", "?"],
        ),
        (
            "https://a.example/v1/",
            "GET",
            Version::HTTP_11,
            "/x?y=%2F",
            ["https://a.example/v1/x?y=%2F", "/v1/x?y=%2F", "/v1/x", "?y=%2F"],
        ),
        (
            "https://a.example",
            "GET",
            Version::HTTP_2,
            "http://evil.example/x",
            ["https://a.example/x", "/x", "/x", "?"],
        ),
        (
            "https://a.example",
            "GET",
            Version::HTTP_11,
            "http://evil.example/x",
            ["https://a.example/x", "https://a.example/x", "/x", "?"],
        ),
        (
            "https://a.example",
            "OPTIONS",
            Version::HTTP_11,
            "*",
            ["https://a.example", "*", "*", "?"],
        ),
        (
            "https://a.example",
            "CONNECT",
            Version::HTTP_11,
            "b.example:443",
            ["https://a.example/", "a.example", "/", "?"],
        ),
    ] {
        let (origin, method) = (Origin::parse(origin).unwrap(), Method::try_from(method).unwrap());
        let uri = Uri::try_from(uri).unwrap();
        let message = Message {
            method: &method,
            origin: &origin,
            uri: &uri,
            version,
            headers: &HeaderMap::new(),
            response: None,
        };
        let names = ["@target-uri", "@request-target", "@path", "@query"];
        for (name, expected) in names.iter().zip([target_uri, request_target, path, query]) {
            let list = covered(&format!("(\"{name}\")"));
            let (base, _) = signature_base(&list, &message, &Structures::new()).unwrap();
            assert_eq!(base.lines().next().unwrap(), format!("\"{name}\": {expected}"), "{uri}");
        }
    }
}

fn signer() -> MessageSigner {
    let signer =
        MessageSigner::new("test-key-ed25519", SignatureAlgorithm::Ed25519, ED25519_PRIVATE);
    signer.unwrap().origin("https://example.com").unwrap()
}

fn signed_at(signer: &MessageSigner, req: Request, body: &str, time: u64) -> Request {
    let (mut head, _) = req.into_parts();
    signer
        .sign_request(&mut head, body.as_bytes(), UNIX_EPOCH + Duration::from_secs(time))
        .unwrap();
    Request::from_parts(head, Body::from(body.to_owned()))
}

fn signed(signer: &MessageSigner, req: Request, body: &str) -> Request {
    signed_at(signer, req, body, NOW)
}

/// Pairs of a private and a public key, for each algorithm.
fn key_pairs() -> Vec<(SignatureAlgorithm, Vec<u8>, Vec<u8>)> {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa_private: Vec<u8> = {
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        der.as_ref().to_vec()
    };
    let rsa_public = rsa.public_key().as_ref().to_vec();
    let ecdsa = |curve| {
        let pair = EcdsaKeyPair::generate(curve).unwrap();
        (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), pair.public_key().as_ref().to_vec())
    };
    let p256 = ecdsa(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING);
    let p384 = ecdsa(&aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING);
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let secret = b"a secret of more than thirty-two bytes".to_vec();
    vec![
        (
            SignatureAlgorithm::Ed25519,
            ed25519.to_pkcs8().unwrap().as_ref().to_vec(),
            ed25519.public_key().as_ref().to_vec(),
        ),
        (SignatureAlgorithm::EcdsaP256Sha256, p256.0, p256.1),
        (SignatureAlgorithm::EcdsaP384Sha384, p384.0, p384.1),
        (SignatureAlgorithm::RsaPssSha512, rsa_private.clone(), rsa_public.clone()),
        (SignatureAlgorithm::RsaV15Sha256, rsa_private, rsa_public),
        (SignatureAlgorithm::HmacSha256, secret.clone(), secret),
    ]
}

#[tokio::test]
async fn each_algorithm_signs_and_verifies_and_none_stands_in_for_another() {
    let pairs = key_pairs();
    for (algorithm, private, public) in &pairs {
        let key = VerifyingKey::new(*algorithm, public).unwrap();
        let own = MessageSignatures::new("https://example.com").unwrap().key("k", key).unwrap();
        let chain = receiver(own.clock(at(NOW)));
        let signer = |id, with_algorithm| {
            let signer = MessageSigner::new(id, *algorithm, private).unwrap();
            let signer = if with_algorithm { signer.with_algorithm() } else { signer };
            signer.origin("https://example.com").unwrap()
        };
        let req = || request("POST /pay?x=1");
        for with_algorithm in [false, true] {
            let (status, _, text) =
                send(&chain, signed(&signer("k", with_algorithm), req(), "body")).await;
            assert_eq!((status.as_u16(), &*text), (200, "k sig body"), "{algorithm:?}");
        }
        assert_eq!(send(&chain, signed(&signer("other", false), req(), "")).await.0, 401);
        // The same key material as a key of each other algorithm.
        for (other, ..) in &pairs {
            if other == algorithm {
                continue;
            }
            let Ok(key) = VerifyingKey::new(*other, public) else { continue };
            let chain =
                MessageSignatures::new("https://example.com").unwrap().key("k", key).unwrap();
            let chain = receiver(chain.clock(at(NOW)));
            for with_algorithm in [false, true] {
                let req = signed(&signer("k", with_algorithm), req(), "body");
                assert_eq!(send(&chain, req).await.0, 401, "{algorithm:?} {other:?}");
            }
        }
    }
}

#[tokio::test]
async fn required_components_must_be_covered() {
    let default = || signatures("https://example.com");
    let custom = |components: &[&str]| default().cover(components).unwrap();
    let param = "\"@query-param\";name=\"x\"";
    for (signatures, components, target, expected) in [
        (default(), &["@method", "@target-uri"][..], "/a?x=1", 200),
        (default(), &["@target-uri", "@method", "date"], "/a?x=1", 200),
        (default(), &["@method", "@authority", "@request-target"], "/a?x=1", 200),
        (default(), &["@method", "@authority", "@path", "@query"], "/a?x=1", 200),
        (default(), &["@method", "@authority", "@path"], "/a", 200),
        (default(), &["@method", "@authority", "@path"], "/a?x=1", 401),
        (default(), &["@method", "@authority", "@path", param], "/a?x=1", 401),
        (default(), &["@method", "@path", "@query"], "/a?x=1", 401),
        (default(), &["@method", "@request-target"], "/a?x=1", 401),
        (default(), &["@method", "@authority"], "/a", 401),
        (default(), &["@method"], "/a", 401),
        (default(), &["@target-uri"], "/a", 401),
        (default(), &[], "/a", 401),
        (custom(&[param]), &[param], "/a?x=1", 200),
        (custom(&[param]), &["@target-uri"], "/a?x=1", 401),
        (custom(&["date"]), &["date"], "/a", 200),
        (custom(&["date"]), &["\"date\";bs"], "/a", 401),
        (custom(&["\"example\";key=\"a\";sf"]), &["\"example\";sf;key=\"a\""], "/a", 200),
    ] {
        let signer = signer().components(components).unwrap();
        let head = format!("GET {target}\nDate: Tue, 20 Apr 2021 02:07:55 GMT\nExample: a=1");
        let found = send(&receiver(signatures), signed(&signer, request(&head), "")).await.0;
        assert_eq!(found, expected, "{components:?} {target}");
    }
}

#[tokio::test]
async fn the_digest_must_be_covered_and_that_of_the_body() {
    let all = ["@method", "@target-uri", "content-digest"];
    let repr = ["@method", "@target-uri", "content-digest", "repr-digest"];
    let head = &all[..2];
    let sha256 = |body: &[u8]| DigestAlgorithm::Sha256.field(body).to_str().unwrap().to_owned();
    let good = format!("Content-Digest: {}", sha256(b"body"));
    let wrong = format!("Content-Digest: {}", sha256(b"other"));
    let range =
        format!("{good}\nRepr-Digest: {}\nContent-Range: bytes 0-3/9", sha256(b"the whole"));
    let whole = format!("{good}\nRepr-Digest: {}", sha256(b"body"));
    let other = format!("{good}\nRepr-Digest: {}", sha256(b"the whole"));
    for (components, fields, body, expected) in [
        (&all[..], "", "body", 200),
        (&all, "", "", 200),
        (head, "", "", 200),
        (head, "", "body", 401),
        (head, &good, "body", 401),
        (&all, &good, "body", 200),
        (&all, &format!("{good}, sha-512=:AAAA:"), "body", 400),
        (&all, &wrong, "body", 400),
        (&all, &wrong, "", 400),
        (&all, "Content-Digest: md5=:hBotaJrYa9FhFEdFPCLG/A==:", "body", 400),
        (&all, "Content-Digest: no dictionary", "body", 400),
        (&repr, &whole, "body", 200),
        (&repr, &range, "body", 200),
        (&repr, &other, "body", 400),
        (&["@method", "@target-uri", "\"content-digest\";sf"], &good, "body", 200),
        (&["@method", "@target-uri", "\"content-digest\";bs"], &good, "body", 200),
        (&["@method", "@target-uri", "\"content-digest\";sf"], &wrong, "body", 400),
        (&["@method", "@target-uri", "\"content-digest\";key=\"sha-256\""], &good, "body", 401),
    ] {
        let signer = signer().components(components).unwrap();
        let mut text = "POST /a".to_owned();
        if !fields.is_empty() {
            text = format!("{text}\n{fields}");
        }
        let chain = receiver(signatures("https://example.com"));
        let (status, headers, _) = send(&chain, signed(&signer, request(&text), body)).await;
        assert_eq!(status, expected, "{components:?} {fields} {body}");
        assert_eq!(headers.contains_key("want-content-digest"), expected != 200);
    }
    // Another body in place of the signed one, or none.
    for (sent, expected) in [("body", 200), ("bodx", 400), ("", 400), ("body ", 400)] {
        let req = signed(&signer(), request("POST /a"), "body").map(|_| Body::from(sent));
        let chain = receiver(signatures("https://example.com"));
        assert_eq!(send(&chain, req).await.0, expected, "{sent:?}");
    }
    // A body that is allowed to be unsigned is still compared with a digest that is covered.
    let chain = || receiver(signatures("https://example.com").unsigned_body());
    let unsigned = signer().components(head).unwrap();
    assert_eq!(send(&chain(), signed(&unsigned, request("POST /a"), "body")).await.0, 200);
    let req = signed(&signer(), request("POST /a"), "body").map(|_| Body::from("x"));
    assert_eq!(send(&chain(), req).await.0, 400);
    // Also if the signature covers the digest alone, or as a dictionary in strict form.
    for (component, expected) in [
        ("\"content-digest\";key=\"sha-256\"", 400),
        ("\"content-digest\";key=\"sha-256\";sf", 400),
        ("\"content-digest\";sf;key=\"sha-256\"", 400),
        ("\"repr-digest\";key=\"sha-256\"", 400),
        ("\"other\";key=\"sha-256\"", 200),
    ] {
        let signer = signer().components(["@method", "@target-uri", component]).unwrap();
        let text = format!("POST /a\n{good}\nRepr-Digest: {0}\nOther: {0}", sha256(b"body"));
        let req = signed(&signer, request(&text), "body");
        assert_eq!(send(&chain(), req).await.0, 200, "{component}");
        let req = signed(&signer, request(&text), "body").map(|_| Body::from("bodx"));
        assert_eq!(send(&chain(), req).await.0, expected, "{component}");
    }
}

async fn unlimited_body(mut next: Next<'_>) -> Response {
    next.extensions_mut().insert(MaxBody::unlimited());
    next.run().await
}

#[tokio::test]
async fn a_body_is_read_up_to_the_bound() {
    for (length, expected) in [(10, 200), (11, 413)] {
        let body = "a".repeat(length);
        let chain = receiver(signatures("https://example.com").max_body(10));
        let req = signed(&signer(), request("POST /a"), &body);
        assert_eq!(send(&chain, req).await.0, expected);
        let unlimited = Chain::new()
            .use_(unlimited_body)
            .use_(signatures("https://example.com"))
            .post(async |body: Bytes| body.len().to_string())
            .build();
        let body = "a".repeat(1024 * 1024 - 10 + length);
        let req = signed(&signer(), request("POST /a"), &body);
        assert_eq!(send(&unlimited, req).await.0, expected);
    }
}

#[tokio::test]
async fn a_signature_is_accepted_within_its_times() {
    let now = i64::try_from(NOW).unwrap();
    for (max_age, created, expires, expected) in [
        (300, 0, None, 200),
        (300, -300, None, 200),
        (300, -301, None, 401),
        (300, 30, None, 200),
        (300, 31, None, 401),
        (10, -11, None, 401),
        (300, -60, Some(30), 200),
        (300, -60, Some(29), 401),
        (300, 0, Some(1000), 200),
    ] {
        let mut signer = signer();
        if let Some(expires) = expires {
            signer = signer.expires_after(Duration::from_secs(expires));
        }
        let own = signatures("https://example.com").max_age(Duration::from_secs(max_age)).unwrap();
        let time = u64::try_from(now + created).unwrap();
        let found = send(&receiver(own), signed_at(&signer, request("GET /"), "", time)).await.0;
        assert_eq!(found, expected, "{max_age} {created} {expires:?}");
    }
    // Without a time, and with times at the ends of their range.
    let (_, input, signature, _) = EXAMPLES[4];
    for created in ["", ";created=999999999999999", ";created=-999999999999999"] {
        let input = input.replace(";created=1618884473", created);
        for clock in [0, NOW, u64::from(u32::MAX)] {
            let chain = receiver(lenient("https://example.com").clock(at(clock)));
            assert_eq!(send(&chain, test_request(&input, signature)).await.0, 401, "{created}");
        }
    }
}

#[tokio::test]
async fn a_nonce_is_accepted_once_for_each_key() {
    let clock = Arc::new(AtomicU64::new(NOW));
    let own = Arc::clone(&clock);
    let now = move || UNIX_EPOCH + Duration::from_secs(own.load(Ordering::Relaxed));
    let secret = STANDARD.decode(SECRET).unwrap();
    let nonce = |signer: MessageSigner, nonce: &'static str| signer.nonces(|| nonce.to_owned());
    let hmac = || {
        MessageSigner::new("test-shared-secret", SignatureAlgorithm::HmacSha256, &secret)
            .unwrap()
            .origin("https://example.com")
            .unwrap()
    };
    let set = signatures("https://example.com").nonce_capacity(3).unwrap().clock(now);
    let chain = receiver(set);
    let get = |signer: MessageSigner| signed(&signer, request("GET /"), "");
    let post = |signer: MessageSigner| {
        signed(&signer, request("POST /"), "body").map(|_| Body::from("another"))
    };
    for (req, expected) in [
        (get(signer()), 401),
        (get(nonce(signer(), "")), 401),
        // Refused for its body: the nonce is still free.
        (post(nonce(signer(), "a")), 400),
        (get(nonce(signer(), "a")), 200),
        (get(nonce(signer(), "a")), 401),
        (get(nonce(hmac(), "a")), 200),
        (get(nonce(signer(), "b")), 200),
        (get(nonce(signer(), "c")), 503),
    ] {
        assert_eq!(send(&chain, req).await.0, expected);
    }
    // The signatures are too old now, so their nonces are forgotten.
    clock.store(NOW + 331, Ordering::Relaxed);
    let later = signed_at(&nonce(signer(), "c"), request("GET /"), "", NOW + 331);
    assert_eq!(send(&chain, later).await.0, 200);
}

#[tokio::test]
async fn keys_are_looked_up_by_their_identifier() {
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    let lookup = move |id: String| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            match &*id {
                "found" => Ok(Some(VerifyingKey::new(SignatureAlgorithm::Ed25519, ED25519)?)),
                "failed" => Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, "down")),
                _ => Ok(None),
            }
        }
    };
    let chain = MessageSignatures::new("https://example.com").unwrap().lookup(lookup);
    let chain = receiver(chain.clock(at(NOW)));
    for (id, expected) in [("found", 200), ("missing", 401), ("failed", 503)] {
        let signer = MessageSigner::new(id, SignatureAlgorithm::Ed25519, ED25519_PRIVATE).unwrap();
        let signer = signer.origin("https://example.com").unwrap();
        assert_eq!(send(&chain, signed(&signer, request("GET /"), "")).await.0, expected, "{id}");
        // What can be refused without a key costs no lookup.
        let old = signed_at(&signer, request("GET /"), "", NOW - 1000);
        assert_eq!(send(&chain, old).await.0, 401);
        let uncovered = signer.components(["@method"]).unwrap();
        assert_eq!(send(&chain, signed(&uncovered, request("GET /"), "")).await.0, 401);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    // Of two signatures, one can't be checked and the other one is refused.
    for ids in [["failed", "missing"], ["missing", "failed"]] {
        let mut req = request("GET /");
        for (id, label) in ids.into_iter().zip(["a", "b"]) {
            let signer =
                MessageSigner::new(id, SignatureAlgorithm::Ed25519, ED25519_PRIVATE).unwrap();
            let signer = signer.origin("https://example.com").unwrap().label(label).unwrap();
            req = signed(&signer, req, "");
        }
        assert_eq!(send(&chain, req).await.0, 503, "{ids:?}");
    }
}

#[tokio::test]
async fn malformed_fields_and_those_above_a_bound_are_refused() {
    let many =
        |n: usize, what: fn(usize) -> String| (0..n).map(what).collect::<Vec<_>>().join(", ");
    let inputs = |n| many(n, |n| format!("s{n}=(\"@method\");created=1618884473;keyid=\"x\""));
    let values = |n| many(n, |n| format!("s{n}=:AAAA:"));
    let components = |n: usize| {
        let list: Vec<_> = (0..n).map(|n| format!("\"x-{n}\"")).collect();
        format!("s=({});created=1618884473", list.join(" "))
    };
    let text = |n: usize| format!("s=();created=1618884473;keyid=\"{}\"", "a".repeat(n));
    for (input, signature, expected) in [
        ("s=()".to_owned(), "s=:AAAA:".to_owned(), 401),
        (inputs(4), values(4), 401),
        (inputs(5), values(5), 400),
        (components(32), "s=:AAAA:".to_owned(), 401),
        (components(33), "s=:AAAA:".to_owned(), 400),
        (text(256), "s=:AAAA:".to_owned(), 401),
        (text(257), "s=:AAAA:".to_owned(), 400),
        (format!("s=();created=1;x=\"{}\"", "a".repeat(8192)), "s=:AAAA:".to_owned(), 400),
        ("s=()".to_owned(), format!("s=:{}:", "A".repeat(8192)), 400),
        (inputs(1), String::new(), 400),
        (String::new(), values(1), 400),
        (inputs(1), "s1=:AAAA:".to_owned(), 400),
        (inputs(2), values(1), 400),
        ("s".to_owned(), "s=:AAAA:".to_owned(), 400),
        ("s=1".to_owned(), "s=:AAAA:".to_owned(), 400),
        ("s=(".to_owned(), "s=:AAAA:".to_owned(), 400),
        ("s=()".to_owned(), "s=AAAA".to_owned(), 400),
        ("s=()".to_owned(), "s=:A:".to_owned(), 400),
        ("s=();created=\"1\"".to_owned(), "s=:AAAA:".to_owned(), 400),
        ("s=();created=1.5".to_owned(), "s=:AAAA:".to_owned(), 400),
        ("s=();expires=?1".to_owned(), "s=:AAAA:".to_owned(), 400),
        ("s=();keyid=a".to_owned(), "s=:AAAA:".to_owned(), 400),
        ("s=();alg=1".to_owned(), "s=:AAAA:".to_owned(), 400),
        ("s=();nonce".to_owned(), "s=:AAAA:".to_owned(), 400),
        ("s=();tag=:AAAA:".to_owned(), "s=:AAAA:".to_owned(), 400),
    ] {
        let chain = receiver(lenient("https://example.com"));
        let (status, headers, body) = send(&chain, test_request(&input, &signature)).await;
        assert_eq!(status, expected, "{input} {signature}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert!(!body.contains("keyid") && !body.contains("AAAA"), "{body}");
    }
    let unsigned = request("GET /");
    let (status, headers, _) = send(&receiver(signatures("https://example.com")), unsigned).await;
    assert_eq!(status, 401);
    assert!(headers.contains_key("accept-signature"));
    // One field, covered again and again with other parameters.
    let mut req = test_request("", "");
    let many: Vec<_> = (0..32).map(|n| format!("\"big\";key=\"k{n}\"")).collect();
    let big: Vec<_> = (0..32).map(|n| format!("k{n}=\"{}\"", "a".repeat(3000))).collect();
    let input = format!("s=({});created=1618884473;keyid=\"test-key-ed25519\"", many.join(" "));
    req.headers_mut().insert("big", HeaderValue::try_from(big.join(", ")).unwrap());
    req.headers_mut().insert("signature-input", HeaderValue::try_from(input).unwrap());
    req.headers_mut().insert("signature", HeaderValue::from_static("s=:AAAA:"));
    let log = Log::start();
    assert_eq!(send(&receiver(lenient("https://example.com")), req).await.0, 401);
    assert!(log.text().contains("too long"), "{}", log.text());
}

#[tokio::test]
async fn the_path_is_the_one_that_the_client_sent() {
    let handler = async |signed: VerifiedSignature| signed.key_id().to_owned();
    let inner =
        || Chain::new().use_(signatures("https://example.com")).at("/me", |c| c.get(handler));
    let mounted = Chain::new().mount("/v1", inner()).build();
    let service = Chain::new().service("/v1", inner().build()).build();
    #[cfg(feature = "axum")]
    let nested = axum::Router::new().nest_service("/v1", inner().build());
    let signer = signer();
    let target = "GET /v1/me?x=1";
    assert_eq!(send(&mounted, signed(&signer, request(target), "")).await.0, 200);
    assert_eq!(send(&service, signed(&signer, request(target), "")).await.0, 200);
    #[cfg(feature = "axum")]
    {
        let req = signed(&signer, request(target), "");
        assert_eq!(nested.oneshot(req).await.unwrap().status(), 200);
    }
    // A signature for the rest of the path is one for another resource.
    let (head, body) = signed(&signer, request("GET /me?x=1"), "").into_parts();
    let mut moved = Request::from_parts(head, body);
    *moved.uri_mut() = Uri::from_static("/v1/me?x=1");
    assert_eq!(send(&service, moved).await.0, 401);
    // Behind a proxy that removes a prefix.
    let chain = receiver(signatures("https://example.com/api"));
    let mut req = signed(&signer, request("GET /api/me"), "");
    *req.uri_mut() = Uri::from_static("/me");
    assert_eq!(send(&chain, req).await.0, 200);
}

#[tokio::test]
async fn what_a_signature_covers_is_provided() {
    let chain = Chain::new().use_(signatures("https://example.com")).all(
        async |signed: VerifiedSignature| {
            let covers = ["date", "@method", "\"date\";bs", "x", "not a component"];
            let covers: Vec<_> = covers.iter().map(|name| signed.covers(name)).collect();
            let created = signed.created().unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
            format!("{covers:?} {created} {:?} {:?}", signed.nonce(), signed.tag())
        },
    );
    let signer = signer().components(["@method", "@target-uri", "date"]).unwrap();
    let signer = signer.tag("t").unwrap().nonces(|| "n".to_owned());
    let req = signed(&signer, request("GET /\nDate: today\nX: 1"), "");
    let (status, _, text) = send(&chain.build(), req).await;
    assert_eq!(status, 200);
    let expected = "[true, true, false, false, false] 1618884475 Some(\"n\") Some(\"t\")";
    assert_eq!(text, expected);
}

#[test]
fn a_response_is_signed_with_its_request() {
    let (req, _) = signed(&signer(), request("POST /a?x=1"), "body").into_parts();
    let components =
        ["@status", "content-digest", "\"@method\";req", "\"signature\";req;key=\"sig\""];
    let signer = signer().components(components).unwrap();
    let (mut head, _) = Response::new(Body::empty()).into_parts();
    let time = UNIX_EPOCH + Duration::from_secs(NOW);
    signer.sign_response(&req, &mut head, b"answer", time).unwrap();
    let own = input::read(&head.headers).unwrap().pop().unwrap();
    let origin = Origin::parse("https://example.com").unwrap();
    let message = |status| Message {
        method: &req.method,
        origin: &origin,
        uri: &req.uri,
        version: req.version,
        headers: &req.headers,
        response: Some((status, &head.headers)),
    };
    let key = VerifyingKey::new(SignatureAlgorithm::Ed25519, ED25519).unwrap();
    for (status, expected) in [(StatusCode::OK, true), (StatusCode::CREATED, false)] {
        let (base, _) = signature_base(&own.covered, &message(status), &Structures::new()).unwrap();
        assert_eq!(key.verify(base.as_bytes(), &own.signature), expected);
        assert!(base.contains("\"@method\";req: POST\n"), "{base}");
    }
    // A component of the request needs `req`.
    let unsigned = signer.components(["@method"]).unwrap();
    let failed = unsigned.sign_response(&req, &mut head, b"", time);
    assert_eq!(failed, Err(MessageSignaturesError::Unsignable("not a component of a response")));
}

#[test]
fn a_wrong_configuration_is_an_error() {
    let new = || MessageSignatures::new("https://example.com").unwrap();
    let key = || VerifyingKey::new(SignatureAlgorithm::Ed25519, ED25519).unwrap();
    let component = |text: &str| MessageSignaturesError::Component(text.to_owned());
    for (result, expected) in [
        (MessageSignatures::new(""), MessageSignaturesError::Origin),
        (MessageSignatures::new("example.com"), MessageSignaturesError::Origin),
        (MessageSignatures::new("ftp://example.com"), MessageSignaturesError::Origin),
        (MessageSignatures::new("https://a:b@example.com"), MessageSignaturesError::Origin),
        (MessageSignatures::new("https://example.com/?x"), MessageSignaturesError::Origin),
        (new().origin("/"), MessageSignaturesError::Origin),
        (new().key("", key()), MessageSignaturesError::KeyId),
        (new().key("é", key()), MessageSignaturesError::KeyId),
        (new().key("a".repeat(257), key()), MessageSignaturesError::KeyId),
        (
            new().key("a", key()).unwrap().key("a", key()),
            MessageSignaturesError::DuplicateKeyId("a".to_owned()),
        ),
        (new().cover(["@metod"]), component("@metod")),
        (new().cover(["@status"]), component("@status")),
        (new().cover(["Date"]), component("Date")),
        (new().cover(["\"date\";req"]), component("\"date\";req")),
        (new().cover(["\"date\";tr"]), component("\"date\";tr")),
        (new().cover(["@query-param"]), component("@query-param")),
        (new().label("A"), MessageSignaturesError::Label),
        (new().tag("é"), MessageSignaturesError::Tag),
        (new().max_age(Duration::ZERO), MessageSignaturesError::Time),
        (new().max_age(Duration::from_secs(86_401)), MessageSignaturesError::Time),
        (new().leeway(Duration::from_secs(86_401)), MessageSignaturesError::Time),
        (new().nonce_capacity(0), MessageSignaturesError::Zero),
        (new().structured_field("a b", StructuredField::Item), MessageSignaturesError::Field),
    ] {
        assert_eq!(result.expect_err("refused"), expected);
    }
    for (algorithm, bytes) in [
        (SignatureAlgorithm::Ed25519, RSA_PSS),
        (SignatureAlgorithm::Ed25519, ED25519_PRIVATE),
        (SignatureAlgorithm::Ed25519, ""),
        (SignatureAlgorithm::EcdsaP256Sha256, ED25519),
        (SignatureAlgorithm::RsaPssSha512, P256),
        (SignatureAlgorithm::RsaV15Sha256, "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"),
    ] {
        let error = VerifyingKey::new(algorithm, bytes).expect_err("refused");
        assert_eq!(error, MessageSignaturesError::Key { algorithm: algorithm.name() });
    }
    let short = VerifyingKey::new(SignatureAlgorithm::HmacSha256, [7; 31]);
    assert_eq!(short.expect_err("refused"), MessageSignaturesError::ShortSecret);
    let public = MessageSigner::new("a", SignatureAlgorithm::Ed25519, ED25519);
    assert_eq!(public.expect_err("refused"), MessageSignaturesError::Key { algorithm: "ed25519" });
    let (mut head, _) = request("GET /").into_parts();
    let signer = MessageSigner::new("a", SignatureAlgorithm::Ed25519, ED25519_PRIVATE).unwrap();
    let failed = signer.sign_request(&mut head, b"", UNIX_EPOCH);
    assert_eq!(failed, Err(MessageSignaturesError::Origin));
}

#[test]
fn no_secret_is_printed() {
    let secret = "a secret of more than thirty-two bytes";
    let key = VerifyingKey::new(SignatureAlgorithm::HmacSha256, secret).unwrap();
    let signer = MessageSigner::new("id", SignatureAlgorithm::HmacSha256, secret).unwrap();
    let step =
        MessageSignatures::new("https://example.com").unwrap().key("id", key.clone()).unwrap();
    let printed = format!("{key:?} {signer:?} {step:?}");
    assert!(printed.contains("HmacSha256") && printed.contains("\"id\""), "{printed}");
    assert!(!printed.contains("thirty-two") && !printed.contains("97, 32"), "{printed}");
}

#[tokio::test]
async fn the_log_names_the_part_at_fault_in_one_event() {
    let log = Log::start();
    let chain = receiver(signatures("https://example.com"));
    send(&chain, request("GET /")).await;
    send(&chain, signed_at(&signer(), request("GET /"), "", NOW - 999)).await;
    let mut forged = signed(&signer(), request("GET /"), "");
    forged.headers_mut().insert("signature", HeaderValue::from_static("sig=:AAAA:"));
    send(&chain, forged).await;
    let text = log.text();
    let expected = ["reason=\"missing\"", "part=\"created\"", "reason=\"signature\""];
    for (line, expected) in text.lines().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn each_refusal_is_declared() {
    let refusals = [
        SignatureRefusal::Missing,
        SignatureRefusal::Malformed,
        SignatureRefusal::Coverage,
        SignatureRefusal::Component,
        SignatureRefusal::Time,
        SignatureRefusal::UnknownKey,
        SignatureRefusal::Algorithm,
        SignatureRefusal::Signature,
        SignatureRefusal::Nonce,
        SignatureRefusal::Replay,
        SignatureRefusal::Digest,
        SignatureRefusal::Unavailable,
    ];
    let mut declaration = Declaration::default();
    signatures("https://example.com").nonces().max_body(10).declare(&mut declaration);
    let statuses: Vec<_> = declaration.answered().iter().map(Answer::status).collect();
    assert!(refusals.iter().all(|refusal| statuses.contains(&refusal.status())));
    assert!(statuses.contains(&StatusCode::PAYLOAD_TOO_LARGE));
    assert!(declaration.kinds().contains(&Kind::VerifiesBody));
    assert_eq!(declaration.body_limit(), Some(10));
    assert_eq!(declaration.used().len(), 1, "one of the keys is a secret");
    assert_eq!(*declaration.credentials()[0].scheme(), Scheme::Header("signature".to_owned()));
}
