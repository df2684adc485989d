//! AWS Lambda: the real runtime in a separate process, with events in each format that AWS sends.

use std::net::SocketAddr;
use std::process::Stdio;

use axum::response::AppendHeaders;
use lambda_http::RequestExt;
use lambda_http::request::RequestContext;
use serde_json::{Value, json};
use tokio::process::Command;
use tower::ServiceExt;
use tower_chain::extract::PeerAddr;
use tower_chain::{Chain, ClientAddr};

use super::api;
use crate::support::aws::{Lambda, event};

/// The sources of events, each with its own format.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    /// API Gateway, payload format 2.0.
    HttpApi,
    /// A function URL: the same format, with fewer members.
    FunctionUrl,
    /// API Gateway, payload format 1.0.
    RestApi,
    LoadBalancer,
    /// A load balancer with multi-value headers enabled.
    MultiValueLoadBalancer,
}

/// A request.
#[derive(Clone, Copy, Default)]
struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<(&'a str, &'a str)>,
    headers: &'a [(&'a str, &'a str)],
    body: Option<&'a str>,
    base64: bool,
}

impl Source {
    fn event(self, ask: Ask<'_>) -> Value {
        let headers: serde_json::Map<_, _> =
            [("host", "api.example.org"), ("x-forwarded-for", "192.0.2.1")]
                .iter()
                .chain(ask.headers)
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
        let query = ask.query.map(|(name, value)| json!({ name: value }));
        let every = |map: Option<&Value>| {
            let map = map.and_then(Value::as_object)?;
            let lists = map.iter().map(|(name, value)| (name.clone(), json!([value])));
            Some(Value::Object(lists.collect()))
        };
        let all_headers = every(Some(&Value::Object(headers.clone())));
        let mut event = match self {
            Self::HttpApi | Self::FunctionUrl => {
                let query = ask.query.map(|(name, value)| format!("{name}={value}"));
                event(ask.method, ask.path, &query.unwrap_or_default(), headers.into(), ask.body)
            }
            Self::RestApi => json!({
                "resource": "/{proxy+}",
                "path": ask.path,
                "httpMethod": ask.method,
                "headers": headers,
                "multiValueHeaders": all_headers,
                "queryStringParameters": query,
                "multiValueQueryStringParameters": every(query.as_ref()),
                "pathParameters": { "proxy": ask.path.trim_start_matches('/') },
                "stageVariables": null,
                "requestContext": {
                    "accountId": "123456789012",
                    "apiId": "api-id",
                    "httpMethod": ask.method,
                    "identity": { "sourceIp": "192.0.2.1", "userAgent": "agent" },
                    "path": format!("/prod{}", ask.path),
                    "protocol": "HTTP/1.1",
                    "requestId": "id",
                    "requestTimeEpoch": 1_583_348_638_390_u64,
                    "resourceId": "123456",
                    "resourcePath": "/{proxy+}",
                    "stage": "prod"
                },
            }),
            Self::LoadBalancer | Self::MultiValueLoadBalancer => {
                let elb = json!({ "elb": { "targetGroupArn": "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/api/1" } });
                let mut event =
                    json!({ "requestContext": elb, "httpMethod": ask.method, "path": ask.path });
                if self == Self::LoadBalancer {
                    event["headers"] = Value::Object(headers);
                    event["queryStringParameters"] = query.unwrap_or_else(|| json!({}));
                } else {
                    event["multiValueHeaders"] = json!(all_headers);
                    event["multiValueQueryStringParameters"] =
                        every(query.as_ref()).unwrap_or_else(|| json!({}));
                }
                event
            }
        };
        event["body"] = json!(ask.body);
        event["isBase64Encoded"] = json!(ask.base64);
        if self == Self::FunctionUrl {
            let context = event["requestContext"].as_object_mut().unwrap();
            context.insert("authentication".to_owned(), Value::Null);
            context.insert("authorizer".to_owned(), json!({ "iam": { "accountId": "1" } }));
            event["cookies"] = json!(["a=1", "b=2"]);
        }
        event
    }

    /// Returns a header field of a response in the format of this source.
    fn headers(self, answer: &Value, name: &str) -> Vec<String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let many = answer["multiValueHeaders"][name].as_array();
        let cookies = answer["cookies"].as_array().filter(|_| name == "set-cookie");
        match cookies.or(many) {
            Some(list) => list.iter().filter_map(text).collect(),
            None => text(&answer["headers"][name]).into_iter().collect(),
        }
    }
}

