//! Public keys of users and their signatures, compared with a simple parser of the text form.

use midge::protocol::nkey::{UserKey, is_account_key};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The first line is a key, the second the signed text, the third a signature.
pub fn nkeys(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or("");
    let (key, nonce, signature) = (next(), next(), next());
    let read = UserKey::parse(key);
    assert_eq!(read.is_ok(), is_key(key, 20 << 3), "{key:?}");
    assert_eq!(is_account_key(key), is_key(key, 0), "{key:?}");
    match read {
        Ok(read) => {
            // A signature has 64 bytes, in one of two encodings.
            if read.verify(nonce.as_bytes(), signature) {
                assert!([86, 88].contains(&signature.len()), "{signature:?}");
            }
        }
        // The text may be a seed, so the error must not contain it.
        Err(error) => assert!(key.is_empty() || !error.contains(key) || key.len() < 20),
    }
}

/// Whether a text is base32 of 35 bytes: this prefix, 32 more bytes, and the CRC.
fn is_key(text: &str, prefix: u8) -> bool {
    if text.len() != 56 {
        return false;
    }
    let mut bits = Vec::new();
    for letter in text.bytes() {
        let Some(value) = ALPHABET.iter().position(|known| *known == letter) else {
            return false;
        };
        bits.extend((0..5).rev().map(|bit| (value >> bit) & 1));
    }
    let bytes: Vec<u8> = bits
        .chunks(8)
        .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8))
        .collect();
    let (body, checksum) = bytes.split_at(33);
    bytes[0] == prefix && crc(body).to_le_bytes() == *checksum
}

/// CRC-16/XMODEM, bit by bit.
fn crc(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    for byte in bytes {
        for bit in (0..8).rev() {
            let top = crc >> 15 == 1;
            let next = (byte >> bit) & 1 == 1;
            crc <<= 1;
            if top != next {
                crc ^= 0x1021;
            }
        }
    }
    crc
}
