//! The page of the example, used in headless Chromium.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;

use crate::program::Program;
use crate::programs::installed;

struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    fn start() -> Self {
        // The port is free now, and taken again at once.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let child = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    async fn browser(&self) -> Client {
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({ "args": arguments }));
        let url = format!("http://127.0.0.1:{}", self.port);
        let mut tries = 0;
        loop {
            let mut builder =
                ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
            match builder.capabilities(capabilities.clone()).connect(&url).await {
                Ok(client) => return client,
                Err(error) if tries == 100 => panic!("{error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            tries += 1;
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_posts_the_form_and_sees_message_list_and_errors() {
    if !installed("chromedriver") || !installed("chromium") {
        return;
    }
    let program = Program::start();
    let driver = Driver::start();
    let browser = driver.browser().await;
    browser.goto(&program.base).await.unwrap();

    let button =
        || async { browser.find(Locator::Css("button")).await.unwrap().click().await.unwrap() };
    let fill = |name: &'static str, text: &'static str| {
        let browser = browser.clone();
        async move {
            let field = browser.find(Locator::Css(&format!("[name={name}]"))).await.unwrap();
            field.clear().await.unwrap();
            field.send_keys(text).await.unwrap();
        }
    };
    let wait_for = |selector: &'static str, text: &'static str| {
        let browser = browser.clone();
        async move {
            let xpath = format!("//*[{selector}][contains(., \"{text}\")]");
            let found = browser
                .wait()
                .at_most(Duration::from_secs(10))
                .for_element(Locator::XPath(&xpath))
                .await;
            assert!(found.is_ok(), "{selector} {text}: {}", browser.source().await.unwrap());
        }
    };

    // Nothing filled in: each error beside its field.
    button().await;
    wait_for("@data-field='title'", "1").await;
    wait_for("@data-field='post'", "1").await;

    fill("title", "From a browser").await;
    fill("post", "<script>alert(1)</script> & more").await;
    button().await;
    wait_for("@id='message'", "Post created successfully").await;
    wait_for("@id='posts'", "From a browser").await;
    wait_for("@id='posts'", "<script>alert(1)</script> & more").await;
    let title =
        browser.find(Locator::Css("[data-field=title]")).await.unwrap().text().await.unwrap();
    assert_eq!(title, "");

    fill("title", "A second one").await;
    fill("post", "Newest first").await;
    button().await;
    wait_for("@id='posts'", "A second one").await;
    let first = browser.find(Locator::Css("#posts li")).await.unwrap().text().await.unwrap();
    assert_eq!(first, "A second one Newest first");
    browser.close().await.unwrap();
}
