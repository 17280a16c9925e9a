//! Readers of the keys in `tls` that have rules of their own.

use std::path::PathBuf;

use super::{Pair, Written, keys::CERTS};
use crate::{
    config::{
        options::{duration::parse_duration, problems::Problems},
        syntax::{Entry, Value},
    },
    security::options::{AUTO_DELAY, CertificateFiles, ExpiredCrl, HandshakeFirst},
};

/// A list of certificates, each with its key.
pub(super) fn read_pairs(written: &mut Written, entry: &Entry, problems: &mut Problems) {
    for item in problems.list(&entry.node, &entry.key).unwrap_or_default() {
        let mut pair = Pair::default();
        if CERTS
            .read_node(&mut pair, item, "certs", problems)
            .is_none()
        {
            continue;
        }
        match (pair.cert_file, pair.key_file) {
            (Some(cert_file), Some(key_file)) => written.tls.certificates.push(CertificateFiles {
                cert_file,
                key_file,
            }),
            _ => problems.error(&item.position, "a certificate needs cert_file and key_file"),
        }
    }
}

pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

/// The strings of an entry, each as `read` understands it.
pub(super) fn texts<T>(
    problems: &mut Problems,
    entry: &Entry,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let texts = problems.texts(&entry.node, &entry.key).unwrap_or_default();
    if texts.is_empty() && matches!(entry.node.value, Value::Array(_)) {
        problems.error(
            &entry.position,
            format!("{:?} must not be empty", entry.key),
        );
    }
    texts
        .into_iter()
        .filter_map(|(text, position)| problems.noted(position, read(text)))
        .collect()
}

pub(super) fn expired_crl(text: &str) -> Result<ExpiredCrl, String> {
    match &*text.to_ascii_lowercase() {
        "reject" => Ok(ExpiredCrl::Reject),
        "warn" => Ok(ExpiredCrl::Warn),
        _ => Err(format!("\"crl_expired\" is reject or warn, not {text:?}")),
    }
}

pub(super) fn handshake_first(written: &mut Written, entry: &Entry, problems: &mut Problems) {
    let read = match &entry.node.value {
        Value::Bool(true) => Ok(HandshakeFirst::Yes),
        Value::Bool(false) => Ok(HandshakeFirst::No),
        Value::String(text) => match &*text.to_ascii_lowercase() {
            "true" | "on" => Ok(HandshakeFirst::Yes),
            "false" | "off" => Ok(HandshakeFirst::No),
            "auto" | "auto_fallback" => Ok(HandshakeFirst::Within(AUTO_DELAY)),
            _ => parse_duration(text).map(HandshakeFirst::Within),
        },
        _ => Err(format!(
            "{:?} is true, false, \"auto\" or a duration",
            entry.key
        )),
    };
    if let Some(first) = problems.noted(&entry.position, read) {
        written.tls.handshake_first = first;
    }
}

pub(super) fn min_version(written: &mut Written, entry: &Entry, problems: &mut Problems) {
    let text = match &entry.node.value {
        // Without quotes it reads as a number.
        Value::Float(number) => number.to_string(),
        _ => match problems.text(entry) {
            Some(text) => text.to_owned(),
            None => return,
        },
    };
    let read = match text.trim_start_matches(['v', 'V']) {
        "1.2" => Ok(false),
        "1.3" => Ok(true),
        "1.0" | "1.1" => Err(format!("TLS {text} is not spoken any more: write \"1.2\"")),
        _ => Err(format!(
            "{:?} is \"1.2\" or \"1.3\", not {text:?}",
            entry.key
        )),
    };
    if let Some(only_tls13) = problems.noted(&entry.position, read) {
        written.tls.only_tls13 = only_tls13;
    }
}

pub(super) fn pinned(text: &str) -> Result<String, String> {
    let digest = text.to_ascii_lowercase();
    match digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(digest),
        false => Err(format!(
            "{text:?} is not the SHA-256 of a public key in hexadecimal"
        )),
    }
}
