//! The block `tls`, of the client listener and of others.

use std::path::PathBuf;

use super::{Options, block::Problems};
use crate::{
    config::syntax::{Entry, Map, Node, Position, Value},
    security::{
        options::{AUTO_DELAY, CertificateFiles, ExpiredCrl, HandshakeFirst, TlsOptions},
        suites::{find_group, find_suite},
    },
};

/// Keys of nats-server's block that midge does not serve, and why.
const REFUSED: &[(&str, &str)] = &[
    ("cert_store", WINDOWS),
    (
        "ocsp_peer",
        "revoked certificates are known from CRLs: write crl_file",
    ),
];

const WINDOWS: &str = "certificates are read from files: write cert_file and key_file";

/// Reads the top-level block.
pub(super) fn read_tls(options: &mut Options, node: &Node, problems: &mut Problems) {
    let Some(map) = problems.map(node, "tls") else {
        return;
    };
    let tls = read_block(map, &node.position, problems);
    if tls.check_known_urls {
        let text = "\"verify_cert_and_check_known_urls\" is for brokers, who are known by the routes \
                    that are written: clients have none; write verify: true";
        problems.error(&node.position, text);
    }
    options.tls = Some(tls);
}

/// Reads a `tls` block of any listener.
pub fn read_block(map: &Map, position: &Position, problems: &mut Problems) -> TlsOptions {
    let mut tls = TlsOptions::new(position.to_string());
    let mut pair = (None, None);
    for entry in map.entries_as_written() {
        match &*entry.key.to_ascii_lowercase() {
            "cert_file" => pair.0 = path(problems, entry),
            "key_file" => pair.1 = path(problems, entry),
            "certs" | "certificates" => read_pairs(&mut tls, entry, problems),
            _ => read_entry(&mut tls, entry, problems),
        }
    }
    match pair {
        (Some(cert_file), Some(key_file)) => {
            if !tls.certificates.is_empty() {
                let text = "tls: cert_file cannot stand beside certs: write all certificates in \
                            certs";
                problems.error(position, text);
            }
            tls.certificates.push(CertificateFiles {
                cert_file,
                key_file,
            });
        }
        (Some(_), None) => problems.error(position, "tls: cert_file needs key_file"),
        (None, Some(_)) => problems.error(position, "tls: key_file needs cert_file"),
        (None, None) => {}
    }
    tls
}

fn read_entry(tls: &mut TlsOptions, entry: &Entry, problems: &mut Problems) {
    let name = &*entry.key.to_ascii_lowercase();
    match name {
        "ca_file" => tls.ca_file = path(problems, entry),
        "crl_file" | "crl_files" => tls.crl_files = texts(problems, entry, |text| Ok(text.into())),
        "crl_expired" => set(&mut tls.crl_expired, expired_crl(problems, entry)),
        "verify" => tls.verify |= problems.boolean(entry).unwrap_or(false),
        "verify_and_map" => {
            tls.map = problems.boolean(entry).unwrap_or(false);
            tls.verify |= tls.map;
        }
        "verify_cert_and_check_known_urls" => {
            tls.check_known_urls = problems.boolean(entry).unwrap_or(false);
            tls.verify |= tls.check_known_urls;
        }
        "insecure" => set(&mut tls.insecure, problems.boolean(entry)),
        "timeout" => {
            if let Some(time) = problems.seconds(entry).filter(|time| !time.is_zero()) {
                tls.timeout = time;
            }
        }
        "handshake_first" | "first" | "immediate" => {
            set(&mut tls.handshake_first, handshake_first(problems, entry));
        }
        "min_version" => set(&mut tls.only_tls13, min_version(problems, entry)),
        "cipher_suites" => {
            tls.cipher_suites = texts(problems, entry, |name| {
                find_suite(name).map(|_| name.to_owned())
            });
        }
        "curve_preferences" => {
            tls.curve_preferences = texts(problems, entry, |name| {
                find_group(name).map(|_| name.to_owned())
            });
        }
        "allow_insecure_cipher_suites" => {
            if problems.boolean(entry) == Some(true) {
                problems.warn(
                    &entry.position,
                    "\"allow_insecure_cipher_suites\" has no effect: there are none",
                );
            }
        }
        "pinned_certs" => {
            tls.pinned_certs = texts(problems, entry, pinned).into_iter().collect();
        }
        "connection_rate_limit" => {
            let limit = problems.integer(entry);
            tls.connection_rate_limit = limit
                .and_then(|limit| u32::try_from(limit).ok())
                .filter(|limit| *limit > 0);
        }
        "ca_certs_match" | "cert_match" | "cert_match_by" | "cert_match_skip_invalid" => {
            let text = format!("{name:?} has no effect: {WINDOWS}");
            problems.warn(&entry.position, text);
        }
        "ocsp_peer" if matches!(entry.node.value, Value::Bool(false)) => {}
        "puppet" => set(&mut tls.puppet, problems.boolean(entry)),
        "ssldir" => tls.ssldir = path(problems, entry),
        _ => match REFUSED.iter().find(|(refused, _)| *refused == name) {
            Some((_, instead)) => {
                let text = format!("{name:?} is not supported: {instead}");
                problems.error(&entry.position, text);
            }
            None => problems.unknown_key(entry, "tls"),
        },
    }
}

