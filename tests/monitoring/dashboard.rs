//! The page of the monitoring port in a real browser, which has no access to anything
//! else.

mod cluster;
mod federation;
mod legible;
mod many_connections;

use monitor_client::text;
use serde_json::json;
use test_support::Broker;
use test_support::browser::Browser;

/// Markup, a text direction mark, and an escape sequence, as JSON escapes.
const HOSTILE_NAME: &str = r"<img src=x onerror=alert(1)>\u202egnp.exe\u001b[2J";
const HARMLESS_NAME: &str = "<img src=x onerror=alert(1)>\u{fffd}gnp.exe\u{fffd}[2J";

/// Also behind a base path, the page shows live values, requests only existing paths, and
/// treats client names as text.
#[test]
fn the_page_runs_without_console_errors() {
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
        json!(HARMLESS_NAME)
    );
    browser.evaluate("document.querySelector('#connections td').click()");
    browser.wait_for("document.querySelector('.details .subjects').textContent === 'a'");
    browser.evaluate("document.querySelector('[data-state=closed]').click()");
    browser.wait_for("document.querySelector('#connections .count').textContent.endsWith('kept')");
    assert_eq!(browser.evaluate("document.images.length"), json!(0));
    assert_eq!(browser.complaints(), Vec::<&serde_json::Value>::new());
}

/// The page formats sizes and parses durations like every other view.
#[test]
fn the_page_formats_values_like_the_other_views() {
    let broker = Broker::midge().start();
    let mut browser = Browser::start();
    let url = format!("http://{}/", broker.monitor_addr());
    browser.call("Page.navigate", json!({"url": url}));
    browser.wait_for("document.querySelectorAll('.tile').length >= 8");
    let sizes: Vec<u64> = (0..54)
        .flat_map(|bit| [1 << bit, (1 << bit) * 3 / 2, 1_000_003_u64 << bit >> 20])
        .chain([0, 1023, 10_230, 10_239, 102_399, 1_048_575])
        .collect();
    let written = browser.evaluate(&format!("{}.map(bytes)", json!(sizes)));
    let wanted = sizes.iter().map(|size| text::bytes(*size as f64));
    let wanted: Vec<String> = wanted.map(|text| text.replace(' ', "\u{a0}")).collect();
    assert_eq!(written, json!(wanted));
    let times = ["0s", "472µs", "1.5ms", "1m2.5s", "1y2d3h4m5s", "100ns"];
    let read = browser.evaluate(&format!("{}.map(goSeconds)", json!(times)));
    for (time, read) in times.iter().zip(read.as_array().expect("a list")) {
        let wanted = text::go_uptime(time).expect("an uptime").as_secs_f64();
        let read = read.as_f64().expect("a number");
        assert!((read - wanted).abs() <= wanted * 1e-9, "{time}: {read}");
    }
}

/// No part of the page is wider than a phone screen.
#[test]
fn the_page_fits_a_phone_screen() {
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

/// A stuck subscriber, refused logins and a storm of bare connects: each is on the page
/// with its effect, and events appear without a reload.
#[test]
fn problems_are_shown_with_client_and_cause() {
    let broker = Broker::midge()
        .config("max_payload: 20000\nmax_pending: 200000\nauthorization { users = [ { user: a, password: b } ] }\nno_auth_user: a\n")
        .start();
    let mut browser = Browser::start();
    browser.call(
        "Page.navigate",
        json!({"url": format!("http://{}/", broker.monitor_addr())}),
    );
    browser.wait_for("document.querySelector('#findings .all-well')?.hidden === false");
    let mut reader = broker.connect();
    reader.send("CONNECT {\"verbose\":false,\"name\":\"stuck-app\"}\r\nSUB facts.> 1\r\n");
    reader.sync();
    let mut writer = broker.connect();
    writer.send("CONNECT {\"verbose\":false,\"name\":\"fact-writer\"}\r\n");
    let publish = format!("PUB facts.node1 4000\r\n{}\r\n", "x".repeat(4000));
    for _ in 0..40 {
        writer.send(publish.repeat(50));
        writer.sync();
        if broker.get_json("/varz")["slow_consumers"] != json!(0) {
            break;
        }
    }
    for _ in 0..12 {
        let mut untrusted_peer = broker.connect();
        untrusted_peer.send("CONNECT {\"user\":\"intruder\",\"pass\":\"wrong\"}\r\nPING\r\n");
        untrusted_peer.read_to_end();
    }
    browser.wait_for("[...document.querySelectorAll('#findings .card')].some((card) => card.textContent.includes('login-failures'))");
    browser.wait_for("document.querySelector('#findings').textContent.includes('stuck-app')");
    browser.wait_for(
        "document.querySelector('#incidents .card')?.textContent.includes('stuck-app') === true",
    );
    browser.wait_for("document.querySelector('#incidents .card .curve path.line') !== null");
    browser.wait_for("document.querySelector('#incidents').textContent.includes('fact-writer')");
    browser.wait_for("document.querySelector('#subjects').textContent.includes('facts.node1')");
    browser.wait_for("document.querySelector('#events .log').textContent.includes('intruder')");
    browser.evaluate("document.querySelector('[data-state=closed]').click()");
    browser
        .wait_for("document.querySelector('#connections').textContent.includes('Slow Consumer')");
    assert_eq!(browser.complaints(), Vec::<&serde_json::Value>::new());
    // The same without JavaScript.
    let plain = broker.get("/").body;
    assert!(
        plain.contains("login-failures") && plain.contains("What to do"),
        "{plain}"
    );
}
