//! Keys of the block `websocket`.

use test_support::{
    Broker, PATIENCE,
    pki::Pki,
    tls_client::Speaker,
    websocket::{REQUEST, WebSocketClient},
};

use super::Effect;

pub(super) const EFFECTS: &[Effect] = &[("websocket tls", tls)];

/// Other files and other demands of the block hold for new clients, and for connected ones that do
/// not meet them. Whether there is TLS at all waits for the next start.
#[test]
fn tls() {
    let (pki, later) = (Pki::new(&["broker", "node"]), Pki::new(&["broker"]));
    let block = |of: &Pki, more: &str| {
        format!(
            "websocket {{ listen: \"127.0.0.1:-1\", tls {{ cert_file: {:?}, key_file: {:?}, \
             ca_file: {:?}, timeout: 20, {more} }} }}\n",
            of.text("broker.pem"),
            of.text("broker.key"),
            pki.text("ca.pem"),
        )
    };
    let broker = Broker::midge().config(block(&pki, "")).start();
    let address = broker.websocket_addr();
    let believing = |of: &Pki| Speaker::believing(&of.path("ca.pem")).first();
    let node = |of: &Pki| believing(of).showing(&pki.path("node.pem"), &pki.path("node.key"));
    let open = |speaker: Speaker| {
        let (stream, _) = speaker.connect(address)?;
        stream
            .sock
            .set_read_timeout(Some(PATIENCE))
            .expect("a bound");
        let client = WebSocketClient::over(stream, REQUEST.as_bytes());
        match client.answer.starts_with("HTTP/1.1 101 ") {
            true => Ok(client),
            false => Err(client.answer.clone()),
        }
    };
    let mut bare = open(believing(&pki)).expect("a client");
    bare.info();
    bare.log_in("");
    broker.reload(&block(&later, ""));
    assert!(open(believing(&pki)).is_err(), "the old certificate");
    open(believing(&later)).expect("a client that believes the new certificate");

    broker.reload(&block(&later, "verify: true"));
    bare.read_to_end();
    assert!(open(believing(&later)).is_err(), "without a certificate");
    let mut shown = open(node(&later)).expect("a client with one");
    let info = shown.info();
    assert_eq!(info["tls_verify"], true, "{info}");
    shown.log_in("");

    broker.reload("websocket { listen: \"127.0.0.1:-1\", no_tls: true }\n");
    let log = broker.log().to_string();
    let waits = "websocket stays as it is until the next start";
    assert_eq!(log.matches(waits).count(), 1, "{log}");
    open(node(&later)).expect("TLS as before");
    shown.say("PING\r\n");
    assert_eq!(shown.read_until("PONG\r\n"), "PONG\r\n");
}
