//! A page of react-hook-form and a page without scripts, in a browser: each error is beside its field, in one round trip.

use std::process::Command;
use std::time::Duration;

use fantoccini::{Client, Locator};
use serde::Deserialize;
use tower_chain::extract::{BracketSyntax, ByField, Submitted};
use tower_chain::{
    Chain, ChainService, Fields, Form, IntoResponse, Json, Provided, Redirect, Response, Server,
    Valid,
};
use validator::Validate;

use crate::support::browser::Driver;
use crate::support::programs::Folder;

#[derive(Deserialize, Fields, Validate)]
#[serde(rename_all = "camelCase")]
struct Order {
    #[validate(length(min = 3, message = "Enter at least three letters"))]
    full_name: String,
    #[validate(email(message = "Enter an email address"))]
    email: String,
    #[validate(range(min = 18, message = "Only for adults"))]
    age: u8,
    #[validate(nested)]
    lines: Vec<Line>,
}

#[derive(Deserialize, Fields, Validate)]
struct Line {
    #[serde(rename = "sku")]
    #[validate(length(min = 1, message = "Which one?"))]
    stock_keeping_unit: String,
    #[validate(range(min = 1, message = "At least one"))]
    count: u8,
}

/// The names of the fields, as a script and as a form without one write them.
const FIELDS: [(&str, &str); 7] = [
    ("fullName", "fullName"),
    ("email", "email"),
    ("age", "age"),
    ("lines.0.sku", "lines[0][sku]"),
    ("lines.0.count", "lines[0][count]"),
    ("lines.1.sku", "lines[4][sku]"),
    ("lines.1.count", "lines[4][count]"),
];

/// What is typed into each field, and the text that must then be beside it.
const ROUNDS: [[(&str, &str); 7]; 3] = [
    [
        ("", "Enter at least three letters"),
        ("nobody", "Enter an email address"),
        // A script sends `null` for it, a form an empty text.
        ("", "Must be a"),
        ("", "Which one?"),
        ("0", "At least one"),
        ("", "Which one?"),
        ("1", ""),
    ],
    [
        ("Ann", ""),
        ("ann@example.org", ""),
        ("17", "Only for adults"),
        ("A1", ""),
        ("1", ""),
        ("A2", ""),
        ("1.5", "Must be a"),
    ],
    [
        ("Ann", ""),
        ("ann@example.org", ""),
        ("18", ""),
        ("A1", ""),
        ("1", ""),
        ("A2", ""),
        ("2", ""),
    ],
];

/// A page without scripts, with the submitted values and the error of each field.
async fn order(form: Submitted<Valid<ByField<Form<Order>>>>) -> Response {
    match form.result() {
        Ok(_) => Redirect::to("/thanks").see_other().into_response(),
        Err(error) => {
            let value = |name: &str| form.value(name).unwrap_or_default().to_owned();
            let errors = |name: &str| {
                form.errors(name)
                    .map(|error| error.detail().to_owned())
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            (error.status(), HTML, page(&format!("refused {}", value("fullName")), value, errors))
                .into_response()
        }
    }
}

fn page(title: &str, value: impl Fn(&str) -> String, errors: impl Fn(&str) -> String) -> String {
    let escape =
        |text: String| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let fields = FIELDS.map(|(_, name)| {
        let (value, errors) = (escape(value(name)), escape(errors(name)));
        format!("<label>{name} <input name=\"{name}\" value=\"{value}\"> <em data-for=\"{name}\">{errors}</em></label>")
    });
    format!(
        "<!doctype html><title>{}</title><form method=post>{}<button>Send</button></form>",
        escape(title.to_owned()),
        fields.concat()
    )
}

const HTML: [(&str, &str); 1] = [("content-type", "text/html; charset=utf-8")];

#[derive(Clone)]
struct Script(String);

fn site(script: String) -> ChainService {
    const SCRIPTED: &str = "<!doctype html><meta charset=utf-8><title>form</title><main></main><script src=/page.js></script>";
    Chain::new()
        .provide(BracketSyntax::new())
        .provide(Script(script))
        .at("/scripted", |c| c.get(async || (HTML, SCRIPTED)))
        .at("/page.js", |c| {
            c.get(async |Provided(Script(text)): Provided<Script>| {
                ([("content-type", "text/javascript; charset=utf-8")], text)
            })
        })
        .at("/orders", |c| c.post(async |_: Valid<ByField<Json<Order>>>| Json("thanks")))
        .at("/plain", |c| {
            c.get(async || {
                // The browser runs no script of this page.
                let policy = [("content-security-policy", "script-src 'none'")];
                (policy, HTML, page("form", |_| String::new(), |_| String::new()))
            })
            .post(order)
        })
        .at("/thanks", |c| c.get(async || (HTML, "<title>thanks</title>")))
        .build()
}

/// Bundles the page with React and react-hook-form.
fn script() -> String {
    let folder = Folder::new();
    let run = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).current_dir(&*folder).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    std::fs::write(folder.join("package.json"), "{\"private\":true}").unwrap();
    std::fs::write(folder.join("page.jsx"), include_str!("page.jsx")).unwrap();
    let packages = ["react@18.3.1", "react-dom@18.3.1", "react-hook-form@7.54.2", "esbuild@0.25.0"];
    let mut install = vec!["install", "--no-audit", "--no-fund", "--ignore-scripts"];
    install.extend(packages);
    run("npm", &install);
    let define = "--define:process.env.NODE_ENV=\"production\"";
    run("node_modules/.bin/esbuild", &["page.jsx", "--bundle", "--outfile=page.js", define]);
    std::fs::read_to_string(folder.join("page.js")).unwrap()
}

