//! Legibility of the page: contrast in both themes, and every width, with all kinds of
//! problems shown.

use serde_json::{Value, json};

use test_support::browser::Browser;
use test_support::free_port;
use test_support::{
    Broker, RawClient,
    pki::{Pki, Term},
    tls_client::Speaker,
};

const DAY: u32 = 86_400;

/// A broker with an expiring certificate, a missing member, a stuck subscriber, refused
/// logins and failed handshakes. The caller must keep the client.
fn trouble(pki: &Pki) -> (Broker, RawClient) {
    pki.sign("broker", Term::Seconds(5 * DAY));
    let broker = Broker::midge()
        .config(format!(
            "max_pending: 2MB\nwrite_deadline: \"120s\"\ntls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, crl_file: {:?}, verify: true }}\n\
             allow_non_tls: true\nauthorization {{ users = [ {{ user: a, password: b }} ] }}\nno_auth_user: a\n\
             cluster {{ name: mesh, listen: \"127.0.0.1:-1\", routes = [ \"nats-route://127.0.0.1:{}\" ] }}\n\
             diagnosis {{ appear_after: 100ms\n slow_percent: 10 }}\n",
            pki.text("broker.pem"),
            pki.text("broker.key"),
            pki.text("ca.pem"),
            pki.text("crl.pem"),
            free_port(),
        ))
        .start();
    let mut stuck = broker.connect();
    stuck.send("CONNECT {\"verbose\":false,\"name\":\"stuck-app\"}\r\nSUB facts.> 1\r\n");
    stuck.sync();
    let mut writer = broker.connect();
    writer.send(
        "CONNECT {\"verbose\":false,\"name\":\"fact-writer\"}\r\nPUB misspelt 5\r\nhello\r\n",
    );
    let publish = format!("PUB facts.node1 4000\r\n{}\r\n", "x".repeat(4000));
    while broker.get_json("/connz?sort=pending&limit=1")["connections"][0]["pending_bytes"]
        .as_u64()
        .expect("a figure")
        < 500_000
    {
        writer.send(publish.repeat(20));
        writer.sync();
    }
    for _ in 0..12 {
        let mut untrusted_peer = broker.connect();
        untrusted_peer.send("CONNECT {\"user\":\"intruder\",\"pass\":\"wrong\"}\r\nPING\r\n");
        untrusted_peer.read_to_end();
    }
    let anonymous_client = Speaker::believing(&pki.path("ca.pem")).tls12();
    for _ in 0..3 {
        anonymous_client
            .attempt(broker.client_addr())
            .expect_err("no certificate");
    }
    (broker, stuck)
}

fn set_up(browser: &mut Browser, width: u32, theme: &str) {
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}),
    );
    browser.call(
        "Emulation.setEmulatedMedia",
        json!({"features": [{"name": "prefers-color-scheme", "value": theme}]}),
    );
}

/// Waits until all of these problems are on the page.
fn wait_for_trouble(browser: &mut Browser) {
    for (section, word) in [
        ("findings", "certificate-expiry"),
        ("findings", "route-missing"),
        ("findings", "login-failures"),
        ("findings", "slow-consumer"),
        ("incidents", "stuck-app"),
        ("cluster", "never there"),
        ("certificates", "CN=broker"),
        ("access", "no certificate"),
        ("access", "unknown user"),
        ("nobody", "misspelt"),
        ("ceilings", "Certificate"),
        ("events", "intruder"),
    ] {
        browser.wait_for(&format!(
            "document.getElementById('{section}')?.innerText.includes('{word}') === true"
        ));
    }
    browser.wait_for("document.querySelectorAll('.plot .line').length >= 6");
}

#[test]
fn everything_is_legible_in_both_themes_and_fits_every_width() {
    let pki = Pki::new(&["broker"]);
    let (broker, stuck) = trouble(&pki);
    let mut browser = Browser::start();
    let url = format!("http://{}/", broker.monitor_addr());
    browser.call("Page.navigate", json!({"url": url}));
    wait_for_trouble(&mut browser);
    let days = "[...document.querySelectorAll('#certificates tbody tr')].map((row) => \
                row.children[0].textContent + ': ' + row.children[1].textContent + ' ' + row.children[1].className)";
    let days = browser.evaluate(days);
    let rows: Vec<&str> = days
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(rows.len(), 3, "{days}");
    assert_eq!(rows[0], "Certificate: 4 figure bad");
    assert!(
        rows[1].starts_with("CA: ") && rows[2].starts_with("Revocation list: "),
        "{days}"
    );
    for (width, theme) in [
        (1280, "light"),
        (1280, "dark"),
        (720, "light"),
        (390, "dark"),
        (390, "light"),
    ] {
        set_up(&mut browser, width, theme);
        for state in ["open", "closed"] {
            browser.evaluate(&format!(
                "document.querySelector('[data-state={state}]').click()"
            ));
            let word = if state == "open" {
                "stuck-app"
            } else {
                "Authentication"
            };
            browser.wait_for(&format!(
                "document.getElementById('connections').innerText.includes('{word}')"
            ));
            let measured = browser.evaluate(include_str!("contrast.js"));
            assert_eq!(
                measured["below"],
                json!([]),
                "{theme}, {width} wide, {state}"
            );
            assert!(measured["texts"].as_u64() > Some(200), "{measured}");
            assert!(measured["lines"].as_u64() > Some(20), "{measured}");
        }
        let wide = browser.evaluate("document.documentElement.scrollWidth");
        assert!(wide.as_u64() <= Some(width.into()), "{wide} of {width}");
    }
    assert_eq!(browser.complaints(), Vec::<&Value>::new());
    drop(stuck);
}

/// The contrast check itself works: low contrast is detected.
#[test]
fn low_contrast_text_is_detected() {
    let broker = Broker::midge().start();
    let mut browser = Browser::start();
    let url = format!("http://{}/", broker.monitor_addr());
    browser.call("Page.navigate", json!({"url": url}));
    browser.wait_for("document.querySelectorAll('.tile').length >= 8");
    browser.evaluate("document.querySelector('h1').style.color = '#9ab'");
    browser.evaluate("document.querySelector('h2').style.opacity = '0.3'");
    let measured = browser.evaluate(include_str!("contrast.js"));
    let below: Vec<String> = measured["below"]
        .as_array()
        .expect("a list")
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(below.len(), 2, "{below:?}");
    assert!(
        below[0].contains("H1") && below[1].contains("H2"),
        "{below:?}"
    );
}
