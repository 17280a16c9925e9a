//! The page of the monitoring port in a real browser, which reaches nothing
//! else.

mod support;

#[path = "dashboard/browser.rs"]
mod browser;

use browser::Browser;
use serde_json::json;
use support::Broker;

const HOSTILE_NAME: &str = "<img src=x onerror=alert(1)>";

/// Behind a base path too, the page shows live figures, asks only what is
/// answered, and takes what a client calls itself for text.
#[test]
fn the_page_lives_without_a_complaint() {
    let broker = Broker::midge()
        .config("http_base_path: \"/some/where\"\n")
        .start();
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":\"{HOSTILE_NAME}\"}}\r\nSUB a 1\r\n"
    ));
    client.sync();
    let mut browser = Browser::start();
    let url = format!("http://{}/some/where", broker.monitor_addr());
    browser.call("Page.navigate", json!({"url": url}));
    browser.wait_for("document.querySelectorAll('.tile').length >= 8");
    browser.wait_for("document.querySelectorAll('#connections tbody').length === 1");
    browser.wait_for("document.querySelectorAll('.plot path').length >= 4");
    assert_eq!(
        browser.evaluate("document.querySelector('#connections td.name').textContent"),
        json!(HOSTILE_NAME)
    );
    browser.evaluate("document.querySelector('#connections td').click()");
    browser.wait_for("document.querySelector('.details .subjects').textContent === 'a'");
    browser.evaluate("document.querySelector('[data-state=closed]').click()");
    browser.wait_for(
        "document.querySelector('#connections .count').textContent.endsWith('remembered')",
    );
    assert_eq!(browser.evaluate("document.images.length"), json!(0));
    assert_eq!(browser.complaints(), Vec::<&serde_json::Value>::new());
}

/// No part of the page is wider than a telephone.
#[test]
fn the_page_fits_a_telephone() {
    let broker = Broker::midge().start();
    let mut browser = Browser::start();
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        json!({"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true}),
    );
    let url = format!("http://{}/", broker.monitor_addr());
    browser.call("Page.navigate", json!({"url": url}));
    browser.wait_for("document.querySelectorAll('.tile').length >= 8");
    assert_eq!(
        browser.evaluate("document.documentElement.scrollWidth <= 390"),
        json!(true)
    );
}
