//! Passwords and tokens as configured: plain text or a bcrypt hash.
//!
//! All secrets of the configuration have this type: those of clients, of the cluster and of the
//! monitoring port. Memory is not wiped after use, because the text of the configuration file is
//! not either.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use bcrypt::HashParts;

/// A hash of the usual cost that no password has. It is compared with when the user is unknown, so
/// that this takes as long as for a known user.
const DUMMY_HASH: &str = "$2a$11$abcdefghijklmnopqrstuudjoshsIZ5vIFeg3JkRnFnUOCrm..Sui";

/// A password or a token. `Debug` does not show it.
#[derive(Clone, Default, Eq, Hash, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// A secret that clients send: plain text, or its hash.
    ///
    ///  # Errors
    ///
    /// It begins like a bcrypt hash but is none, so that no login could succeed.
    pub fn new(text: &str) -> Result<Self, String> {
        let secret = Self(text.to_owned());
        match secret.is_hash() && HashParts::from_str(text).is_err() {
            true => Err("begins like a bcrypt hash but is none: make a new one".into()),
            false => Ok(secret),
        }
    }

    /// A secret that must be known in plain text: because it is sent, or because it is compared too
    /// often for a hash.
    ///
    ///  # Errors
    ///
    /// It is a hash, so that no login could succeed.
    pub fn plain(text: &str) -> Result<Self, String> {
        let secret = Self(text.to_owned());
        match secret.is_hash() {
            true => Err("must be the plain text: a bcrypt hash is not possible here".into()),
            false => Ok(secret),
        }
    }

    /// The text, for sending it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A stand-in for the password of a user that does not exist.
    pub(super) fn dummy() -> Self {
        Self(DUMMY_HASH.to_owned())
    }

    /// Whether it is a bcrypt hash. Comparing with a hash takes about 100 ms.
    pub fn is_hash(&self) -> bool {
        matches!(
            self.0.as_bytes(),
            [b'$', b'2', b'a' | b'b' | b'x' | b'y', b'$', tens, ones, b'$', ..]
                if tens.is_ascii_digit() && ones.is_ascii_digit()
        )
    }

    /// Whether it is the empty text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `offered` is the secret. The time it takes reveals nothing about the secret; see
    /// [`Secret::is_hash`] for how long a hash takes.
    pub fn is(&self, offered: &[u8]) -> bool {
        if self.is_hash() {
            return bcrypt::verify(offered, &self.0).unwrap_or(false);
        }
        // Digests have equal lengths, so that even the secret's length does not show in the time.
        let [own, offered] = [self.0.as_bytes(), offered].map(|text| digest(&SHA256, text));
        verify_slices_are_equal(own.as_ref(), offered.as_ref()).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_secrets_are_compared_in_full() {
        let secret = Secret::new("s3cret").expect("plain");
        assert!(secret.is(b"s3cret") && !secret.is_hash());
        for other in ["", "s3cre", "s3crets", "S3cret"] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
        assert!(Secret::new("").expect("empty").is(b""));
        assert_eq!(format!("{secret:?}"), "[REDACTED]");
    }

    #[test]
    fn hashes_are_compared_with_bcrypt() {
        for prefix in ["2a", "2b", "2x", "2y"] {
            let hash = bcrypt::hash("s3cret", 4).expect("a hash");
            let secret = Secret::new(&hash.replacen("2b", prefix, 1)).expect("a hash");
            assert!(secret.is_hash(), "{prefix}");
            assert!(secret.is(b"s3cret") && !secret.is(b"x") && !secret.is(hash.as_bytes()));
        }
        assert!(Secret::new("$2a$11$short").is_err());
        let plain = Secret::new("$2c$11$abc").expect("no prefix of bcrypt's");
        assert!(plain.is(b"$2c$11$abc"));
    }

    #[test]
    fn a_hash_is_rejected_where_plain_text_is_needed() {
        let secret = Secret::plain("s3cret").expect("plain");
        assert_eq!(secret.reveal(), "s3cret");
        let error = Secret::plain(DUMMY_HASH).expect_err("a hash");
        assert!(!error.contains("$2a$"), "{error}");
    }

    #[test]
    fn the_dummy_hash_is_a_valid_hash() {
        assert!(Secret::new(DUMMY_HASH).is_ok_and(|secret| secret.is_hash()));
        assert!(!Secret::dummy().is(b""));
    }
}