#[tokio::test]
async fn lambda_http_runs_a_chain() {
    let lambda = Lambda::start().await;
    let function = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hosts::lambda::the_function", "--ignored", "--nocapture"])
        .envs(lambda.variables())
        // Otherwise the paths of a REST API start with the name of its stage.
        .env("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let ask = |source: Source, ask: Ask<'_>| lambda.ask(source.event(ask));

    for source in [
        Source::HttpApi,
        Source::FunctionUrl,
        Source::RestApi,
        Source::LoadBalancer,
        Source::MultiValueLoadBalancer,
    ] {
        let get = |path| Ask { method: "GET", path, ..Ask::default() };
        let answer = ask(source, get("/hello")).await;
        assert_eq!(
            (&answer["statusCode"], &answer["body"]),
            (&json!(200), &json!("hello")),
            "{source:?}"
        );
        assert_eq!(source.headers(&answer, "x-chain"), ["passed"], "{source:?} {answer}");
        assert_eq!(answer["isBase64Encoded"], false);

        let answer = ask(source, Ask { query: Some(("number", "7")), ..get("/pages") }).await;
        assert_eq!(answer["body"], "page 7", "{source:?}");

        let json = [("content-type", "application/json")];
        let post = Ask { method: "POST", headers: &json, ..get("/echo") };
        for (body, base64) in [(r#"{"text":"back"}"#, false), ("eyJ0ZXh0IjoiYmFjayJ9", true)] {
            let answer = ask(source, Ask { body: Some(body), base64, ..post }).await;
            assert_eq!(answer["body"], r#"{"text":"back"}"#, "{source:?}");
        }

        let answer = ask(source, get("/me/name")).await;
        assert_eq!(answer["statusCode"], 401);
        assert_eq!(source.headers(&answer, "content-type"), ["application/problem+json"]);
        // The problem is text, not base64.
        assert!(answer["body"].as_str().unwrap().contains("Sign in first"), "{answer}");
        let headers = [("authorization", "Ann")];
        assert_eq!(ask(source, Ask { headers: &headers, ..get("/me/name") }).await["body"], "Ann");

        let answer = ask(source, get("/two-cookies")).await;
        assert_eq!(source.headers(&answer, "set-cookie"), ["a=1", "b=2"], "{source:?} {answer}");
        let answer = ask(source, get("/bytes")).await;
        assert_eq!((&answer["isBase64Encoded"], &answer["body"]), (&json!(true), &json!("AJ+S")));
        let answer = ask(source, get("/addr")).await;
        assert_eq!(answer["body"], "192.0.2.1", "{source:?} {answer}");
    }
    let cookies = Ask { method: "GET", path: "/cookies", ..Ask::default() };
    assert_eq!(ask(Source::FunctionUrl, cookies).await["body"], "a=1; b=2");
    drop(function);
}

/// The address of the client: API Gateway sends it in the request context, a load balancer in a header that clients can't set.
fn with_peer(mut req: lambda_http::Request) -> lambda_http::Request {
    let addr = match req.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.clone(),
        Some(RequestContext::ApiGatewayV1(context)) => context.identity.source_ip.clone(),
        _ => req.headers().get("x-forwarded-for").and_then(last),
    };
    if let Some(Ok(addr)) = addr.map(|addr| addr.parse()) {
        req.extensions_mut().insert(PeerAddr(SocketAddr::new(addr, 0)));
    }
    req
}

fn last(value: &http::HeaderValue) -> Option<String> {
    value.to_str().ok()?.rsplit(',').next().map(|addr| addr.trim().to_owned())
}

/// The test above runs this in a separate process, because the runtime is configured by the environment.
#[tokio::test]
#[ignore = "waits for events without end"]
async fn the_function() {
    let chain = Chain::new()
        .at("/addr", |c| c.get(async |ClientAddr(addr): ClientAddr| addr.to_string()))
        .at("/bytes", |c| c.get(async || vec![0_u8, 159, 146]))
        .at("/cookies", |c| {
            c.get(async |headers: http::HeaderMap| headers["cookie"].to_str().unwrap().to_owned())
        })
        .at("/two-cookies", |c| {
            c.get(async || AppendHeaders([("set-cookie", "a=1"), ("set-cookie", "b=2")]))
        })
        .service("/", api())
        .build();
    lambda_http::run(chain.map_request(with_peer)).await.unwrap();
}
