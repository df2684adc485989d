//! The page of the example, used in headless Chromium.

use std::time::Duration;

use fantoccini::Locator;

use super::program::Program;
use crate::support::browser::Driver;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(chromium), ignore = "install chromium and chromedriver to run this test")]
async fn a_browser_posts_the_form_and_sees_message_list_and_errors() {
    let driver = Driver::start();
    let program = Program::start();
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

    // An empty form: the page shows each error next to its field.
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
    assert_eq!(first, "A second one\nNewest first");
    browser.close().await.unwrap();
}
