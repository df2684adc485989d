//! Marked values in a request appear neither in the response nor in the log.

use ::garde::Validate as _;
use serde::Deserialize;
use tower_chain::extract::{Multipart, Params, Unchecked};
use tower_chain::middleware::garde::Garde;
use tower_chain::{Chain, ChainService, Error, Form, Json, Path, Query, Valid};

use crate::log::Log;
use crate::{Row, row, run};

#[derive(Clone, Debug, Default, Deserialize, validator::Validate, ::garde::Validate)]
#[allow(dead_code, reason = "read by the rules alone")]
struct SignUp {
    #[validate(length(min = 40), must_match(other = "again"), contains(pattern = "@"), email)]
    #[garde(length(min = 40), matches(again), contains("@"), email)]
    password: String,
    #[garde(skip)]
    again: String,
    #[serde(default)]
    #[validate(range(max = 9999))]
    #[garde(inner(range(max = 9999)))]
    pin: Option<u32>,
    #[serde(default)]
    #[validate(length(max = 1))]
    #[garde(length(max = 1))]
    tags: Vec<String>,
    #[serde(default)]
    #[garde(skip)]
    keys: std::collections::BTreeMap<String, u8>,
}

async fn parts(mut form: Multipart) -> Result<SignUp, Error> {
    let mut found = SignUp::default();
    while let Some(part) = form.next_part().await? {
        match part.name().unwrap_or_default() {
            "password" => found.password = part.text().await?,
            "again" => found.again = part.text().await?,
            "pin" => found.pin = Some(Json::from_slice(&part.bytes().await?)?.0),
            _ => {}
        }
    }
    Ok(found)
}

/// The same chain for both validation crates.
macro_rules! chain {
    ($engine:ident) => {
        Chain::new()
            .at("/json", |c| c.post(async |_: $engine<Json<SignUp>>| "fine"))
            .at("/form", |c| c.post(async |_: $engine<Form<SignUp>>| "fine"))
            .at("/query", |c| c.get(async |_: $engine<Query<SignUp>>| "fine"))
            .at("/params/{again}", |c| c.get(async |_: $engine<Params<SignUp>>| "fine"))
            .at("/path/{password}/{again}", |c| c.get(async |_: $engine<Path<SignUp>>| "fine"))
            .at("/path/{password}/{again}/{pin}", |c| {
                c.get(async |_: $engine<Path<SignUp>>| "fine")
            })
            .at("/upload", |c| {
                c.post(async |form: Multipart| {
                    let found = Form(parts(form).await?);
                    $engine::check(Unchecked::new(found)).await.map(|_| "fine")
                })
            })
            .build()
    };
}

/// A password that breaks a rule, the value that it must match, and secrets in the wrong position: in place of a number, as a name, in a
/// text that can't be parsed.
fn rows() -> Vec<Row> {
    let json =
        |status, body: &str| row("POST", "/json", status).kind("application/json").body(body);
    let form = |status, body: &str| {
        row("POST", "/form", status).kind("application/x-www-form-urlencoded").body(body)
    };
    let upload = |status, body: &str| {
        row("POST", "/upload", status)
            .kind("multipart/form-data; boundary=X")
            .body(body.replace('\n', "\r\n"))
    };
    let broken = r#".."pointer":"/password","code":"must_match""#;
    vec![
        json(422, r#"{"password":"CANARY1","again":"CANARY2"}"#).answer(broken),
        json(422, r#"{"password":["CANARY1"],"again":"CANARY2"}"#).answer(r#".."pointer":"/password""#),
        json(422, r#"{"password":{"CANARY1":"CANARY2"},"again":""}"#),
        json(422, r#"{"password":"CANARY1","again":"CANARY2","pin":"CANARY3"}"#).answer(r#".."pointer":"/pin""#),
        json(422, r#"{"password":"CANARY1","again":"CANARY1","keys":{"CANARY2":"CANARY3"}}"#)
            .answer(r#".."pointer":"/keys/*""#),
        json(422, r#"{"password":"CANARY1","again":"CANARY2","tags":["CANARY3","CANARY4"]}"#)
            .answer(r#".."pointer":"/tags","code":"length""#),
        json(422, r#"{"password":"CANARY1","again":"CANARY2","tags":"CANARY3"}"#),
        json(422, r#"{"again":"CANARY1","CANARY2":1}"#),
        json(422, r#""CANARY1""#),
        json(400, r#"{"password":"CANARY1","again":"CANARY2"#),
        json(400, r#"{"password":"CANARY1","again":"CANARY2"} CANARY3"#),
        json(400, r#"CANARY1"#),
        form(422, "password=CANARY1&again=CANARY2").answer(broken),
        form(422, "password=CANARY1&password=CANARY2&again=CANARY3"),
        form(422, "password=CANARY1&again=CANARY2&pin=CANARY3").answer(r#".."pointer":"/pin""#),
        form(422, "password=CANARY1&again=CANARY2&tags=CANARY3&tags=CANARY4"),
        form(422, "again=CANARY2&CANARY3=CANARY4"),
        form(400, "password=CANARY1%ff"),
        row("GET", "/query?password=CANARY1&again=CANARY2", 422).answer(broken),
        row("GET", "/query?password=CANARY1&again=CANARY2&pin=CANARY3", 400).answer(r#".."pointer":"/pin""#),
        row("GET", "/query?password=CANARY1%ff", 400),
        row("GET", "/params/CANARY2?password=CANARY1&again=CANARY3", 422).answer(broken),
        row("GET", "/params/CANARY2?password=CANARY1&pin=CANARY3", 400),
        row("GET", "/path/CANARY1/CANARY2", 422).answer(broken),
        row("GET", "/path/CANARY1/CANARY2/CANARY3", 400).answer(r#".."pointer":"/pin""#),
        row("GET", "/path/CANARY1%ff/CANARY2", 400),
        row("GET", "/CANARY1", 404),
        row("GET", "/json?CANARY1", 405),
        upload(422, "--X\ncontent-disposition: form-data; name=\"password\"\n\nCANARY1\n--X\ncontent-disposition: form-data; name=\"again\"\n\nCANARY2\n--X--\n")
            .answer(broken),
        upload(422, "--X\ncontent-disposition: form-data; name=\"pin\"; filename=\"CANARY2\"\n\n\"CANARY1\"\n--X--\n"),
        upload(400, "--X\ncontent-disposition: form-data; name=\"CANARY1\"\n\nCANARY2"),
        upload(400, "--X\nCANARY1\n\nCANARY2\n--X--\n"),
        upload(400, "CANARY1"),
        row("POST", "/upload", 415).kind("CANARY1/CANARY2; boundary=X").body("x"),
        row("POST", "/json", 415).kind("CANARY1/CANARY2").body("x"),
    ]
}

async fn nothing_is_told(chain: ChainService) {
    let log = Log::start();
    run(chain, rows()).await;
    tracing::error!("the log is on");
    let log = log.text();
    // Only the log of this crate: other clients and servers log the bytes on the wire.
    let ours: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" tower_chain") || line.contains(" input:"))
        .collect();
    let ours = ours.join("\n");
    assert!(ours.contains("the log is on") && !ours.contains("CANARY"), "{ours}");
}

#[tokio::test]
async fn validator_tells_no_secret() {
    nothing_is_told(chain!(Valid)).await;
}

#[tokio::test]
async fn garde_tells_no_secret() {
    // The rules are applied.
    assert!(SignUp::default().validate().is_err());
    nothing_is_told(chain!(Garde)).await;
}
