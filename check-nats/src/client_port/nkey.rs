//! Seeds of nkeys, which sign what a broker sends. (The broker's side, public keys and signatures,
//! is `protocol::nkey` of midge.)

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use monitor_client::nkey::{self, USER_PREFIX};

/// The key pair of a user.
pub(super) struct Nkey(Ed25519KeyPair);

impl Nkey {
    /// Parses the text of a seed.
    ///
    /// # Errors
    /// What is wrong. The error does not quote the text.
    pub(super) fn parse(seed: &str) -> Result<Self, &'static str> {
        let key = nkey::decode_user_seed(seed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&key);
        pair.map(Self).map_err(|_| "holds a seed that is no key")
    }

    /// The public key, as brokers' configurations have it.
    pub(super) fn public_key(&self) -> String {
        nkey::encode(&[&[USER_PREFIX][..], self.0.public_key().as_ref()].concat())
    }

    /// The signature of a broker's nonce, as CONNECT holds it.
    pub(super) fn sign(&self, nonce: &str) -> String {
        BASE64URL_NOPAD.encode(self.0.sign(nonce.as_bytes()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by the nkeys library of Go.
    const SEED: &str = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";

    #[test]
    fn seeds_are_read_and_other_keys_named() {
        let nkey = Nkey::parse(SEED).expect("a seed");
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
