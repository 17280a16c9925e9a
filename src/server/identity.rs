//! The public id of the broker, new at each start.

/// A new id: 56 characters of base 32 that begin with `N`, like a server's public key. It
/// identifies one run of the broker and proves nothing.
pub(super) fn server_id() -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digit = |_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]);
    std::iter::once('N').chain((1..56).map(digit)).collect()
}
