//! A real browser posts forms with its three encodings, and reads events through a compression layer.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fantoccini::{Client, Locator};
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower_chain::extract::{Multipart, Unchecked};
use tower_chain::respond::{Event, LastEventId, Sse};
use tower_chain::{Chain, ChainService, Error, Form, Json, Provided, Query, Server, Valid};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use validator::Validate;

use crate::support::browser::Driver;

#[derive(Debug, Default, Deserialize, Serialize, Validate)]
#[serde(rename_all = "camelCase")]
struct SignUp {
    #[validate(length(min = 3))]
    full_name: String,
    #[serde(default)]
    #[validate(length(min = 1))]
    topics: Vec<String>,
    #[validate(range(min = 18))]
    age: Option<u32>,
    note: String,
    #[serde(default)]
    file: String,
}

async fn by_parts(mut form: Multipart) -> Result<Json<SignUp>, Error> {
    let mut found = SignUp::default();
    while let Some(part) = form.next_part().await? {
        match part.name().unwrap_or_default() {
            "fullName" => found.full_name = part.text().await?,
            "topics" => found.topics.push(part.text().await?),
            "age" => found.age = part.text().await?.parse().ok(),
            "note" => found.note = part.text().await?,
            "file" => {
                let name = part.file_name().unwrap_or_default().to_owned();
                let kind = part.content_type().unwrap_or_default().to_owned();
                found.file = format!("{name} {kind} {:?}", part.bytes().await?);
            }
            _ => {}
        }
    }
    let Valid(Form(found)) = Valid::check(Unchecked::new(Form(found))).await?;
    Ok(Json(found))
}

const FORMS: &str = r#"<!doctype html><meta charset="utf-8">
<form method="post" action="/form"><input name="fullName">
  <input type="checkbox" name="topics" value="a&b"><input type="checkbox" name="topics" value="ü">
  <input name="age"><textarea name="note"></textarea><button>Send</button></form>
<form method="post" action="/parts" enctype="multipart/form-data"><input name="fullName">
  <input type="checkbox" name="topics" value="a&b"><input type="checkbox" name="topics" value="ü">
  <input name="age"><textarea name="note"></textarea><input type="file" name="file"><button>Send</button></form>"#;

fn forms() -> ChainService {
    let page = async || ([("content-type", "text/html")], FORMS);
    Chain::new()
        .at("/", |c| c.get(page))
        .at("/form", |c| c.post(async |Valid(Form(form)): Valid<Form<SignUp>>| Json(form)))
        .at("/parts", |c| c.post(by_parts))
        .at("/json", |c| c.post(async |Valid(Json(form)): Valid<Json<SignUp>>| Json(form)))
        .build()
}

/// Returns the text of the page, which is JSON.
async fn shown(browser: &Client) -> Value {
    let body = browser.find(Locator::Css("body")).await.unwrap().text().await.unwrap();
    serde_json::from_str(&body).unwrap_or_else(|_| panic!("no JSON: {body}"))
}

async fn serve(chain: ChainService) -> (String, tokio::task::JoinHandle<()>) {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", server.local_addr().unwrap());
    (base, tokio::spawn(async { server.serve(chain).await.unwrap() }))
}

