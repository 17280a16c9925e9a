//! The beginning of a WebSocket and its frames: any bytes, cut anywhere, give the same operations.

use midge::connection::websocket::{Agreed, Ended, WebSocket, WebSocketBuffers, handshake};

/// Room of one step in bytes.
const ROOM: usize = 64;

/// The request: any bytes are refused, not complete, or a request that is answered.
pub fn websocket_request(bytes: &[u8]) {
    match handshake::read(bytes) {
        Ok(Some(request)) => {
            assert!(request.len <= bytes.len());
            let answer = request.answer(Agreed::default(), &[]);
            assert!(answer.ends_with(b"\r\n\r\n"));
            // Without its last byte it is not complete.
            assert_eq!(
                handshake::read(&bytes[..request.len - 1]).ok().flatten(),
                None
            );
        }
        Ok(None) => assert!(bytes.len() < handshake::REQUEST_LEN_MAX),
        Err(refusal) => assert!(refusal.answer().starts_with(b"HTTP/1.1 4")),
    }
}

/// The frames: the first byte says what was agreed on, the second how the rest is cut.
pub fn websocket_frames(bytes: &[u8]) {
    let [agreed, len, bytes @ ..] = bytes else {
        return;
    };
    let agreed = Agreed {
        compression: agreed & 1 != 0,
        no_masking: agreed & 2 != 0,
    };
    let cut: Vec<&[u8]> = bytes.chunks(usize::from(*len).max(1)).collect();
    let (in_parts, ended) = follow(agreed, &cut);
    let (whole, whole_ended) = follow(agreed, &[bytes]);
    assert_eq!(ended, whole_ended);
    match ended {
        // How much an inflater gives out before it fails is its own matter.
        Some(Ended::Broken(_)) => assert!(
            in_parts.starts_with(&whole) || whole.starts_with(&in_parts),
            "{in_parts:?} {whole:?}"
        ),
        _ => assert_eq!(in_parts, whole),
    }
}

/// What a connection makes of these parts: the bytes of its protocol, and how it has ended.
fn follow(agreed: Agreed, parts: &[&[u8]]) -> (Vec<u8>, Option<Ended>) {
    let websocket = WebSocket::new(agreed, 1);
    let mut buffers = WebSocketBuffers::default();
    let mut plain = Vec::new();
    for part in parts {
        let mut part = *part;
        loop {
            if !websocket.take_kept(&mut buffers.received) {
                buffers
                    .received
                    .extend_from_slice(std::mem::take(&mut part));
            }
            let end = plain.len() + ROOM;
            websocket.open(&mut buffers, &mut plain, end, false);
            assert!(plain.len() <= end);
            if let Some(ended) = websocket.ended() {
                return (plain, Some(ended));
            }
            if part.is_empty() && !websocket.has_unread() {
                break;
            }
        }
    }
    (plain, None)
}
