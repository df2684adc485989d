//! Chains in hosts whose dependencies are heavy.

#![allow(clippy::unwrap_used, dead_code, reason = "a test that cannot continue has failed")]

mod conformance;
#[path = "../examples/http3.rs"]
mod http3;
#[path = "../examples/mcp.rs"]
mod mcp;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http_body_util::BodyExt;
use rustls::pki_types::PrivateKeyDer;
use tower_chain::{Body, TestClient};

#[tokio::test]
async fn a_client_of_http3_gets_the_same_answers() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let endpoint = http3::endpoint(addr, vec![certificate.clone()], key).unwrap();
    let addr = endpoint.local_addr().unwrap();
    let api = http3::api(addr.port()).unwrap();
    tokio::spawn(http3::serve(endpoint, api.clone()));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let quic = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut client = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    client.set_default_client_config(quinn::ClientConfig::new(Arc::new(quic)));
    let connection = client.connect(addr, "localhost").unwrap().await.unwrap();
    let (mut driver, mut sender) =
        h3::client::new(h3_quinn::Connection::new(connection)).await.unwrap();
    tokio::spawn(async move { driver.wait_idle().await });

    let long = "x".repeat(300_000);
    let cases = [
        ("GET", "/hello", "", 200),
        ("HEAD", "/hello", "", 200),
        ("POST", "/echo", &*long, 200),
        ("POST", "/echo", "", 200),
        ("DELETE", "/hello", "", 405),
        ("GET", "/nowhere", "", 404),
        ("OPTIONS", "/hello", "", 204),
    ];
    for (method, path, body, status) in cases {
        let head = || {
            let uri = format!("https://localhost{path}");
            http::Request::builder().method(method).uri(uri).version(http::Version::HTTP_3)
        };
        let expected = api.handle(head().body(Body::from(body.to_owned())).unwrap()).await;
        let (expected, expected_body) = expected.into_parts();
        let expected_body = expected_body.collect().await.unwrap().to_bytes();

        let mut stream = sender.send_request(head().body(()).unwrap()).await.unwrap();
        if !body.is_empty() {
            stream.send_data(Bytes::from(body.to_owned())).await.unwrap();
        }
        stream.finish().await.unwrap();
        let response = stream.recv_response().await.unwrap();
        let mut text = Vec::new();
        while let Some(mut data) = stream.recv_data().await.unwrap() {
            text.extend(data.copy_to_bytes(data.remaining()));
        }
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(response.status(), expected.status);
        assert_eq!(response.headers(), &expected.headers, "{method} {path}");
        assert_eq!(text, expected_body, "{method} {path}");
    }
    // Clients of the other versions learn where HTTP/3 is.
    let response = TestClient::new(api).get("/hello").send().await;
    response.assert_header("alt-svc", &*format!("h3=\":{}\"; ma=86400", addr.port()));
}

#[tokio::test]
async fn a_client_of_mcp_calls_the_tools_of_its_scopes() {
    use rmcp::transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService,
    };
    use serde_json::json;
    use tower_chain::middleware::jwt::{AccessToken, TestIssuer};
    use tower_chain::middleware::protected_resource::ProtectedResource;
    use tower_chain::{Jwt, RateLimit};

    let (origin, resource) = ("http://localhost", "http://localhost/mcp");
    let metadata = ProtectedResource::new(resource).unwrap().authorization_server(origin).unwrap();
    let issuer = TestIssuer::es256();
    let jwt = Jwt::<AccessToken>::new(issuer.keys()).rfc9068(origin, resource).unwrap();
    let scopes = [("list_notes", "notes:read"), ("add_note", "notes:write")];
    let tools = mcp::ToolScopes::new(metadata.url(), &scopes).unwrap();
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false);
    let notes = mcp::Notes::default();
    let server = StreamableHttpService::new(move || Ok(notes.clone()), Arc::default(), config);
    let limit = RateLimit::per_minute(12);
    let api = mcp::protected(&metadata, jwt, limit, tools, server).unwrap();
    let token = |sub: &str, scope: &str| {
        let claims = json!({ "iss": origin, "aud": resource, "sub": sub, "client_id": "cli", "iat": 0, "jti": "1", "scope": scope });
        format!("Bearer {}", issuer.token_with(json!({ "typ": "at+jwt" }), claims))
    };
    let ask = async |token: &str, body: &str| {
        let request = http::Request::post("/mcp")
            .header("host", "localhost")
            .header(CONTENT_TYPE, "application/json")
            .header("accept", "application/json, text/event-stream");
        let request = match token {
            "" => request,
            token => request.header(AUTHORIZATION, token),
        };
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (head, body) = api.handle(request).await.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        (head, String::from_utf8_lossy(&text).into_owned())
    };
    let call = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
    };
    let add = call(r#"{"name":"add_note","arguments":{"text":"milk"}}"#);
    let list = call(r#"{"name":"list_notes","arguments":{}}"#);

    let (head, _) = ask("", &list).await;
    assert_eq!(head.status, 401);
    let challenge = head.headers[WWW_AUTHENTICATE].to_str().unwrap();
    assert!(challenge.contains(r#"scope="notes:read""#), "{challenge}");
    let url = r#"resource_metadata="http://localhost/.well-known/oauth-protected-resource/mcp""#;
    assert!(challenge.contains(url), "{challenge}");

    let (read, write) = (token("ada", "notes:read"), token("bob", "notes:read notes:write"));
    let init = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    // The name of a tool can be escaped, or be there twice: the server must receive the one that was checked.
    let escaped = call(r#"{"name":"add\u005fnote","arguments":{"text":"x"}}"#);
    let last = call(r#"{"name":"list_notes","name":"add_note","arguments":{"text":"x"}}"#);
    let first = call(r#"{"name":"add_note","name":"list_notes","arguments":{"text":"x"}}"#);
    let cases = [
        (&read, init, 200, "serverInfo"),
        (&read, &*add, 403, ""),
        (&read, &*escaped, 403, ""),
        (&read, &*last, 403, ""),
        (&read, &*first, 200, r#""text":"""#),
        (&read, &*call(r#"{"name":"other"}"#), 403, ""),
        (&read, &*call("{}"), 403, ""),
        (&read, &*format!("[{add}]"), 400, ""),
        (&read, "{", 400, ""),
        (&read, &*list, 200, r#""text":"""#),
        (&write, &*add, 200, "added"),
        (&read, &*list, 200, "milk"),
    ];
    for (token, body, status, part) in cases {
        let (head, text) = ask(token, body).await;
        assert_eq!(head.status, status, "{body}: {text}");
        assert!(text.contains(part), "{body}: {text}");
    }
    let (head, _) = ask(&write, &call(r#"{"name":"list_notes"}"#)).await;
    assert_eq!(head.status, 200);
    // The limit is that of a user of a client.
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(ask(&read, &list).await.0.status.as_u16());
    }
    assert_eq!(statuses, [200, 429]);
}
