//! Each key that nats-server reads, with a valid value and with values of all kinds, in
//! both directions.

use std::collections::BTreeSet;

use midge::config::options::keys::tables;

use super::{
    differences::{DIFFERENCES, Difference},
    fixture::{BLOCKS, Case, NAMES, Name, Place, judge, names},
};

/// Values of all kinds, for each key.
const FORMS: &[&str] = &[
    "5",
    "-1",
    "0",
    "1.5",
    "\"a\"",
    "\"\"",
    "\"5s\"",
    "\"-5s\"",
    "true",
    "\"true\"",
    "[]",
    "[a]",
    "[true]",
    "[{}]",
    "{}",
    "{ a: b }",
    "2024-01-02T03:04:05Z",
];

/// A certificate is configured in one place: one configured in two places would not be
/// used in one of them.
#[test]
fn certificates_are_in_one_place() {
    let place = Place::new();
    let list = "[ { cert_file: \"CERT\", key_file: \"KEY\" } ]";
    for key in ["certs", "certificates"] {
        let alone = place.text("tls", key, list);
        let certificate = place.text("tls", "cert_file", "\"CERT\"");
        let (begin, rest) = certificate.rsplit_once('}').expect("the end of the block");
        let both = format!("{begin}\n{key}: {list}\n}}{rest}");
        let both = both
            .replace("CERT", &place.pki.text("b.pem"))
            .replace("KEY", &place.pki.text("b.key"));
        for (text, is_taken) in [(both, false), (alone, true)] {
            let path = place.write(&text);
            let (theirs, ours) = (place.nats_server(&path), place.midge(&path));
            assert_eq!(theirs.is_ok(), is_taken, "{text}: {theirs:?}");
            assert_eq!(ours.is_ok(), is_taken, "{text}: {ours:?}");
            if !is_taken {
                let why = ours.expect_err("it is refused");
                assert!(why.contains("used together"), "{why}");
                let why = theirs.expect_err("it is refused");
                assert!(why.contains("cannot combine"), "{why}");
            }
        }
    }
}

