//! The text form of nkeys, the Ed25519 keys of NATS, as the nkeys library defines it: base32
//! without padding of what the key is, its bytes, and a CRC-16 (XMODEM) of both, low byte first.
//!
//! The broker reads public keys of its configuration and of clients with it, `check_nats` the
//! seed of its login. Keys themselves are theirs.

use data_encoding::BASE32_NOPAD;

/// What the public key of a user begins with; its text begins with `U`.
pub const USER_PREFIX: u8 = 20 << 3;

/// What the public key of an account begins with; its text begins with `A`.
pub const ACCOUNT_PREFIX: u8 = 0;

/// What a seed begins with, in the upper five bits; its text begins with `S`.
pub const SEED_PREFIX: u8 = 18 << 3;

/// Bytes of a public key and of a seed.
pub const KEY_LEN: usize = 32;

/// Why a text is no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoKey {
    /// It does not have the form of one.
    Form,
    /// It has, but a character is wrong.
    Checksum,
}

/// What the key is, and its bytes.
///
///  # Errors
///
/// The text is no key.
pub fn decode(text: &str) -> Result<Vec<u8>, NoKey> {
    let mut decoded = BASE32_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| NoKey::Form)?;
    let (body, checksum) = decoded.split_last_chunk::<2>().ok_or(NoKey::Form)?;
    if u16::from_le_bytes(*checksum) != crc16(body) {
        return Err(NoKey::Checksum);
    }
    decoded.truncate(decoded.len() - 2);
    Ok(decoded)
}

/// The bytes of the seed of a user.
///
///  # Errors
///
/// What is wrong, to follow what the text is called. The error does not quote the text.
pub fn decode_user_seed(text: &str) -> Result<Vec<u8>, &'static str> {
    const NO_SEED: &str = "holds no seed of an nkey: it has 58 characters and begins with SU";
    let body = decode(text).map_err(|why| match why {
        NoKey::Form => NO_SEED,
        NoKey::Checksum => "holds no seed of an nkey: a character of it is wrong",
    })?;
    match &*body {
        [USER_PREFIX, _key @ ..] => {
            Err("holds the public key of a user: its seed is needed, which begins with SU")
        }
        [first, second, key @ ..] if first & 0xf8 == SEED_PREFIX && key.len() == KEY_LEN => {
            match (first << 5) | (second >> 3) {
                USER_PREFIX => Ok(key.to_vec()),
                _ => Err("holds a seed, but not of a user: that begins with SU"),
            }
        }
        _ => Err(NO_SEED),
    }
}

/// The text of what a key is, and its bytes.
pub fn encode(body: &[u8]) -> String {
    let checksum = crc16(body).to_le_bytes();
    BASE32_NOPAD.encode(&[body, &checksum].concat())
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_is_that_of_the_nkeys_library() {
        // The check value of CRC-16/XMODEM in the usual catalogues.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // A key written by Python's nkeys.
        let key = "UAT6BWCSCWLUKJT6K6MBJJOEOTXZ5AJDOYKNEVRFC7VNO6OA43N4TRNO";
        let body = decode(key).expect("a key");
        assert_eq!((body[0], body.len()), (USER_PREFIX, 1 + KEY_LEN));
        assert_eq!(encode(&body), key);
        assert_eq!(decode(&key.replace('6', "7")), Err(NoKey::Checksum));
        assert_eq!(decode("not base32"), Err(NoKey::Form));
        assert_eq!(decode(""), Err(NoKey::Form));
    }

    proptest! {
        #[test]
        fn keys_round_trip(body in any::<[u8; 33]>(), noise in ".{0,80}") {
            prop_assert_eq!(decode(&encode(&body)), Ok(body.to_vec()));
            if let Ok(body) = decode(&noise) {
                prop_assert_eq!(encode(&body), noise);
            }
        }
    }
}
