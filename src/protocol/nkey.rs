//! Public keys of users, and their signatures. The configuration and CONNECT contain such keys;
//! [`crate::security::authentication`] verifies signatures with them. With the seed of one this broker
//! logs in at another.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use monitor_client::nkey::{
    ACCOUNT_PREFIX, KEY_LEN, SEED_PREFIX, USER_PREFIX, decode, decode_user_seed, encode,
};

/// The public key of a user.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct UserKey([u8; KEY_LEN]);

impl UserKey {
    /// Parses the text form.
    ///
    ///  # Errors
    ///
    /// What is wrong. The error does not quote the text, which may be a secret in the wrong place.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match &*decode(text).map_err(|_| NO_KEY)? {
            [prefix, ..] if prefix & 0xf8 == SEED_PREFIX => Err(
                "is a seed, which is secret: write the public key, which begins with U, and make \
                 a new seed",
            ),
            [USER_PREFIX, key @ ..] => key.try_into().map(Self).map_err(|_| NO_KEY),
            _ => Err("is a key, but not a user's: that begins with U"),
        }
    }

    /// Whether `signature` is the key owner's signature of `nonce`. It is in base64, either
    /// URL-safe without padding or standard with padding.
    pub fn verify(&self, nonce: &[u8], signature: &str) -> bool {
        let bytes = BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .or_else(|_| BASE64.decode(signature.as_bytes()));
        bytes.is_ok_and(|bytes| {
            UnparsedPublicKey::new(&ED25519, &self.0)
                .verify(nonce, &bytes)
                .is_ok()
        })
    }
}

/// The seed of a user's key. `Debug` does not show it.
#[derive(Clone, Eq, PartialEq)]
pub struct UserSeed(Vec<u8>);

impl fmt::Debug for UserSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserSeed")
    }
}

impl UserSeed {
    /// Parses the text form.
    ///
    ///  # Errors
    ///
    /// What is wrong. The error does not quote the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let seed = decode_user_seed(text)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        pair.map(|_| Self(seed))
            .map_err(|_| "holds a seed that is no key")
    }

    /// The public key, and the signature of a nonce, as CONNECT holds them; `None` only if the seed is
    /// no key.
    pub fn sign(&self, nonce: &str) -> Option<(String, String)> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.0).ok()?;
        let signature = BASE64URL_NOPAD.encode(pair.sign(nonce.as_bytes()).as_ref());
        Some((public_text(&pair), signature))
    }

    /// The public key; empty only if the seed is no key.
    pub fn public_key(&self) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.0);
        pair.as_ref().map_or_else(|_| String::new(), public_text)
    }
}

fn public_text(pair: &Ed25519KeyPair) -> String {
    encode(&[&[USER_PREFIX][..], pair.public_key().as_ref()].concat())
}

/// Whether a text is the public key of an account, which is only used in operator mode.
pub fn is_account_key(text: &str) -> bool {
    let key = decode(text).unwrap_or_default();
    key.len() == 1 + KEY_LEN && key[0] == ACCOUNT_PREFIX
}

const NO_KEY: &str = "is no nkey: write the user's public key, 56 characters that begin with U";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(prefix: &[u8], key: &[u8]) -> String {
        encode(&[prefix, key].concat())
    }

    #[test]
    fn a_seed_is_recognised_and_not_quoted() {
        let seed = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";
        let error = UserKey::parse(seed).unwrap_err();
        assert!(error.contains("is a seed") && !error.contains(seed));
        let account = text(&[0], &[7; 32]);
        assert!(account.starts_with('A') && is_account_key(&account));
        assert!(!is_account_key(&account[1..]) && !is_account_key(seed));
        assert!(
            UserKey::parse(&account)
                .unwrap_err()
                .contains("not a user's")
        );
    }

    #[test]
    fn only_signatures_of_the_key_are_valid() {
        let [one, other] = [[1; 32], [2; 32]].map(|seed| {
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
            let key = text(&[USER_PREFIX], pair.public_key().as_ref());
            (UserKey::parse(&key).expect("its text"), pair)
        });
        let bytes = one.1.sign(b"nonce");
        for signature in [
            BASE64URL_NOPAD.encode(bytes.as_ref()),
            BASE64.encode(bytes.as_ref()),
        ] {
            assert!(one.0.verify(b"nonce", &signature));
            assert!(!one.0.verify(b"other", &signature));
            assert!(!other.0.verify(b"nonce", &signature));
            assert!(!one.0.verify(b"nonce", &signature[1..]));
        }
    }

    proptest! {
        #[test]
        fn malformed_keys_are_rejected_and_valid_ones_round_trip(
            key in any::<[u8; 32]>(), at in 0usize..56, letter in "[A-Z2-7]", noise in ".{0,80}",
        ) {
            let mut text = text(&[USER_PREFIX], &key);
            prop_assert_eq!(text.len(), 56);
            prop_assert!(text.starts_with('U'));
            prop_assert_eq!(UserKey::parse(&text), Ok(UserKey(key)));
            for len in 0..text.len() {
                prop_assert!(UserKey::parse(&text[..len]).is_err());
            }
            let whole = text.clone();
            text.replace_range(at..=at, &letter);
            prop_assert_eq!(UserKey::parse(&text).is_ok(), text == whole);
            prop_assert!(UserKey::parse(&noise).is_err());
            prop_assert!(!UserKey(key).verify(b"nonce", &noise));
        }
    }
}