/// A list of certificates, each with its key.
fn read_pairs(tls: &mut TlsOptions, entry: &Entry, problems: &mut Problems) {
    for item in problems.list(&entry.node, &entry.key).unwrap_or_default() {
        let Some(map) = problems.map(item, "certs") else {
            continue;
        };
        let mut pair = (None, None);
        for entry in map.entries_as_written() {
            match &*entry.key.to_ascii_lowercase() {
                "cert_file" => pair.0 = path(problems, entry),
                "key_file" => pair.1 = path(problems, entry),
                _ => problems.unknown_key(entry, "certs"),
            }
        }
        match pair {
            (Some(cert_file), Some(key_file)) => tls.certificates.push(CertificateFiles {
                cert_file,
                key_file,
            }),
            _ => problems.error(&item.position, "a certificate needs cert_file and key_file"),
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn path(problems: &mut Problems, entry: &Entry) -> Option<PathBuf> {
    problems
        .text(entry)
        .filter(|text| !text.is_empty())
        .map(Into::into)
}

/// The strings of an entry, each as `read` understands it.
fn texts<T>(
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

fn expired_crl(problems: &mut Problems, entry: &Entry) -> Option<ExpiredCrl> {
    let text = problems.text(entry)?;
    let read = match &*text.to_ascii_lowercase() {
        "reject" => Ok(ExpiredCrl::Reject),
        "warn" => Ok(ExpiredCrl::Warn),
        _ => Err(format!("{:?} is reject or warn, not {text:?}", entry.key)),
    };
    problems.noted(&entry.position, read)
}

fn handshake_first(problems: &mut Problems, entry: &Entry) -> Option<HandshakeFirst> {
    match &entry.node.value {
        Value::Bool(true) => Some(HandshakeFirst::Yes),
        Value::Bool(false) => Some(HandshakeFirst::No),
        Value::String(text) => {
            let read = match &*text.to_ascii_lowercase() {
                "true" | "on" => Ok(HandshakeFirst::Yes),
                "false" | "off" => Ok(HandshakeFirst::No),
                "auto" | "auto_fallback" => Ok(HandshakeFirst::Within(AUTO_DELAY)),
                _ => super::duration::parse_duration(text).map(HandshakeFirst::Within),
            };
            problems.noted(&entry.position, read)
        }
        _ => {
            problems.error(
                &entry.position,
                format!("{:?} is true, false, \"auto\" or a duration", entry.key),
            );
            None
        }
    }
}

fn min_version(problems: &mut Problems, entry: &Entry) -> Option<bool> {
    let text = match &entry.node.value {
        // Without quotes it reads as a number.
        Value::Float(number) => number.to_string(),
        _ => problems.text(entry)?.to_owned(),
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
    problems.noted(&entry.position, read)
}

fn pinned(text: &str) -> Result<String, String> {
    let digest = text.to_ascii_lowercase();
    match digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(digest),
        false => Err(format!(
            "{text:?} is not the SHA-256 of a public key in hexadecimal"
        )),
    }
}