#[tokio::test]
#[cfg_attr(not(chromium), ignore = "install chromium and chromedriver to run this test")]
async fn a_browser_posts_a_form_in_three_ways() {
    let driver = Driver::start();
    let (base, running) = serve(forms()).await;
    let browser = driver.browser().await;
    let file = std::env::temp_dir().join(format!("tower-chain-test-{}.bin", std::process::id()));
    std::fs::write(&file, b"\xff\x00\r\n--").unwrap();

    for (action, with_file) in
        [("/form", ""), ("/parts", r#" application/octet-stream b"\xff\0\r\n--""#)]
    {
        for (name, age, errors) in
            [("Ann & Bö", "", &[][..]), ("An", "17", &["/fullName", "/age"][..])]
        {
            browser.goto(&base).await.unwrap();
            let in_form = |field: &str| format!("form[action='{action}'] {field}");
            for (field, text) in
                [("[name=fullName]", name), ("[name=age]", age), ("textarea", "one\ntwo")]
            {
                let field = browser.find(Locator::Css(&in_form(field))).await.unwrap();
                field.send_keys(text).await.unwrap();
            }
            for topic in browser.find_all(Locator::Css(&in_form("[name=topics]"))).await.unwrap() {
                topic.click().await.unwrap();
            }
            let mut expected_file = String::new();
            if !with_file.is_empty() {
                let field = browser.find(Locator::Css(&in_form("[name=file]"))).await.unwrap();
                field.send_keys(file.to_str().unwrap()).await.unwrap();
                let name = file.file_name().unwrap().to_str().unwrap();
                expected_file = format!("{name}{with_file}");
            }
            browser.find(Locator::Css(&in_form("button"))).await.unwrap().click().await.unwrap();
            browser.wait().for_url(&format!("{base}{action}").parse().unwrap()).await.unwrap();
            let answer = shown(&browser).await;
            if errors.is_empty() {
                // Browsers send line breaks as CR LF.
                let expected = json!({"fullName": name, "topics": ["a&b", "ü"], "age": null, "note": "one\r\ntwo", "file": expected_file});
                assert_eq!(answer, expected, "{action}");
            } else {
                assert_eq!(answer["status"], 422, "{action}");
                let found: Vec<&Value> =
                    answer["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
                assert_eq!(found, errors, "{action}");
            }
        }
    }

    let fetch = r"
        const [body, done] = arguments;
        fetch('/json', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
            .then(async (answer) => done([answer.status, answer.headers.get('content-type'), await answer.json()]));";
    let good = json!({"fullName": "Ann & Bö", "topics": ["a&b", "ü"], "age": null, "note": "one\ntwo", "file": ""});
    let answer = browser.execute_async(fetch, vec![good.clone()]).await.unwrap();
    assert_eq!(answer, json!([200, "application/json", good]));
    let bad = json!({"fullName": "An", "topics": [], "age": 17, "note": ""});
    let answer = browser.execute_async(fetch, vec![bad]).await.unwrap();
    assert_eq!((&answer[0], &answer[1]), (&json!(422), &json!("application/problem+json")));
    assert_eq!(answer[2]["errors"][1]["pointer"], "/topics");

    browser.close().await.unwrap();
    std::fs::remove_file(file).unwrap();
    running.abort();
}

const LISTENER: &str = r#"<!doctype html><meta charset="utf-8"><ol></ol><p></p><script>
  const events = new EventSource("/events");
  events.addEventListener("step", async (event) => {
    document.querySelector("ol").append(Object.assign(document.createElement("li"), { textContent: event.data }));
    await fetch("/seen?id=" + event.lastEventId, { method: "POST" });
    if (event.lastEventId === "5") {
      events.close();
      const text = await fetch("/text");
      document.querySelector("p").textContent = "closed " + text.headers.get("content-encoding");
    }
  });
</script>"#;

#[derive(Clone)]
struct Acknowledged {
    sender: mpsc::UnboundedSender<u64>,
    /// Locked while a stream runs.
    receiver: Arc<Mutex<Option<mpsc::UnboundedReceiver<u64>>>>,
    /// For each connection: the last event that the browser has, and the encodings that it accepts.
    came: Arc<Mutex<Vec<(Option<String>, String)>>>,
}

#[derive(Deserialize)]
struct Seen {
    id: u64,
}

/// Sends each event after the page has confirmed the one before.
async fn events(
    Provided(shared): Provided<Acknowledged>,
    LastEventId(last): LastEventId,
    headers: HeaderMap,
) -> Result<Sse<impl stream::Stream<Item = Result<Event, Infallible>>>, Error> {
    let accepts = headers["accept-encoding"].to_str().unwrap().to_owned();
    shared.came.lock().unwrap().push((last.clone(), accepts));
    let first = last.map_or(1, |id| id.parse::<u64>().unwrap() + 1);
    let receiver = shared.receiver.lock().unwrap().take();
    let receiver = receiver.ok_or_else(|| Error::new(StatusCode::CONFLICT, "Only one listens"))?;
    let state = (first, first, receiver, shared.receiver.clone());
    Ok(Sse::new(stream::unfold(state, async |(first, n, mut seen, place)| {
        if n > first {
            assert_eq!(seen.recv().await, Some(n - 1));
        }
        // The stream ends after three events, and the browser reconnects for the others.
        if n == 4 && first == 1 {
            *place.lock().unwrap() = Some(seen);
            return None;
        }
        if n == 6 {
            return None;
        }
        let event = Event::new()
            .event("step")
            .id(n)
            .retry(Duration::from_millis(1))
            .data(format!("step {n}"));
        Some((Ok(event), (first, n + 1, seen, place)))
    })))
}

#[tokio::test]
#[cfg_attr(not(chromium), ignore = "install chromium and chromedriver to run this test")]
async fn a_browser_sees_each_event_before_the_next_is_made() {
    let driver = Driver::start();
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Acknowledged {
        sender,
        receiver: Arc::new(Mutex::new(Some(receiver))),
        came: Arc::default(),
    };
    let chain = Chain::new()
        .provide(shared.clone())
        .use_(CompressionLayer::new().compress_when(SizeAbove::new(0)))
        .at("/", |c| c.get(async || ([("content-type", "text/html")], LISTENER)))
        .at("/events", |c| c.get(events))
        .at("/seen", |c| {
            c.post(async |Provided(shared): Provided<Acknowledged>, Query(seen): Query<Seen>| {
                shared.sender.send(seen.id).unwrap();
            })
        })
        .at("/text", |c| c.get(async || "text ".repeat(1000)))
        .build();
    let (base, running) = serve(chain).await;
    let browser = driver.browser().await;
    browser.goto(&base).await.unwrap();
    let closed = Locator::XPath("//p[starts-with(., 'closed')]");
    let closed = browser.wait().at_most(Duration::from_secs(20)).for_element(closed).await;
    let page = browser.source().await.unwrap();
    // The layer compresses everything except the events.
    let encoding = closed.unwrap_or_else(|_| panic!("{page}")).text().await.unwrap();
    assert!(["closed gzip", "closed br", "closed zstd"].contains(&&*encoding), "{encoding}");
    let mut texts = Vec::new();
    for item in browser.find_all(Locator::Css("li")).await.unwrap() {
        texts.push(item.text().await.unwrap());
    }
    assert_eq!(texts, ["step 1", "step 2", "step 3", "step 4", "step 5"]);
    let came = shared.came.lock().unwrap().clone();
    let ids: Vec<Option<&str>> = came.iter().map(|(id, _)| id.as_deref()).collect();
    assert_eq!(ids, [None, Some("3")]);
    assert!(came.iter().all(|(_, accepts)| accepts.contains("gzip")), "{came:?}");
    browser.close().await.unwrap();
    running.abort();
}
