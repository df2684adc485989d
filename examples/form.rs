//! HTML forms: a URL-encoded one, and one with a file upload.
//!
//! Run with
//!
//! ```sh
//! cargo run --example form --features form,multipart,serve,validate
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! serde = { version = "1", features = ["derive"] }
//! tracing-subscriber = "0.3"
//! validator = { version = "0.21", features = ["derive"] }
//! ```
//!
//! ```sh
//! curl -i localhost:3000/signup -d 'name=Ann&topic=rust&topic=http'
//! # HTTP/1.1 303 See Other
//! # location: /thanks
//! curl localhost:3000/signup -d 'name='
//! # {..,"status":422,..,"errors":[{..,"pointer":"/name",..}]}
//! curl localhost:3000/upload -F note=hello -F file=@Cargo.toml
//! # note: 5 bytes
//! # file: .. bytes
//! ```

use std::error::Error;

use serde::Deserialize;
use tower_chain::extract::{MaxBody, Multipart};
use tower_chain::{Chain, ChainService, Form, IntoResponse, Redirect, Valid};
use validator::Validate;

#[derive(Deserialize, Validate)]
struct SignUp {
    #[validate(length(min = 1))]
    name: String,
    #[serde(default)]
    topic: Vec<String>,
}

async fn signup(Valid(Form(form)): Valid<Form<SignUp>>) -> impl IntoResponse {
    println!("{} wants to hear of {}", form.name, form.topic.join(", "));
    Redirect::to("/thanks").see_other()
}

async fn upload(mut form: Multipart) -> Result<String, tower_chain::Error> {
    let mut text = String::new();
    while let Some(part) = form.next_part().await? {
        let name = part.name().unwrap_or("(none)").to_owned();
        text += &format!("{name}: {} bytes\n", part.bytes().await?.len());
    }
    Ok(text)
}

fn site() -> ChainService {
    Chain::new()
        .allow("open-write", "anyone may sign up")
        .at("/signup", |c| c.post(signup))
        .at("/upload", |c| c.provide(MaxBody::bytes(10 << 20)).post(upload))
        .at("/thanks", |c| c.get(async || "Thank you\n"))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), site()).await?)
}

#[tokio::test]
async fn a_form_leads_to_the_thanks() -> Result<(), Box<dyn Error>> {
    for (body, status) in [("name=Ann&topic=rust&topic=http", 303), ("name=", 422)] {
        let kind = "application/x-www-form-urlencoded";
        let req = http::Request::post("/signup").header("content-type", kind);
        assert_eq!(site().handle(req.body(tower_chain::Body::from(body))?).await.status(), status);
    }
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    site().audit().assert_none();
}