/// Types the texts of a round, sends the form, and compares the text beside each field.
async fn play(browser: &Client, is_scripted: bool, round: [(&str, &str); 7]) {
    for ((scripted, plain), (text, _)) in FIELDS.into_iter().zip(round) {
        let name = if is_scripted { scripted } else { plain };
        let field = browser.find(Locator::Css(&format!("[name='{name}']"))).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }
    let title = browser.title().await.unwrap();
    browser.find(Locator::Css("button")).await.unwrap().click().await.unwrap();
    let is_last = round.iter().all(|(_, error)| error.is_empty());
    let refused = format!("refused {}", round[0].0);
    let expected = match (is_scripted, is_last) {
        (true, false) => "answer 422",
        (true, true) => "answer 200",
        (false, false) => &*refused,
        (false, true) => "thanks",
    };
    let path = format!("//title[text()='{expected}']");
    let answered = browser.wait().at_most(Duration::from_secs(20));
    let answered = answered.for_element(Locator::XPath(&path)).await;
    assert!(answered.is_ok(), "{title}: {}", browser.source().await.unwrap());
    if is_last {
        return;
    }
    for ((scripted, plain), (text, error)) in FIELDS.into_iter().zip(round) {
        let name = if is_scripted { scripted } else { plain };
        let beside = browser.find(Locator::Css(&format!("[data-for='{name}']"))).await.unwrap();
        let beside = beside.text().await.unwrap();
        assert!(
            beside.starts_with(error) && beside.is_empty() == error.is_empty(),
            "{name}: {beside}"
        );
        let field = browser.find(Locator::Css(&format!("[name='{name}']"))).await.unwrap();
        assert_eq!(field.prop("value").await.unwrap().unwrap(), text, "{name}");
    }
}

#[tokio::test]
#[cfg_attr(
    not(all(chromium, npm)),
    ignore = "install chromium, chromedriver and npm to run this test"
)]
async fn each_error_is_beside_its_field_with_react_hook_form_and_without_scripts() {
    let driver = Driver::start();
    let script = tokio::task::spawn_blocking(script).await.unwrap();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", server.local_addr().unwrap());
    let running = tokio::spawn(async move { server.serve(site(script)).await.unwrap() });
    let browser = driver.browser().await;
    for (path, is_scripted) in [("/scripted", true), ("/plain", false)] {
        browser.goto(&format!("{base}{path}")).await.unwrap();
        let form = browser.wait().at_most(Duration::from_secs(20));
        form.for_element(Locator::Css("form")).await.unwrap();
        for round in ROUNDS {
            if is_scripted {
                // The title of the round before.
                browser.execute("document.title = 'form'", Vec::new()).await.unwrap();
            }
            play(&browser, is_scripted, round).await;
        }
    }
    browser.close().await.unwrap();
    running.abort();
}
