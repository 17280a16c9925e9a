//! The federation of a site on the page.

use serde_json::json;

use test_support::browser::Browser;
use test_support::{Broker, RawClient};

fn open(browser: &mut Browser, broker: &Broker) {
    let url = format!("http://{}/", broker.monitor_addr());
    browser.call("Page.navigate", json!({"url": url}));
}

/// Waits until the section has these words.
fn says(browser: &mut Browser, words: &str) {
    browser.wait_for(&format!(
        "document.querySelector('#federation')?.innerText.includes({words:?}) === true"
    ));
}

#[test]
fn the_upstream_broker_and_what_is_refused_are_shown() {
    let mut central = Broker::midge().config("server_name: central7").start();
    let text = format!(
        "federation {{ name: prod, upstream: {:?} }}",
        central.client_url()
    );
    let site = Broker::midge().config(text).start();
    let mut browser = Browser::start();
    open(&mut browser, &site);
    says(&mut browser, "to central7");
    let mut client = RawClient::connect_quietly(central.client_addr());
    client.send("PUB choria.federation.prod.federation 2\r\n[]\r\n");
    client.sync();
    says(&mut browser, "malformed");
    central.kill();
    says(&mut browser, "not connected");
    assert_eq!(browser.complaints(), Vec::<&serde_json::Value>::new());
}

#[test]
fn a_broker_without_a_federation_shows_none() {
    let broker = Broker::midge().start();
    let mut browser = Browser::start();
    open(&mut browser, &broker);
    browser.wait_for("document.querySelector('#cluster .empty')?.checkVisibility() === true");
    let shown = browser.evaluate("document.querySelector('#federation').checkVisibility()");
    assert_eq!(shown, json!(false));
}
