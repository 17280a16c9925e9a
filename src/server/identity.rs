//! Who the broker is: its public id, new at each start, and what people call it.

use std::fs;

use crate::{connection::tls_listener::TlsListener, protocol::is_word};

/// The host's name.
const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";

/// A new id: 56 characters of base 32 that begin with `N`, like a server's public key. It
/// identifies one run of the broker and proves nothing.
pub(super) fn server_id() -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digit = |_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]);
    std::iter::once('N').chain((1..56).map(digit)).collect()
}

/// What a broker without a configured name is called: the name in the certificate of its route port
/// or of its client port, else the name of its host. Those survive a restart; its id does not.
pub(super) fn unconfigured_name(tls: [Option<&TlsListener>; 2], id: &str) -> String {
    let certnames = tls.into_iter().flatten();
    let mut certnames = certnames.map(|tls| tls.store.current().certname.clone());
    let certname = certnames.find(|name| !name.is_empty());
    let host = || fs::read_to_string(HOSTNAME_FILE).ok();
    let host = || host().map(|name| name.trim().to_owned());
    let name = certname.or_else(|| host().filter(|name| is_word(name)));
    name.unwrap_or_else(|| id.to_owned())
}
