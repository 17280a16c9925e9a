//! The public id of one run of the broker.

/// A new id: 56 characters of base 32, the first one `N`, in the form of a
/// server's public key. It names a run and proves nothing.
pub(super) fn server_id() -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digit = |_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]);
    std::iter::once('N').chain((1..56).map(digit)).collect()
}
