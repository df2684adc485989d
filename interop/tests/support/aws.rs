//! A substitute for the AWS Lambda service: it sends events to a function, and receives the responses.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tower_chain::{Chain, Provided, Request, Server};

/// The Lambda runtime API, for one function.
#[derive(Clone)]
pub(crate) struct Lambda {
    addr: String,
    events: mpsc::Sender<Value>,
    answers: Arc<Mutex<mpsc::Receiver<(String, Value)>>>,
}

impl Lambda {
    pub(crate) async fn start() -> Self {
        let (events, receiver) = mpsc::channel(8);
        let (sender, answers) = mpsc::channel(8);
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr().unwrap().to_string();
        let api = Chain::new()
            .provide(Function { events: Arc::new(Mutex::new(receiver)), answers: sender })
            .at("/2018-06-01/runtime/invocation/next", |c| c.get(next))
            .at("/2018-06-01/runtime/invocation/{id}/{outcome}", |c| c.post(answer))
            .build();
        tokio::spawn(server.serve_until(std::future::pending(), api));
        Self { addr, events, answers: Arc::new(Mutex::new(answers)) }
    }

    /// Returns the environment variables that AWS sets for the process of a function.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 6] {
        [
            ("AWS_LAMBDA_RUNTIME_API", &self.addr),
            ("AWS_LAMBDA_FUNCTION_NAME", "api"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "log"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "log"),
        ]
    }

    /// Sends an event to the function, and returns its response.
    pub(crate) async fn ask(&self, event: Value) -> Value {
        self.events.send(event).await.unwrap();
        let mut answers = self.answers.lock().await;
        let answer = tokio::time::timeout(Duration::from_secs(30), answers.recv());
        let (path, answer) = answer.await.expect("takes too long").unwrap();
        assert!(path.ends_with("/response"), "{path}: {answer}");
        answer
    }
}

#[derive(Clone)]
struct Function {
    events: Arc<Mutex<mpsc::Receiver<Value>>>,
    answers: mpsc::Sender<(String, Value)>,
}

async fn next(
    Provided(function): Provided<Function>,
) -> ([(&'static str, &'static str); 3], Json<Value>) {
    let Some(event) = function.events.lock().await.recv().await else {
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

async fn answer(Provided(function): Provided<Function>, req: Request) -> http::StatusCode {
    let path = req.uri().path().to_owned();
    let body = req.into_body().collect().await.unwrap().to_bytes();
    let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
    function.answers.send((path, answer)).await.unwrap();
    http::StatusCode::ACCEPTED
}

/// An event of API Gateway, payload format 2.0.
pub(crate) fn event(
    method: &str,
    path: &str,
    query: &str,
    headers: Value,
    body: Option<&str>,
) -> Value {
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
