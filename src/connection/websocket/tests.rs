//! Frames of a peer, cut in any way.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use test_support::websocket::masked_frame as frame;

use super::*;
use crate::connection::CloseReason;

const MESSAGE_MAX: usize = MESSAGE_LEN_LEAST;

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(0x82, [1, 2, 3, 4], payload)
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut stream = Compress::new(Compression::fast(), false);
    let mut bytes = Vec::with_capacity(message.len() + 1024);
    let result = stream.compress_vec(message, &mut bytes, FlushCompress::Sync);
    assert!(result.is_ok());
    bytes.truncate(bytes.len() - 4);
    bytes
}

fn compressing() -> WebSocket {
    let agreed = Agreed {
        compression: true,
        no_masking: false,
    };
    WebSocket::new(agreed, 1)
}

/// What a connection makes of the bytes, received in these parts, with room for so much in each
/// step: payload, what is sent for an answer, and the violation.
fn opened(websocket: &WebSocket, parts: &[&[u8]], room: usize) -> (Vec<u8>, Vec<u8>, String) {
    let (mut all, mut answers) = (Vec::new(), Vec::new());
    let mut buffers = WebSocketBuffers::default();
    for part in parts {
        let mut part = *part;
        loop {
            let is_unread = websocket.take_kept(&mut buffers.received);
            if !is_unread {
                buffers
                    .received
                    .extend_from_slice(std::mem::take(&mut part));
            }
            let held = all.len();
            let end = held + room;
            let has_answers = websocket.open(&mut buffers, &mut all, end, false);
            assert!(all.len() <= end);
            if has_answers {
                buffers.frames.clear();
                websocket.frame(b"", &mut buffers);
                answers.append(&mut buffers.frames);
            }
            match websocket.ended() {
                Some(Ended::Broken(violation)) => return (all, answers, violation),
                Some(Ended::ByPeer) => {
                    answers.extend(websocket.close_frame(CloseReason::ClientClosed).unwrap());
                    return (all, answers, String::new());
                }
                None => {}
            }
            if part.is_empty() && !websocket.has_unread() {
                break;
            }
        }
    }
    (all, answers, String::new())
}

fn violation(bytes: &[u8]) -> String {
    opened(&compressing(), &[bytes], 1 << 16).2
}

#[test]
fn frames_have_nothing_to_do_with_operations() {
    let bytes = [
        frame(0x02, [0; 4], b"PI"),
        frame(0x89, [5; 4], b"hey"),
        frame(0x00, [9; 4], b""),
        frame(0x80, [7; 4], b"NG\r\n"),
        frame(0x81, [7; 4], b"as text"),
        frame(0xc2, [3; 4], &deflated(b"compressed")),
        binary(b""),
        frame(0x8a, [3; 4], b"a pong"),
    ]
    .concat();
    let (plain, answers, _) = opened(&compressing(), &[&bytes], 1 << 16);
    assert_eq!(plain, b"PING\r\nas textcompressed");
    assert_eq!(answers, b"\x8a\x03hey");
}

#[test]
fn sizes_at_each_edge() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 200_000] {
        let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let frames = [binary(&payload), frame(0xc2, [8; 4], &deflated(&payload))].concat();
        for room in [1000, 1 << 16] {
            let (plain, _, violation) = opened(&compressing(), &[&frames], room);
            assert_eq!(violation, "");
            assert!(plain == [&payload[..], &payload].concat(), "{len} {room}");
        }
    }
}

