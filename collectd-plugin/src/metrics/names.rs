//! Names of rows (members, accounts, ceilings, …) as parts of collectd's identifiers: legal, unique,
//! the same in each poll, and bounded in number, since each makes data files of its own.

use std::collections::{BTreeMap, BTreeSet};

use monitor_client::text::{cut, is_unsafe};

/// Limit of a part of an identifier in collectd, in bytes.
const PART_MAX: usize = 127;

/// Names of one kind for which an instance dispatches values as long as collectd runs.
pub(crate) const NAMES_MAX: usize = 100;

/// The names that have had values. The first ones stay, so no name comes and goes by its rank.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: BTreeMap<&'static str, Known>,
}

#[derive(Debug, Default)]
struct Known {
    names: BTreeSet<String>,
    is_full: bool,
}

impl Names {
    /// Whether this name of this kind may have values.
    pub(crate) fn admit(&mut self, what: &'static str, name: &str) -> bool {
        let known = self.known.entry(what).or_default();
        if known.names.contains(name) {
            return true;
        }
        if known.names.len() >= NAMES_MAX {
            known.is_full = true;
            return false;
        }
        known.names.insert(name.to_owned())
    }

    /// The kinds of which there are more names than are admitted.
    pub(crate) fn full(&self) -> impl Iterator<Item = &'static str> {
        let full = self.known.iter().filter(|(_, known)| known.is_full);
        full.map(|(what, _)| *what)
    }
}

/// The type instance `prefix-name`, with the name made legal. A changed name gets a hash of the
/// original one, so that two of them stay distinct.
pub(crate) fn type_instance(prefix: &str, name: &str) -> String {
    let room = PART_MAX - prefix.len() - 1;
    let legal = name.replace(is_illegal, "_");
    if legal == name && name.len() <= room {
        return format!("{prefix}-{name}");
    }
    let hash = format!("~{:08x}", hash(name));
    format!("{prefix}-{}{hash}", cut(&legal, room - hash.len()))
}

/// Characters that collectd, its protocols or a shell take for something else.
fn is_illegal(character: char) -> bool {
    character.is_whitespace()
        || is_unsafe(character)
        || matches!(character, '/' | '\\' | '"' | '\'' | '|' | ';' | '*')
}

/// FNV-1a in 32 bits: the same in each build, unlike the hash of the standard library.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_legal_and_stay_distinct() {
        assert_eq!(type_instance("route", "east-1.b"), "route-east-1.b");
        assert_eq!(type_instance("account", "$G"), "account-$G");
        let changed = ["a/b", "a b", "a\nb", "a\u{202e}b", "a_b"].map(|name| {
            let made = type_instance("account", name);
            assert!(made.starts_with("account-a_b"), "{made}");
            made
        });
        assert_eq!(changed[4], "account-a_b");
        assert_eq!(BTreeSet::from(changed).len(), 5);
    }

    #[test]
    fn long_names_are_cut_and_stay_distinct() {
        let long = "ü".repeat(100);
        let made = [format!("{long}a"), format!("{long}b")].map(|name| type_instance("x", &name));
        assert_ne!(made[0], made[1]);
        for name in made {
            assert!(
                name.len() <= PART_MAX && name.len() >= PART_MAX - 1,
                "{name}"
            );
        }
        let fits = "n".repeat(PART_MAX - 2);
        assert_eq!(type_instance("x", &fits), format!("x-{fits}"));
    }

    #[test]
    fn the_hash_is_that_of_the_reference() {
        // Of the authors' test vectors.
        assert_eq!(hash(""), 0x811c_9dc5);
        assert_eq!(hash("foobar"), 0xbf9c_f968);
    }

    #[test]
    fn the_first_names_stay_and_their_number_is_bounded() {
        let mut names = Names::default();
        for number in 0..NAMES_MAX {
            assert!(names.admit("accounts", &number.to_string()));
        }
        assert_eq!(names.full().count(), 0);
        assert!(!names.admit("accounts", "one more"));
        assert!(names.admit("accounts", "7"));
        assert!(names.admit("routes", "one more"));
        assert_eq!(names.full().collect::<Vec<_>>(), ["accounts"]);
    }
}
