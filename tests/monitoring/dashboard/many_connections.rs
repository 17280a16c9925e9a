//! Many connections: the page requests and keeps only what it shows, and a filter
//! searches all of them.

use serde_json::{Value, json};

use test_support::browser::Browser;
use test_support::{Broker, RawClient};

const CLIENTS: usize = 2000;

/// Upper bounds for the elements of the page with its first twenty connections, and for
/// the memory of its script; an answer with all 2000 connections would be 2 MB of text
/// and 40 000 cells.
const ELEMENTS_MAX: u64 = 3000;
const HEAP_MAX: u64 = 16 << 20;

fn clients(broker: &Broker) -> Vec<RawClient> {
    let clients = (0..CLIENTS)
        .map(|number| {
            let mut client = broker.connect();
            client.send(format!(
                "CONNECT {{\"verbose\":false,\"name\":\"node{number:04}.example.net\"}}\r\n"
            ));
            client
        })
        .collect();
    broker.wait_for_connections(CLIENTS as u64);
    clients
}

/// Elements of the page, and bytes that its script uses after a garbage collection.
fn size(browser: &mut Browser) -> (u64, u64) {
    let elements = browser.evaluate("document.querySelectorAll('*').length");
    browser.call("HeapProfiler.collectGarbage", json!({}));
    let usage = browser.call("Runtime.getHeapUsage", json!({}));
    let bytes = usage["usedSize"].as_f64().expect("a size");
    (elements.as_u64().expect("a count"), bytes as u64)
}

fn filter(browser: &mut Browser, text: &str) {
    browser.evaluate(&format!(
        "{{ const field = document.querySelector('#connections input'); field.value = '{text}'; \
         field.dispatchEvent(new Event('input')); }}"
    ));
}

#[test]
fn two_thousand_connections_are_paged() {
    let broker = Broker::midge().start();
    let clients = clients(&broker);
    let mut browser = Browser::start();
    browser.call(
        "Page.navigate",
        json!({"url": format!("http://{}/", broker.monitor_addr())}),
    );
    browser.wait_for(
        "document.querySelector('#connections .count')?.textContent.startsWith('2') === true",
    );
    browser.wait_for("document.querySelectorAll('#connections tbody').length === 20");
    let asked: Vec<&str> = browser.asked("connz");
    assert!(!asked.is_empty(), "nothing was asked for");
    assert!(
        asked.iter().all(|url| url.ends_with("&limit=20")),
        "{asked:?}"
    );

    // Ten matches of two thousand, then a thousand of which one page is shown.
    filter(&mut browser, "node198");
    browser.wait_for("document.querySelectorAll('#connections tbody').length === 10");
    browser.wait_for(
        "document.querySelector('#connections td.name').textContent.startsWith('node198')",
    );
    filter(&mut browser, "node1");
    browser.wait_for(
        "document.querySelector('#connections .more .note').textContent.includes('fit the filter')",
    );
    browser.wait_for("document.querySelectorAll('#connections tbody').length === 20");
    let (elements, heap) = size(&mut browser);
    assert!(elements < ELEMENTS_MAX, "{elements} elements");
    assert!(heap < HEAP_MAX, "{heap} bytes");
    filter(&mut browser, "nobody-of-this-name");
    browser.wait_for(
        "document.querySelector('#connections .more .note').textContent.startsWith('No connection')",
    );
    // The user can request more, but never all.
    filter(&mut browser, "");
    for shown in [80, 320] {
        browser.wait_for(
            "!document.querySelector('#connections .more button').hidden && \
             !document.querySelector('#connections .more .note').textContent.includes('fit')",
        );
        browser.evaluate("document.querySelector('#connections .more button').click()");
        browser.wait_for(&format!(
            "document.querySelectorAll('#connections tbody').length === {shown}"
        ));
    }
    browser.wait_for("document.querySelector('#connections .more button').hidden");
    assert_eq!(browser.complaints(), Vec::<&Value>::new());
    drop(clients);
}