/// The real nats-server knows each of the names, and midge handles each.
#[test]
fn every_nats_server_key_is_handled() {
    let place = Place::new();
    let names = names();
    let jobs: Vec<_> = names
        .iter()
        .flat_map(|name| name.names.iter().map(|key| (name.block, *key, name.sample)))
        .collect();
    let mut wrong = Vec::new();
    for Case {
        block,
        key,
        theirs,
        ours,
        ..
    } in judge(&place, &jobs)
    {
        if theirs
            .as_ref()
            .is_err_and(|result| result.contains("unknown field"))
        {
            wrong.push(format!(
                "{block} {key}: nats-server does not know it: {theirs:?}"
            ));
        }
        if ours
            .as_ref()
            .is_err_and(|result| result.contains("unknown"))
        {
            wrong.push(format!("{block} {key}: midge does not know it: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Words that may be keys: all that are known to be one somewhere, or are used as one in
/// a file of ours.
fn words() -> BTreeSet<&'static str> {
    let examples = [
        include_str!("../../../conf/midge.conf"),
        include_str!("../../../conf/cluster.conf"),
    ];
    let is_of_key = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let is_word = |word: &&str| word.len() > 1 && word.chars().all(is_of_key);
    let of_examples = examples
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| {
            let (key, _) = line.split_once([':', '{'])?;
            Some(key.trim_matches(['#', ' ']))
        });
    let of_names = NAMES.split(|letter| !is_of_key(letter));
    let of_tables = tables().into_iter().flat_map(|table| table.rows);
    let of_tables = of_tables.flat_map(|row| row.names);
    let words = of_names.chain(of_examples).chain(of_tables);
    words.filter(is_word).collect()
}

/// Keys of midge in a block that nats-server does not have there.
pub fn own_names(names: &[Name], block: &str) -> Vec<&'static str> {
    let tables = tables();
    let table = table_of(block);
    let rows = tables.iter().filter(|it| it.name == table);
    let known = rows.flat_map(|it| &it.rows).flat_map(|row| &row.names);
    // Both kinds of an export, and of an import, have one table.
    let theirs = |name: &str| {
        let mut of_table = names.iter().filter(|it| table_of(it.block) == table);
        of_table.any(|it| it.names.contains(&name))
    };
    known.copied().filter(|name| !theirs(name)).collect()
}

/// The table with the keys of a block.
pub fn table_of(block: &str) -> &str {
    match block {
        "service export" => "export",
        "stream import" | "service import" => "import",
        block => block,
    }
}

/// What nats-server reports about these lines in a block, as far as it does not know the
/// keys.
fn unknown_there(place: &Place, block: &str, keys: &BTreeSet<&'static str>) -> BTreeSet<String> {
    let lines: Vec<String> = keys.iter().map(|key| format!("{key}: a")).collect();
    // The text of a line with a key, here one of many.
    let (name, value) = lines[0].split_once(": ").expect("a key");
    let rest = lines[1..].join("\n");
    let path = place.write(&place.text(block, name, &format!("{value}\n{rest}")));
    let result = place.nats_server(&path).err().unwrap_or_default();
    let result = result.to_ascii_lowercase().replace("field name", "field");
    let named = result.split("unknown field \"").skip(1);
    named
        .filter_map(|after| after.split_once('"'))
        .map(|(key, _)| key.to_owned())
        .collect()
}

/// In each block both are given every word that is a key anywhere: nats-server knows none
/// that is not listed, and midge none that is neither listed nor its own. So the list is
/// as complete as can be tested without nats-server's source.
#[test]
fn no_key_is_missing_from_the_lists() {
    let place = Place::new();
    let names = names();
    let words = words();
    assert!(words.len() > 150, "{words:?}");
    let mut wrong = Vec::new();
    for (block, ..) in BLOCKS {
        // An entry without its kind is reported as such, whatever else it contains.
        if ["export", "import"].contains(block) {
            continue;
        }
        // Both kinds of an export, and of an import, have the same parser.
        let kind = block.rsplit(' ').next().unwrap_or_default();
        let is_of_kind = ["export", "import"].contains(&kind);
        let is_listed = |of: &str| of == *block || is_of_kind && of.ends_with(kind);
        let listed = names.iter().filter(|name| is_listed(name.block));
        let listed: BTreeSet<_> = listed.flat_map(|name| name.names.clone()).collect();
        let own: BTreeSet<_> = own_names(&names, block).into_iter().collect();
        let mut left: BTreeSet<_> = words.difference(&listed).copied().collect();
        for word in &left {
            let text = place.text(block, word, "5");
            let is_known = place
                .midge(&place.write(&text))
                .map_or_else(|result| !result.contains("unknown"), |_| true);
            if is_known != own.contains(word) {
                wrong.push(format!("midge, {block}: {word} is known: {is_known}"));
            }
        }
        // Some blocks report one key at a time.
        loop {
            let unknown = unknown_there(&place, block, &left);
            let before = left.len();
            left.retain(|word| !unknown.contains(*word));
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        for word in left {
            if unknown_there(&place, block, &[word].into()).is_empty() {
                wrong.push(format!("nats-server, {block}: {word} is known"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// For values of all kinds both accept or both refuse, except for the listed differences;
/// and each listed difference still exists.
#[test]
fn values_of_all_kinds_get_the_same_verdict() {
    let place = Place::new();
    let names = names();
    let mut jobs = Vec::new();
    for name in &names {
        let forms = FORMS.iter().chain([&name.sample]);
        jobs.extend(forms.map(|form| (name.block, name.names[0], *form)));
    }
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for case in judge(&place, &jobs) {
        if case.theirs.is_ok() == case.ours.is_ok() {
            continue;
        }
        let listed = DIFFERENCES.iter().position(|difference| {
            difference.block == case.block
                && difference.keys.contains(&case.key)
                && (difference.forms == ["*"] || difference.forms.contains(&case.value))
                && difference.midge_accepts == case.ours.is_ok()
        });
        match listed {
            Some(at) => drop(seen.insert(at)),
            None => wrong.push(format!(
                "{} {}: {}\n  nats-server: {:?}\n  midge: {:?}",
                case.block, case.key, case.value, case.theirs, case.ours
            )),
        }
    }
    for (at, Difference { block, keys, .. }) in DIFFERENCES.iter().enumerate() {
        if !seen.contains(&at) {
            wrong.push(format!("{block} {keys:?} is listed and is no difference"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
