//! Seeds of nkeys, which sign what a broker sends.
//!
//! The text form is that of the nkeys library: base32 without padding of two bytes that say what
//! it is, the 32 bytes of an Ed25519 seed, and a CRC-16 (XMODEM) of both, low byte first. (The
//! broker's side, public keys and signatures, is `protocol::nkey` of midge.)

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};

/// What a seed begins with, in the upper five bits of its first byte; its text begins with `S`.
const SEED_PREFIX: u8 = 18 << 3;

/// What a user's key begins with; its text begins with `U`.
const USER_PREFIX: u8 = 20 << 3;

const SEED_LEN: usize = 32;

/// The key pair of a user.
pub(super) struct Nkey(Ed25519KeyPair);

impl Nkey {
    /// Parses the text of a seed.
    ///
    /// # Errors
    /// What is wrong. The error does not quote the text.
    pub(super) fn parse(seed: &str) -> Result<Self, &'static str> {
        const NO_SEED: &str = "holds no seed of an nkey: it has 58 characters and begins with SU";
        let decoded = BASE32_NOPAD.decode(seed.as_bytes()).map_err(|_| NO_SEED)?;
        let (body, checksum) = decoded.split_last_chunk::<2>().ok_or(NO_SEED)?;
        if u16::from_le_bytes(*checksum) != crc16(body) {
            return Err("holds no seed of an nkey: a character of it is wrong");
        }
        match body {
            [USER_PREFIX, _key @ ..] => {
                Err("holds the public key of a user: its seed is needed, which begins with SU")
            }
            [first, second, key @ ..] if first & 0xf8 == SEED_PREFIX && key.len() == SEED_LEN => {
                match (first << 5) | (second >> 3) {
                    USER_PREFIX => Ed25519KeyPair::from_seed_unchecked(key)
                        .map(Self)
                        .map_err(|_| NO_SEED),
                    _ => Err("holds a seed, but not of a user: that begins with SU"),
                }
            }
            _ => Err(NO_SEED),
        }
    }

    /// The public key, as brokers' configurations have it.
    pub(super) fn public_key(&self) -> String {
        let mut bytes = vec![USER_PREFIX];
        bytes.extend_from_slice(self.0.public_key().as_ref());
        bytes.extend_from_slice(&crc16(&bytes).to_le_bytes());
        BASE32_NOPAD.encode(&bytes)
    }

    /// The signature of a broker's nonce, as CONNECT holds it.
    pub(super) fn sign(&self, nonce: &str) -> String {
        BASE64URL_NOPAD.encode(self.0.sign(nonce.as_bytes()).as_ref())
    }
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

    /// Made by the nkeys library of Go.
    const SEED: &str = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";

    #[test]
    fn seeds_are_read_and_other_keys_named() {
        let nkey = Nkey::parse(SEED).ok().expect("a seed");
        let public = nkey.public_key();
        assert!(public.len() == 56 && public.starts_with('U'), "{public}");
        for (text, words) in [
            (&*public, "public key of a user"),
            ("", "58 characters"),
            ("SUAM", "58 characters"),
            ("not base32 at all!", "58 characters"),
            (&SEED.replace('K', "L"), "a character of it is wrong"),
        ] {
            let why = Nkey::parse(text).err().expect(text);
            assert!(why.contains(words), "{text}: {why}");
        }
    }

    proptest! {
        #[test]
        fn nothing_else_is_a_seed(
            text in "S[A-Z2-7]{0,60}|.{0,80}", at in 0usize..58, letter in "[A-Z2-7]",
        ) {
            prop_assert!(Nkey::parse(&text).is_err());
            let mut changed = SEED.to_owned();
            changed.replace_range(at..=at, &letter);
            prop_assert_eq!(Nkey::parse(&changed).is_ok(), changed == SEED);
        }
    }
}