#[test]
fn what_a_peer_must_not_do() {
    let unmasked = b"\x82\x01x";
    let cases: [(Vec<u8>, &str); 9] = [
        (unmasked.to_vec(), "mask bit missing"),
        (frame(0x80, [1; 4], b"x"), "invalid continuation frame"),
        (
            [frame(2, [1; 4], b"x"), frame(0xc0, [1; 4], b"x")].concat(),
            "invalid continuation frame",
        ),
        (
            [frame(2, [1; 4], b"x"), binary(b"y")].concat(),
            "new message started before final frame for previous message was received",
        ),
        (frame(0xc2, [1; 4], b""), "a compressed message is corrupt"),
        (
            frame(0xc2, [1; 4], b"\xff\xff"),
            "a compressed message is corrupt",
        ),
        (
            frame(0x88, [1; 4], b"x"),
            "close frame payload cannot be 1 byte",
        ),
        (
            frame(0x88, [1; 4], b"\x03\xe7"),
            "invalid close status code 999",
        ),
        (
            frame(0x88, [1; 4], b"\x03\xe8\xff"),
            "invalid utf8 body in close frame",
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(violation(&bytes), expected);
    }
    let plain = WebSocket::new(Agreed::default(), 1);
    let (.., violation) = opened(&plain, &[&frame(0xc2, [1; 4], &deflated(b"x"))], 100);
    let expected = "compressed frame received without negotiated permessage-deflate";
    assert_eq!(violation, expected);
    let unmasking = WebSocket::new(
        Agreed {
            no_masking: true,
            ..Agreed::default()
        },
        1,
    );
    assert_eq!(opened(&unmasking, &[unmasked], 100).0, b"x");
}

#[test]
fn a_violation_does_not_undo_what_came_before() {
    let websocket = compressing();
    let bytes = [
        binary(b"before"),
        frame(0x83, [0; 4], b""),
        binary(b"behind"),
    ]
    .concat();
    let (plain, _, violation) = opened(&websocket, &[&bytes], 100);
    assert_eq!((&*plain, &*violation), (&b"before"[..], "unknown opcode 3"));
    let close = websocket.close_frame(CloseReason::ProtocolViolation);
    assert_eq!(close.unwrap(), b"\x88\x12\x03\xeaunknown opcode 3");
    assert_eq!(opened(&websocket, &[&binary(b"more")], 100).0, b"");
}

#[test]
fn a_close_frame_is_answered_with_its_own_code() {
    let bytes = [
        binary(b"before"),
        frame(0x88, [1; 4], b"\x03\xe8bye"),
        binary(b"x"),
    ]
    .concat();
    let (plain, answers, _) = opened(&compressing(), &[&bytes], 100);
    assert_eq!(
        (&*plain, &*answers),
        (&b"before"[..], &b"\x88\x05\x03\xe8bye"[..])
    );
    let (_, answers, _) = opened(&compressing(), &[&frame(0x88, [1; 4], b"")], 100);
    assert_eq!(answers, b"\x88\x00");
}

#[test]
fn pongs_that_are_not_taken_do_not_pile_up() {
    let websocket = compressing();
    let pings = frame(0x89, [1; 4], &[b'x'; 125]).repeat(10_000);
    let last = frame(0x89, [1; 4], b"last");
    let (_, answers, _) = opened(&websocket, &[&pings, &last], 100);
    assert!(answers.ends_with(b"\x8a\x04last"));
    assert!(answers.len() <= 2 * 4096, "{}", answers.len());
}

#[test]
fn a_bomb_is_held_nowhere_and_ends_at_its_bound() {
    let bomb = deflated(&vec![b'\n'; 8 * MESSAGE_MAX]);
    assert!(bomb.len() < MESSAGE_MAX / 4, "{}", bomb.len());
    let (plain, _, violation) = opened(&compressing(), &[&frame(0xc2, [1; 4], &bomb)], 1 << 16);
    assert_eq!(violation, "maximum payload exceeded");
    assert!(plain.len() <= MESSAGE_MAX + (1 << 16), "{}", plain.len());
    let exact = deflated(&vec![b'\n'; MESSAGE_MAX]);
    let (plain, _, violation) = opened(&compressing(), &[&frame(0xc2, [1; 4], &exact)], 1 << 16);
    assert_eq!((plain.len(), &*violation), (MESSAGE_MAX, ""));
    // Bytes that become none, without end.
    let nothing = b"\x00\x00\x00\xff\xff".repeat(MESSAGE_MAX / 4);
    assert_eq!(
        violation_of_parts(&frame(0xc2, [1; 4], &nothing)),
        "maximum payload exceeded"
    );
}

fn violation_of_parts(bytes: &[u8]) -> String {
    let parts: Vec<&[u8]> = bytes.chunks(1 << 16).collect();
    opened(&compressing(), &parts, 1 << 16).2
}

#[test]
fn a_length_alone_takes_no_memory() {
    let websocket = compressing();
    let head = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00PING";
    let (plain, _, violation) = opened(&websocket, &[head], 100);
    assert_eq!((&*plain, &*violation), (&b"PING"[..], ""));
    assert_eq!(websocket.incoming.lock().kept_len(), 0);
}

#[test]
fn what_is_sent_is_read_back() {
    let websocket = compressing();
    let mut buffers = WebSocketBuffers::default();
    for (len, is_compressed) in [(1, false), (64, false), (65, true), (200_000, true)] {
        buffers.frames.clear();
        let message = vec![b'a'; len];
        websocket.frame(&message, &mut buffers);
        assert_eq!(buffers.frames[0] == 0xc2, is_compressed, "{len}");
        let agreed = Agreed {
            compression: true,
            no_masking: true,
        };
        let peer = WebSocket::new(agreed, 1);
        assert_eq!(opened(&peer, &[&buffers.frames], 1 << 20).0, message);
    }
}

proptest! {
    /// However the bytes are cut, and however much room there is, the result is the same.
    #[test]
    fn any_split_gives_the_same_bytes(
        messages in prop::collection::vec(
            (prop::collection::vec(0..4_u8, 0..400), 0..6_u8, any::<[u8; 4]>()), 1..8),
        cuts in prop::collection::vec(0..3000_usize, 0..6),
        room in 1..500_usize,
    ) {
        let (mut bytes, mut expected, mut pongs) = (Vec::new(), Vec::new(), Vec::new());
        for (message, form, key) in &messages {
            let half = message.len() / 2;
            match form {
                0 => bytes.extend(frame(0x82, *key, message)),
                1 => bytes.extend(frame(0xc2, *key, &deflated(message))),
                2 => {
                    bytes.extend(frame(0x02, *key, &message[..half]));
                    bytes.extend(frame(0x80, *key, &message[half..]));
                }
                3 => {
                    let message = deflated(message);
                    let half = message.len() / 2;
                    bytes.extend(frame(0x42, *key, &message[..half]));
                    bytes.extend(frame(0x89, *key, b"p"));
                    bytes.extend(frame(0x00, *key, b""));
                    bytes.extend(frame(0x80, *key, &message[half..]));
                    pongs.extend_from_slice(b"\x8a\x01p");
                }
                4 => {
                    bytes.extend(frame(0x42, *key, &deflated(message)));
                    bytes.extend(frame(0x80, *key, b""));
                }
                _ => bytes.extend(frame(0x81, *key, message)),
            }
            expected.extend_from_slice(message);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut parts = Vec::new();
        let mut at = 0;
        for cut in cuts {
            parts.push(&bytes[at..cut]);
            at = cut;
        }
        parts.push(&bytes[at..]);
        let (plain, answers, violation) = opened(&compressing(), &parts, room);
        prop_assert_eq!(violation, "");
        prop_assert_eq!(plain, expected);
        prop_assert_eq!(answers, pongs);
    }

    /// Whatever a peer sends, it gets an answer or waits, and nothing is held but one read.
    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..500), room in 1..100_usize) {
        let websocket = compressing();
        let _ = opened(&websocket, &[&bytes], room);
        prop_assert!(websocket.incoming.lock().kept_len() <= bytes.len());
    }
}
