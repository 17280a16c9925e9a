//! Compressed messages.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use test_support::{
    Broker, BrokerBuilder,
    websocket::{WebSocketClient, WebSocketFrame, frame},
};

use super::{on_both, start};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
const ANSWER: &str = "\r\nSec-WebSocket-Extensions: permessage-deflate; \
                      server_no_context_takeover; client_no_context_takeover\r\n";

on_both![compression_is_agreed_on, both_directions_are_compressed,];

pub(super) fn deflated(message: &[u8]) -> Vec<u8> {
    let mut stream = Compress::new(Compression::fast(), false);
    let mut bytes = Vec::with_capacity(message.len() + 1024);
    let result = stream.compress_vec(message, &mut bytes, FlushCompress::Sync);
    assert!(result.is_ok() && bytes.ends_with(&[0, 0, 0xff, 0xff]));
    bytes.truncate(bytes.len() - 4);
    bytes
}

fn inflated(frame: &WebSocketFrame) -> String {
    if frame.first & 0x40 == 0 {
        return frame.text();
    }
    let mut stream = Decompress::new(false);
    let bytes = [&frame.payload[..], &[0, 0, 0xff, 0xff]].concat();
    let mut plain = Vec::with_capacity(4 << 20);
    let result = stream.decompress_vec(&bytes, &mut plain, FlushDecompress::Sync);
    assert!(result.is_ok());
    String::from_utf8(plain).expect("text")
}

/// A client that compresses, and has logged in.
pub(super) fn compressing(broker: &Broker) -> WebSocketClient {
    let mut client = WebSocketClient::connect_with(broker.websocket_addr(), OFFER);
    assert!(client.answer.contains(ANSWER), "{}", client.answer);
    read(&mut client, "\r\n");
    client.say("CONNECT {\"verbose\":false}\r\nPING\r\n");
    read(&mut client, "PONG\r\n");
    client
}

/// Inflated frames until they contain `end`, and the first bytes of all.
fn read(client: &mut WebSocketClient, end: &str) -> (String, Vec<u8>) {
    let (mut text, mut firsts) = (String::new(), Vec::new());
    while !text.contains(end) {
        let frame = client
            .next_frame()
            .unwrap_or_else(|| panic!("closed after {text:?}"));
        firsts.push(frame.first);
        text += &inflated(&frame);
    }
    (text, firsts)
}

fn compression_is_agreed_on(broker: BrokerBuilder) {
    let program = broker.program_path();
    let broker = start(broker, "compression: true", "");
    for (offer, is_taken) in [
        ("permessage-deflate", true),
        ("foo;permessage-deflate", true),
        ("permessage-deflate; server_max_window_bits=8; x=y", true),
        ("x-webkit-deflate-frame", false),
    ] {
        let offer = format!("Sec-WebSocket-Extensions: {offer}");
        let client = WebSocketClient::connect_with(broker.websocket_addr(), &offer);
        assert_eq!(client.answer.contains(ANSWER), is_taken, "{offer}");
    }
    let off = start(Broker::program(program), "", "");
    let client = WebSocketClient::connect_with(off.websocket_addr(), OFFER);
    assert!(!client.answer.contains("Extensions"), "{}", client.answer);
}

fn both_directions_are_compressed(broker: BrokerBuilder) {
    let broker = start(broker, "compression: true", "");
    let mut client = compressing(&broker);
    client.send(frame(0xc2, deflated(b"SUB a 1\r\nPING\r\n")));
    // What is short is not compressed.
    assert_eq!(
        read(&mut client, "PONG\r\n"),
        ("PONG\r\n".into(), vec![0x82])
    );
    let payload = "x".repeat(5000);
    let publish = format!("PUB a 5000\r\n{payload}\r\nPING\r\n");
    let compressed = deflated(publish.as_bytes());
    let (first, rest) = compressed.split_at(compressed.len() / 2);
    // In parts, with a ping in between; a plain message behind it.
    client.send(frame(0x42, first));
    client.send(frame(0x89, "p"));
    client.send(frame(0x80, rest));
    let pong = client.next_frame().expect("a pong");
    assert_eq!(pong.text(), "p");
    let (text, firsts) = read(&mut client, "PONG\r\n");
    assert!(text == format!("MSG a 1 5000\r\n{payload}\r\nPONG\r\n"));
    assert!(firsts.contains(&0xc2), "{firsts:x?}");
    client.say("PING\r\n");
    assert_eq!(read(&mut client, "PONG\r\n").0, "PONG\r\n");
}

/// nats-server waits for more after some of these.
#[test]
fn what_is_not_compressed_well_ends_the_connection() {
    let broker = start(Broker::midge(), "compression: true", "");
    let ping = deflated(b"PING\r\n");
    for bytes in [
        frame(0xc2, ""),
        frame(0xc2, b"\xff\xff\xff"),
        frame(0xc2, [&ping[..], &[0, 0, 0xff, 0xff]].concat()),
        frame(0xc2, &ping[..3]),
        // Not on control frames.
        frame(0xc9, ""),
    ] {
        let mut client = compressing(&broker);
        client.send(bytes);
        let close = client.read_to_end().last().and_then(|it| it.close());
        let close = close.expect("a close frame");
        let is_told = close.starts_with("1007 ") || close.starts_with("1002 ");
        assert!(is_told, "{close}");
    }
    compressing(&broker);
}

/// A message of the largest size may be compressed: nats-server cuts its sender.
#[test]
fn a_message_of_the_largest_size_may_be_compressed() {
    let broker = start(Broker::midge(), "compression: true", "");
    let mut client = compressing(&broker);
    client.say("SUB a 1\r\n");
    let payload = "abcdefgh".repeat(128 * 1024);
    let publish = format!("PUB a {}\r\n{payload}\r\n", payload.len());
    client.send(frame(0xc2, deflated(publish.repeat(3).as_bytes())));
    client.say("PING\r\n");
    let (text, _) = read(&mut client, "PONG\r\n");
    let expected = format!("MSG a 1 {}\r\n{payload}\r\n", payload.len());
    assert!(
        text == format!("{}PONG\r\n", expected.repeat(3)),
        "{} bytes",
        text.len()
    );
}
