//! AWS Lambda: the real runtime in a process of its own, with events as API Gateway sends them.

use std::process::Stdio;
use std::sync::Arc;

use axum::Json;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{Mutex, mpsc};
use tower_chain::{Chain, Provided, Request, Server};

use super::api;

/// The side of AWS: it hands out events, and takes answers.
#[derive(Clone)]
struct Gateway {
    events: Arc<Mutex<mpsc::Receiver<Value>>>,
    answers: mpsc::Sender<(String, Value)>,
}

async fn next(
    Provided(gateway): Provided<Gateway>,
) -> ([(&'static str, &'static str); 3], Json<Value>) {
    let Some(event) = gateway.events.lock().await.recv().await else {
        // No more events: the runtime waits, until its process is ended.
        std::future::pending().await
    };
    let head = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:1:function:api"),
    ];
    (head, Json(event))
}

async fn answer(Provided(gateway): Provided<Gateway>, req: Request) -> http::StatusCode {
    let path = req.uri().path().to_owned();
    let body = req.into_body().collect().await.unwrap().to_bytes();
    let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
    gateway.answers.send((path, answer)).await.unwrap();
    http::StatusCode::ACCEPTED
}

/// An event of API Gateway, payload format 2.0.
fn event(method: &str, path: &str, query: &str, headers: Value, body: Option<&str>) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": "id.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "id",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "agent"
            },
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390_u64
        },
        "body": body,
        "isBase64Encoded": false
    })
}

#[tokio::test]
async fn lambda_http_runs_a_chain() {
    let (events, receiver) = mpsc::channel(8);
    let (answers, mut answered) = mpsc::channel(8);
    let gateway = Gateway { events: Arc::new(Mutex::new(receiver)), answers };
    let aws = Chain::new()
        .provide(gateway)
        .at("/2018-06-01/runtime/invocation/next", |c| c.get(next))
        .at("/2018-06-01/runtime/invocation/{id}/{outcome}", |c| c.post(answer))
        .build();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap().to_string();
    tokio::spawn(server.serve_until(std::future::pending(), aws));

    let function = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lambda::the_function", "--ignored", "--nocapture"])
        .env("AWS_LAMBDA_RUNTIME_API", addr)
        .env("AWS_LAMBDA_FUNCTION_NAME", "api")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "log")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "log")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let mut ask = async |event: Value| {
        events.send(event).await.unwrap();
        let answer = tokio::time::timeout(std::time::Duration::from_secs(30), answered.recv());
        let (path, answer) = answer.await.expect("takes too long").unwrap();
        assert!(path.ends_with("/response"), "{path}: {answer}");
        answer
    };

    let answer = ask(event("GET", "/hello", "", json!({}), None)).await;
    assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(200), &json!("hello")));
    assert_eq!(answer["headers"]["x-chain"], "passed");
    assert_eq!(answer["isBase64Encoded"], false);

    let answer = ask(event("GET", "/pages", "number=7", json!({}), None)).await;
    assert_eq!(answer["body"], "page 7");

    let headers = json!({ "content-type": "application/json" });
    let answer = ask(event("POST", "/echo", "", headers, Some(r#"{"text":"back"}"#))).await;
    assert_eq!(answer["body"], r#"{"text":"back"}"#);

    let answer = ask(event("GET", "/me/name", "", json!({}), None)).await;
    assert_eq!(answer["statusCode"], 401);
    assert_eq!(answer["headers"]["content-type"], "application/problem+json");
    // The problem is text, not base64.
    assert!(answer["body"].as_str().unwrap().contains("Sign in first"), "{answer}");
    let headers = json!({ "authorization": "Ann" });
    assert_eq!(ask(event("GET", "/me/name", "", headers, None)).await["body"], "Ann");
    drop(function);
}

/// Run by the test above in a process of its own, because the runtime is configured by the environment.
#[tokio::test]
#[ignore = "waits for events without end"]
async fn the_function() {
    lambda_http::run(api()).await.unwrap();
}
