//! The matrix of refusals.

use serde::Deserialize;
use tower_chain::{Chain, ChainService, Form, Json, Query, Valid};
use validator::Validate;

use crate::{row, run};

#[derive(Deserialize, Validate)]
#[serde(rename_all = "camelCase")]
struct SignUp {
    #[validate(length(min = 3))]
    user_name: String,
    #[validate(length(min = 20), must_match(other = "again"))]
    password: String,
    again: String,
}

#[derive(Deserialize)]
struct Page {
    n: u32,
}

fn chain() -> ChainService {
    Chain::new()
        .at("/", |c| {
            c.get(async |Query(page): Query<Page>| page.n.to_string())
                .post(async |Valid(user): Valid<Json<SignUp>>| user.user_name.clone())
                .put(async |Valid(user): Valid<Form<SignUp>>| user.user_name.clone())
        })
        .build()
}

#[tokio::test]
async fn each_mistake_has_its_status() {
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let errors = |location: &str| {
        format!(
            r#"..[{{"location":"{location}","pointer":"/userName","code":"length","detail":"Must have at least 3 characters","params":{{"min":3}}}},{{"location":"{location}","pointer":"/password","code":"length","detail":"Must have at least 20 characters","params":{{"min":20}}}},{{"location":"{location}","pointer":"/password","code":"must_match","detail":"Must be the same as the other field"}}]"#
        )
    };
    let rows = vec![
        row("POST", "/", 400).kind(json).body(r#"{"userName""#),
        row("POST", "/", 400).kind(json),
        row("POST", "/", 422)
            .kind(json)
            .body(r#"{"userName":1,"password":"CANARY","again":"CANARY"}"#)
            .answer(r#".."pointer":"/userName""#),
        row("POST", "/", 422)
            .kind(json)
            .body(r#"{"userName":"x","password":{"CANARY":"CANARY"},"again":"CANARY"}"#)
            .answer(r#".."pointer":"/password""#),
        row("POST", "/", 422)
            .kind(json)
            .body(r#"{"userName":"x","password":"CANARY1","again":"CANARY2"}"#)
            .answer(errors("body")),
        row("PUT", "/", 422)
            .kind(form)
            .body("userName=x&password=CANARY1&again=CANARY2")
            .answer(errors("body")),
        row("PUT", "/", 422)
            .kind(form)
            .body("userName=x")
            .answer(r#".."pointer":"/password","code":"missing""#),
        row("POST", "/", 415).kind("text/plain").body("{}"),
        row("POST", "/", 415).body("{}"),
        row("POST", "/", 413).kind(json).body(vec![b' '; (1 << 20) + 1]),
        row("GET", "/?n=CANARY", 400)
            .answer(r#".."location":"query","pointer":"/n","code":"type""#),
        row("GET", "/", 400).answer(r#".."pointer":"/n","code":"missing""#),
        row("GET", "/?__proto__=x&n=1", 200).answer("1"),
        row("DELETE", "/", 405).field("allow", "GET, HEAD, OPTIONS, POST, PUT"),
        row("GET", "/nowhere", 404),
    ];
    run(chain(), rows).await;
}
