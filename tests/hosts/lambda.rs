//! AWS Lambda: the real runtime in a process of its own, with events as API Gateway sends them.

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use super::api;
use crate::aws::{Lambda, event};

#[tokio::test]
async fn lambda_http_runs_a_chain() {
    let lambda = Lambda::start().await;
    let function = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lambda::the_function", "--ignored", "--nocapture"])
        .envs(lambda.variables())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ask = |event| lambda.ask(event);

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
