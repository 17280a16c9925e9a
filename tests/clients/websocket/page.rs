//! README's page for browsers, in a real browser: with README's own block `websocket`, and without
//! TLS. The client for browsers comes from the registry's package, the rest from README.

use std::{fs, process::Command};

use data_encoding::{BASE64, HEXLOWER};
use test_support::{Broker, RawClient, browser::Browser, pki::Pki, tools};

const SCRIPT: &str = "https://esm.run/@nats-io/nats-core";
const HOST: &str = "broker.example.net";
const PORT: &str = "8443";
const SITE: &str = "https://www.example.net";

/// What README says between lines that begin and end so.
fn block(first: &str, last: &str) -> String {
    let text = fs::read_to_string(tools::project().join("README.md")).expect("README");
    let lines = text.lines().skip_while(|line| *line != first);
    let mut block: Vec<&str> = lines.take_while(|line| *line != last).collect();
    block.push(last);
    block.join("\n") + "\n"
}

fn page() -> String {
    let page = block("<!doctype html>", "</script>");
    assert!(page.contains(SCRIPT) && page.contains(&format!("wss://{HOST}:{PORT}")));
    page
}

/// The block, with a free port and the certificate of the test.
fn settings(pki: &Pki) -> String {
    let settings = block("websocket {", "}");
    let replaced = settings
        .replace(&format!("port: {PORT}"), "listen: \"127.0.0.1:-1\"")
        .replace("/etc/midge/web.pem", &pki.text("broker.pem"))
        .replace("/etc/midge/web.key", &pki.text("broker.key"));
    assert!(settings.contains(SITE) && !replaced.contains("/etc/"));
    replaced
}

fn script() -> String {
    let output = Command::new(tools::node_with_nats())
        .arg(tools::project().join("tests/clients/websocket/bundle.cjs"))
        .env("NODE_PATH", tools::node_modules())
        .output()
        .expect("start node");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A browser that finds the broker under its name, and shows the page at this address.
fn show(broker: &Broker, page: &str, url: &str, arguments: &[String]) -> Browser {
    let host = format!("MAP {HOST}:{PORT} {}", broker.websocket_addr());
    let mut browser = Browser::start_with(&host, arguments);
    browser.serve(url, "text/html", page);
    browser.serve(SCRIPT, "text/javascript", &script());
    browser.serve(&url.replace("news.html", "favicon.ico"), "image/png", "");
    browser.call("Page.navigate", serde_json::json!({"url": url}));
    browser
}

/// The browser trusts this certificate, whoever signed it.
fn trusting(pki: &Pki) -> Vec<String> {
    let digest = HEXLOWER.decode(pki.key_digest("broker").as_bytes());
    let digest = BASE64.encode(&digest.expect("a digest"));
    vec![format!("--ignore-certificate-errors-spki-list={digest}")]
}

/// The page shows its own message and that of another client, which gets the page's.
fn shows_news(broker: &Broker, mut browser: Browser, mut reader: RawClient) {
    browser.wait_for("document.querySelectorAll('#news li').length == 1");
    let message = reader.next_message();
    assert_eq!(message.line, b"MSG news.page 1 5");
    assert_eq!(message.body, b"hello");
    let connz = broker.get_json("/connz");
    let clients = connz["connections"].as_array().expect("a list");
    assert!(
        clients.iter().any(|client| client["type"] == "websocket"),
        "{connz}"
    );
    reader.send("PUB news.today 16\r\n<b>all is well</\r\n");
    browser.wait_for("document.querySelectorAll('#news li').length == 2");
    let shown = browser.evaluate(
        "[...document.querySelectorAll('#news li')].map(line => line.textContent).join('|')",
    );
    assert_eq!(shown, "news.page: hello|news.today: <b>all is well</");
    assert!(
        browser.complaints().is_empty(),
        "{:?}",
        browser.complaints()
    );
}

/// A client that gets the news.
fn reader(broker: &Broker) -> RawClient {
    let mut reader = broker.connect();
    reader.send("CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB news.> 1\r\n");
    reader.sync();
    reader
}

#[test]
fn the_page_of_readme_works_in_a_browser() {
    let pki = Pki::new(&[]);
    pki.sign_for("broker", HOST);
    let broker = Broker::midge().config(settings(&pki)).start();
    let reader = reader(&broker);
    let url = format!("{SITE}/news.html");
    let browser = show(&broker, &page(), &url, &trusting(&pki));
    shows_news(&broker, browser, reader);
}

#[test]
fn it_works_without_tls() {
    let text = "websocket { listen: \"127.0.0.1:-1\", no_tls: true, compression: true, \
                allowed_origins: [\"http://www.example.net\"] }\n";
    let broker = Broker::midge().config(text).start();
    let reader = reader(&broker);
    let page = page().replace("wss://", "ws://");
    let browser = show(&broker, &page, "http://www.example.net/news.html", &[]);
    shows_news(&broker, browser, reader);
}

/// The browser refuses a certificate that it does not know, and the broker a page of another site.
#[test]
fn strangers_are_refused() {
    let pki = Pki::new(&[]);
    pki.sign_for("broker", HOST);
    let broker = Broker::midge().config(settings(&pki)).start();
    let own = format!("{SITE}/news.html");
    let elsewhere = "https://www.example.org/news.html";
    for (url, arguments, reported) in [
        (
            &*own,
            vec![],
            "it does not accept this broker's certificate",
        ),
        (elsewhere, trusting(&pki), "websocket handshake error: "),
    ] {
        let mut browser = show(&broker, &page(), url, &arguments);
        browser.wait_beside(reported, || broker.log().so_far().count(reported) > 0);
    }
    let connz = broker.get_json("/connz?state=closed");
    let closed = connz["connections"].as_array().expect("a list");
    for reason in ["TLS Handshake Failure", "WebSocket Handshake Failure"] {
        assert!(
            closed.iter().any(|client| client["reason"] == reason),
            "{connz}"
        );
    }
    assert_eq!(broker.get_json("/varz")["connections"], 0);
}
