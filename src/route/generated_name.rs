//! The name of a cluster that has no configured one.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

/// What a generated cluster name begins with. Of two generated names the greater one wins; this
/// one is greater than those that nats-servers make up, which are of letters and digits.
const GENERATED_NAME: &str = "~midge-";

/// Bytes of the hash in it.
const GENERATED_NAME_HASH: usize = 6;

/// The name of a cluster without a configured one. All members have the same, because it is made of
/// what they share whatever else changes, the user of their routes: so a member that joins changes
/// nobody's name, which would end all routes.
pub(super) fn generated_name(user: &str) -> String {
    let hash = digest(&SHA256, format!("midge cluster of {user}").as_bytes());
    let hash = HEXLOWER.encode(&hash.as_ref()[..GENERATED_NAME_HASH]);
    format!("{GENERATED_NAME}{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_generate_one_name_that_wins_over_those_of_nats_servers() {
        let name = generated_name("routes");
        assert_eq!(name, generated_name("routes"));
        assert_ne!(name, generated_name(""));
        assert!(
            !name.contains("routes") && crate::protocol::is_word(&name),
            "{name}"
        );
        assert!(&*name > "zzzzzzzzzzzzzzzzzzzzzz");
    }
}
