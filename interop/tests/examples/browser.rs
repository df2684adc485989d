//! The web page of an example, used in a browser.

use std::time::Duration;

use fantoccini::Locator;

use super::page::Page;
use super::running::Running;
use crate::support::browser::Driver;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    not(all(chromium, curl)),
    ignore = "install chromium, chromedriver and curl to run this test"
)]
async fn the_form_is_posted_and_its_errors_are_shown() {
    let driver = Driver::start();
    let page = Page::all().into_iter().find(|page| page.name == "form_post").unwrap();
    let running = Running::start(&page);
    let browser = driver.browser().await;
    browser.goto(&running.url()).await.unwrap();
    let blank = "document.querySelector('form').noValidate = true";
    browser.execute(blank, Vec::new()).await.unwrap();
    for (title, post, shown) in
        [("", "x", "title: "), ("From a browser", "<b>&", "Post created successfully")]
    {
        for (name, text) in [("title", title), ("post", post)] {
            let field = browser.find(Locator::Css(&format!("[name={name}]"))).await.unwrap();
            field.clear().await.unwrap();
            field.send_keys(text).await.unwrap();
        }
        browser.find(Locator::Css("button")).await.unwrap().click().await.unwrap();
        let output = format!("//output[contains(., '{shown}')]");
        let wait = browser.wait().at_most(Duration::from_secs(20));
        wait.for_element(Locator::XPath(&output)).await.unwrap();
    }
    let (posts, _) = running.ask("curl -s localhost:3000/api/post");
    assert_eq!(posts, r#"[{"title":"From a browser","post":"<b>&"}]"#);
    browser.close().await.unwrap();
}
