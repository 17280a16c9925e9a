//! Each key that nats-server reads, with a right value and with values of all
//! kinds, in both directions; and the page of the docs that is made of it.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use midge::config::{
    self,
    options::keys::{KEYS, Kind, find_key},
};
use tempfile::TempDir;

use super::DIFFERENT;
use test_support::pki::Pki;

/// The names, as data.
const NAMES: &str = include_str!("names.txt");

/// A user's public key, and a hash that no password has.
const NKEY: &str = "UAH42UG6PV552P5SWLWTBP3H3S5BHAVCO2IEKEXUANJXR75J63RQ5WM6";
const HASH: &str = "$2a$11$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK";

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

/// Each block: its name, what stands around a line of it, and how it is called.
const BLOCKS: &[(&str, &str, &str)] = &[
    ("top", "@", "At the top"),
    (
        "cluster",
        "cluster { name: c, port: 6222\n@\n}",
        "In `cluster`",
    ),
    (
        "compression",
        "cluster { name: c, port: 6222, compression {\n@\n} }",
        "In `compression` of `cluster`",
    ),
    (
        "cluster authorization",
        "cluster { name: c, port: 6222, authorization { user: a, password: b\n@\n} }",
        "In `authorization` of `cluster`",
    ),
    ("tls", "tls {\n@\nREST }", "In `tls`"),
    (
        "certs",
        "tls { certs: [ {\n@\nREST } ] }",
        "In `certs` of `tls`",
    ),
    (
        "authorization",
        "authorization {\n@\nREST }",
        "In `authorization`",
    ),
    (
        "user",
        "authorization { users: [ {\n@\nREST } ] }",
        "Of a user",
    ),
    (
        "permissions",
        "authorization { users: [ { user: a, password: b, permissions {\n@\n} } ] }",
        "In `permissions`",
    ),
    (
        "publish",
        "authorization { users: [ { user: a, password: b, permissions { publish {\n@\n} } } ] }",
        "In `publish` and `subscribe`",
    ),
    (
        "allow_responses",
        "authorization { users: [ { user: a, password: b, \
         permissions { publish: a, allow_responses {\n@\n} } } ] }",
        "In `allow_responses`",
    ),
    ("account", "accounts { A {\n@\n} }", "Of an account"),
    (
        "limits",
        "accounts { A { limits {\n@\n} } }",
        "In `limits` of an account",
    ),
    (
        "export",
        "accounts { A { exports [ {\n@\n} ] } }",
        "Of an export",
    ),
    (
        "service export",
        "accounts { A { exports [ { service: \"a.*\"\n@\n} ] } }",
        "Of an exported service",
    ),
    (
        "import",
        "accounts { B { exports [ { stream: b }, { service: s } ] }\n A { imports [ {\n@\n} ] } }",
        "Of an import",
    ),
    (
        "import source",
        "accounts { B { exports [ { stream: b } ] }\n A { imports [ { stream: {\n@\nREST } } ] } }",
        "In `stream` or `service` of an import",
    ),
    (
        "stream import",
        "accounts { B { exports [ { stream: b }, { service: s } ] }\n \
         A { imports [ { stream: { account: B, subject: b }\n@\n} ] } }",
        "Of an imported stream",
    ),
    (
        "service import",
        "accounts { B { exports [ { stream: b }, { service: s } ] }\n \
         A { imports [ { service: { account: B, subject: s }\n@\n} ] } }",
        "Of an imported service",
    ),
    (
        "mapping",
        "mappings { a: [ {\n@\nREST } ] }",
        "Of a mapping",
    ),
];

/// Values that one of both takes and the other one does not; `*` is any key of the
/// block that is not named, or any value.
struct Difference {
    block: &'static str,
    keys: &'static [&'static str],
    forms: &'static [&'static str],
    midge_accepts: bool,
    reason: &'static str,
}

const fn stricter(
    block: &'static str,
    keys: &'static [&'static str],
    forms: &'static [&'static str],
    reason: &'static str,
) -> Difference {
    Difference {
        block,
        keys,
        forms,
        midge_accepts: false,
        reason,
    }
}

const fn laxer(
    block: &'static str,
    keys: &'static [&'static str],
    forms: &'static [&'static str],
    reason: &'static str,
) -> Difference {
    Difference {
        midge_accepts: true,
        ..stricter(block, keys, forms, reason)
    }
}

const FAILS_AT_START: &str = "nats-server takes it with -t and then does not start";
const NEGATIVE: &str = "a negative number makes no sense here";
const UNSERVED: &str = "not served, and the broker would not do what the file asks for";
const OPERATOR: &str =
    "operator mode (JWT) is not served, and its keys are told as soon as they appear";
const UNLOOKED: &str = "it has no effect, so what stands in it is not looked at";
const SECONDS: &str = "nats-server starts with it and warns, so a test of the file warns too";
const NO_SUBJECT: &str = "an empty text is no subject";
const HOLLOW: &str = "a value of the wrong kind would be passed over without a word";

const DIFFERENCES: &[Difference] = &[
    stricter("top", &["accounts"], &["*"], HOLLOW),
    stricter("top", &["https", "https_port"], &["*"], FAILS_AT_START),
    laxer(
        "top",
        &["jetstream", "ocsp", "ocsp_cache"],
        &["{ a: b }"],
        UNLOOKED,
    ),
    stricter(
        "top",
        &[
            "max_control_line",
            "max_payload",
            "max_pending",
            "ping_max",
            "max_closed_clients",
        ],
        &["-1"],
        NEGATIVE,
    ),
    stricter("top", &["max_pending"], &["5"], FAILS_AT_START),
    stricter(
        "top",
        &["ping_interval", "write_deadline"],
        &["\"-5s\""],
        NEGATIVE,
    ),
    laxer(
        "top",
        &["ping_interval", "write_deadline"],
        &["5", "0"],
        SECONDS,
    ),
    stricter(
        "top",
        &["gateway", "leaf", "websocket", "mqtt", "proxy_protocol"],
        &["*"],
        UNSERVED,
    ),
    laxer(
        "top",
        &["gateway", "leaf", "websocket", "mqtt", "proxy_protocol"],
        &["*"],
        "an empty value asks for nothing",
    ),
    stricter(
        "top",
        &[
            "operator",
            "resolver",
            "resolver_tls",
            "resolver_preload",
            "resolver_pinned_accounts",
            "trusted",
            "default_sentinel",
        ],
        &["*"],
        OPERATOR,
    ),
    laxer(
        "top",
        &[
            "operator",
            "resolver",
            "resolver_tls",
            "resolver_preload",
            "resolver_pinned_accounts",
            "trusted",
            "default_sentinel",
        ],
        &["*"],
        "an empty value asks for nothing",
    ),
    laxer("top", &["proxies"], &["*"], UNLOOKED),
    stricter("top", &["tls"], &["{}"], FAILS_AT_START),
    stricter(
        "top",
        &["no_auth_user", "system_account"],
        &["*"],
        FAILS_AT_START,
    ),
    stricter(
        "cluster",
        &["routes"],
        &["[a]"],
        "a route without a port is dialled in vain for ever",
    ),
    stricter("cluster", &["tls"], &["{}"], "there is no certificate"),
    stricter(
        "cluster",
        &["connect_retries", "ping_max"],
        &["-1"],
        NEGATIVE,
    ),
    stricter(
        "cluster",
        &["ping_interval", "write_deadline"],
        &["\"-5s\""],
        NEGATIVE,
    ),
    laxer(
        "cluster",
        &["ping_interval", "write_deadline"],
        &["5", "0"],
        SECONDS,
    ),
    stricter(
        "cluster authorization",
        &["proxy_required"],
        &["*"],
        UNSERVED,
    ),
    stricter("cluster authorization", &["token"], &["\"\""], UNSERVED),
    stricter(
        "cluster authorization",
        &["timeout"],
        &["-1", "\"-5s\""],
        NEGATIVE,
    ),
    stricter(
        "tls",
        &["timeout", "handshake_first"],
        &["-1", "\"-5s\""],
        NEGATIVE,
    ),
    stricter(
        "tls",
        &["pinned_certs"],
        &["[]"],
        "an empty list would pin nothing, though the file says that there are pins",
    ),
    laxer("compression", &["mode", "rtt_thresholds"], &["*"], UNLOOKED),
    stricter("tls", &["certs"], &["[]"], "there is no certificate"),
    stricter("tls", &["ocsp_peer"], &["*"], UNSERVED),
    laxer(
        "tls",
        &[
            "cert_match",
            "cert_match_by",
            "cert_match_skip_invalid",
            "ca_certs_match",
        ],
        &["*"],
        UNLOOKED,
    ),
    stricter("authorization", &["timeout"], &["-1", "\"-5s\""], NEGATIVE),
    stricter("authorization", &["proxy_required"], &["true"], UNSERVED),
    stricter("user", &["proxy_required"], &["true"], UNSERVED),
    stricter(
        "account",
        &["imports", "exports"],
        &["[{}]"],
        "an empty entry is a forgotten one",
    ),
    laxer(
        "account",
        &["jetstream", "msg_trace"],
        &["{ a: b }"],
        UNLOOKED,
    ),
    stricter("export", &["stream", "service"], &["\"\""], NO_SUBJECT),
    stricter("service export", &["threshold"], &["\"-5s\""], NEGATIVE),
    laxer(
        "service export",
        &["account_token_position"],
        &["-1"],
        "nats-server fails on it; it means no position",
    ),
    stricter("stream import", &["prefix", "to"], &["\"\""], NO_SUBJECT),
    stricter("mapping", &["dest"], &["\"\""], NO_SUBJECT),
    stricter("service import", &["to"], &["\"\""], NO_SUBJECT),
];

/// What is taken without a word and does not do what it does there.
const EXPLAINED: &[(&str, &str, &str)] = &[
    ("cluster", "pool_size", POOL),
    ("cluster", "accounts", POOL),
];

const POOL: &str = "Passed over: one route to each peer carries all accounts, as is agreed upon \
                    with every peer.";

/// Keys of blocks that nats-server does not have.
const OWN_KEYS: &[(&str, &[&str], &str)] = &[
    (
        "top",
        &["max_pending_size"],
        "The same as `max_pending`, from older files.",
    ),
    (
        "cluster",
        &["queue_policy"],
        "Which members of a queue group serve what is published here: \"weighted\", all alike, or \
         \"local\", those here as long as there are some.",
    ),
    (
        "tls",
        &["crl_file", "crl_files"],
        "Files with CRLs: whoever shows a certificate that is revoked in them is refused.",
    ),
    (
        "tls",
        &["crl_expired"],
        "What becomes of peers once the successor of a CRL is overdue: \"warn\" or \"reject\".",
    ),
    (
        "tls",
        &["puppet"],
        "Whether certificate, key, CA and CRL are those that Puppet's agent has here.",
    ),
    ("tls", &["ssldir"], "Where Puppet's agent has them."),
    (
        "account",
        &["default_permission", "permissions"],
        "The same as `default_permissions`, which has these names elsewhere.",
    ),
];

/// A key of nats-server.
struct Name {
    block: &'static str,
    names: Vec<&'static str>,
    sample: &'static str,
}

fn names() -> Vec<Name> {
    let lines = NAMES.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.splitn(3, " | ");
            let mut next = || parts.next().unwrap_or_else(|| panic!("{line:?}"));
            Name {
                block: next(),
                names: next().split(", ").collect(),
                sample: next(),
            }
        })
        .collect()
}

/// Files that values name, and a place for configurations.
struct Place {
    pki: Pki,
    folder: TempDir,
    count: AtomicUsize,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("empty"), "").expect("room for a file");
        Self {
            pki: Pki::new(&["b"]),
            folder,
            count: AtomicUsize::new(0),
        }
    }

    /// A file in which this key of the block has this value.
    fn text(&self, block: &str, key: &str, value: &str) -> String {
        let (_, around, _) = BLOCKS
            .iter()
            .find(|(name, ..)| *name == block)
            .unwrap_or_else(|| panic!("no block {block:?}"));
        let rest = match (block, key) {
            ("user", "user" | "username") => "password: y",
            ("user", "pass" | "password") => "user: x",
            ("user", "nkey") => "",
            ("mapping", "dest" | "destination") => "weight: 50",
            ("mapping", "cluster") => "destination: b, weight: 50",
            ("user", _) => "user: x, password: y",
            ("tls" | "certs", "cert_file") => "key_file: \"KEY\"",
            ("tls" | "certs", "key_file") => "cert_file: \"CERT\"",
            ("tls", "certs" | "certificates") => "",
            ("tls" | "certs", _) => "cert_file: \"CERT\", key_file: \"KEY\"",
            ("authorization", "pass" | "password") => "user: x",
            ("authorization", _) => "",
            ("import source", "account") => "subject: b",
            ("import source", "subject") => "account: B",
            ("import source", _) => "account: B, subject: b",
            _ => "destination: b",
        };
        let path = |path: std::path::PathBuf| path.display().to_string();
        around
            .replace('@', &format!("{key}: {value}"))
            .replace("REST", rest)
            .replace("NKEY", NKEY)
            .replace("HASH", HASH)
            .replace("CERT", &self.pki.text("b.pem"))
            .replace("\"KEY\"", &format!("{:?}", self.pki.text("b.key")))
            .replace("\"CA\"", &format!("{:?}", self.pki.text("ca.pem")))
            .replace("FILE", &path(self.folder.path().join("empty")))
    }

    fn write(&self, text: &str) -> std::path::PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("{number}.conf"));
        fs::write(&path, text).expect("room for a file");
        path
    }

    fn nats_server(&self, path: &Path) -> Result<(), String> {
        let output = Command::new(test_support::tools::nats_server())
            .args(["-t".as_ref(), "-c".as_ref(), path.as_os_str()])
            .output()
            .expect("nats-server 2.15.1 is needed");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The same with midge, with the command line's checks of files.
    fn midge(&self, path: &Path) -> Result<Vec<String>, String> {
        let arguments = [
            "midge".as_ref(),
            "-t".as_ref(),
            "-c".as_ref(),
            path.as_os_str(),
        ];
        let parsed = config::parse(arguments.iter().map(OsString::from));
        let parsed = parsed.map_err(|error| error.to_string())?;
        let warnings = parsed.warnings.into_iter();
        Ok(warnings.map(|warning| warning.text).collect())
    }
}

/// What both make of a key and its value.
struct Case {
    block: &'static str,
    key: &'static str,
    value: &'static str,
    theirs: Result<(), String>,
    ours: Result<Vec<String>, String>,
}

/// Has both judge each of these.
fn judge(place: &Place, jobs: &[(&'static str, &'static str, &'static str)]) -> Vec<Case> {
    let half = jobs.len().div_ceil(2);
    let work = |jobs: &[(&'static str, &'static str, &'static str)]| -> Vec<Case> {
        let judge = |(block, key, value): &(&'static str, &'static str, &'static str)| {
            let path = place.write(&place.text(block, key, value));
            Case {
                block,
                key,
                value,
                theirs: place.nats_server(&path),
                ours: place.midge(&path),
            }
        };
        jobs.iter().map(judge).collect()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .chunks(half)
            .map(|jobs| scope.spawn(move || work(jobs)))
            .collect();
        let results = threads.into_iter();
        results
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}

/// A certificate stands in one place: whoever writes it in two has one that is not
/// shown.
#[test]
fn certificates_stand_in_one_place() {
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
                assert!(why.contains("beside certs"), "{why}");
                let why = theirs.expect_err("it is refused");
                assert!(why.contains("cannot combine"), "{why}");
            }
        }
    }
}

/// The real nats-server knows each of the names, and midge has an answer to each.
#[test]
fn every_key_of_nats_server_has_an_answer() {
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
            .is_err_and(|said| said.contains("unknown field"))
        {
            wrong.push(format!(
                "{block} {key}: nats-server does not know it: {theirs:?}"
            ));
        }
        if ours.as_ref().is_err_and(|said| said.contains("unknown")) {
            wrong.push(format!("{block} {key}: midge does not know it: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Words that may be keys: all that are known to be one somewhere, or stand in a file
/// of ours as one.
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
    let own = OWN_KEYS.iter().flat_map(|(_, names, _)| *names).copied();
    let of_tables = KEYS.iter().flat_map(|key| {
        let inner = match key.kind {
            Kind::Block(keys) => keys,
            _ => &[],
        };
        let names = [key.name].into_iter().chain(key.aliases.iter().copied());
        names.chain(inner.iter().map(|key| key.name))
    });
    let words = of_names.chain(of_examples).chain(own).chain(of_tables);
    words.filter(is_word).collect()
}

/// What nats-server says of these lines in a block, as far as it does not know the keys.
fn unknown_there(place: &Place, block: &str, keys: &BTreeSet<&'static str>) -> BTreeSet<String> {
    let lines: Vec<String> = keys.iter().map(|key| format!("{key}: a")).collect();
    // What stands in the line of a key, here of many.
    let (name, value) = lines[0].split_once(": ").expect("a key");
    let rest = lines[1..].join("\n");
    let path = place.write(&place.text(block, name, &format!("{value}\n{rest}")));
    let said = place.nats_server(&path).err().unwrap_or_default();
    let said = said.to_ascii_lowercase().replace("field name", "field");
    let named = said.split("unknown field \"").skip(1);
    named
        .filter_map(|after| after.split_once('"'))
        .map(|(key, _)| key.to_owned())
        .collect()
}

/// In each block both are asked for every word that is a key anywhere: nats-server knows
/// none that is not listed, and midge none that is neither listed nor its own. So the
/// list is as whole as can be told without nats-server's source.
#[test]
fn no_key_is_missing_in_the_lists() {
    let place = Place::new();
    let names = names();
    let words = words();
    assert!(words.len() > 150, "{words:?}");
    let mut wrong = Vec::new();
    for (block, ..) in BLOCKS {
        // An entry without its kind is told as one, whatever else stands in it.
        if ["export", "import"].contains(block) {
            continue;
        }
        // Both kinds of an export, and of an import, have the same reader.
        let kind = block.rsplit(' ').next().unwrap_or_default();
        let is_of_kind = ["export", "import"].contains(&kind);
        let is_listed = |of: &str| of == *block || is_of_kind && of.ends_with(kind);
        let listed = names.iter().filter(|name| is_listed(name.block));
        let listed: BTreeSet<_> = listed.flat_map(|name| name.names.clone()).collect();
        let own: BTreeSet<_> = OWN_KEYS
            .iter()
            .filter(|(of, ..)| of == block)
            .flat_map(|(_, names, _)| *names)
            .copied()
            .chain(own_of_table(&names, block))
            .collect();
        let mut left: BTreeSet<_> = words.difference(&listed).copied().collect();
        for word in &left {
            let text = place.text(block, word, "5");
            let is_known = place
                .midge(&place.write(&text))
                .map_or_else(|said| !said.contains("unknown"), |_| true);
            if is_known != own.contains(word) {
                wrong.push(format!("midge, {block}: {word} is known: {is_known}"));
            }
        }
        // Some blocks are told of one key at a time.
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

/// The keys of midge's table that nats-server does not have.
fn own_of_table(names: &[Name], block: &str) -> Vec<&'static str> {
    let is_theirs = |name: &str| {
        let mut top = names.iter().filter(|it| it.block == "top");
        top.any(|it| it.names.contains(&name))
    };
    let own = KEYS.iter().map(|key| key.name);
    own.filter(|name| block == "top" && !is_theirs(name))
        .collect()
}

/// With values of all kinds both accept or both refuse, but for what is listed
/// with its reason; and what is listed is still so.
#[test]
fn values_of_all_kinds_are_judged_alike() {
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

/// What midge does with a key, in a sentence; from what it does with a right value.
fn told(place: &Place, name: &Name) -> String {
    let text = place.text(name.block, name.names[0], name.sample);
    let path = place.write(&text);
    let read = config::load(&path, &|name| std::env::var(name).ok());
    match read {
        Ok((_, warnings)) => {
            let explained = EXPLAINED
                .iter()
                .find(|(block, key, _)| (*block, *key) == (name.block, name.names[0]));
            if let Some((_, _, text)) = explained {
                return (*text).to_owned();
            }
            match warnings.first() {
                Some(warning) if warning.text.contains("no effect") => {
                    format!("Passed over with a warning: {}.", plain(&warning.text))
                }
                Some(warning) => format!("With a warning: {}.", plain(&warning.text)),
                None => {
                    let known = find_key(name.names[0]).filter(|_| name.block == "top");
                    known.map_or_else(|| "Served.".into(), |key| one_line(key.doc))
                }
            }
        }
        Err(errors) => format!("Refused: {}.", plain(&errors.0[0].text)),
    }
}

/// A message without the name of the key that it begins with.
fn plain(text: &str) -> String {
    let text = text.split_once(": ").map_or(text, |(_, rest)| rest);
    one_line(text).replace('|', "\\|")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn code(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts
        .iter()
        .map(|text| format!("`{}`", text.replace('\n', " ⏎ ").replace('|', "\\|")))
        .collect();
    quoted.join(", ")
}

fn page() -> String {
    let place = Place::new();
    let names = names();
    let mut page = String::from(BEGINNING);
    for (block, _, title) in BLOCKS {
        let of_block = names.iter().filter(|name| name.block == *block);
        let _ = write!(
            page,
            "\n### {title}\n\n| key | what midge does |\n|---|---|\n"
        );
        for name in of_block {
            let _ = writeln!(page, "| {} | {} |", code(&name.names), told(&place, name));
        }
    }
    page += OWN;
    for name in own_of_table(&names, "top") {
        let key = find_key(name).expect("a key of the table");
        let _ = writeln!(page, "| top: `{name}` | {} |", one_line(key.doc));
    }
    for (block, names, doc) in OWN_KEYS {
        let _ = writeln!(page, "| {block}: {} | {doc} |", code(names));
    }
    page += MIDDLE;
    for Difference {
        block,
        keys,
        forms,
        midge_accepts,
        reason,
    } in DIFFERENCES
    {
        let who = if *midge_accepts {
            "midge"
        } else {
            "nats-server"
        };
        let values = match forms {
            ["*"] => "some".to_owned(),
            forms => code(forms),
        };
        let _ = writeln!(
            page,
            "| {block}: {} | {values} | {who} | {reason} |",
            code(keys)
        );
    }
    page += END;
    for difference in DIFFERENT {
        let who = if difference.midge_accepts {
            "midge"
        } else {
            "nats-server"
        };
        let text = match difference.text {
            "" => "(an empty file)".to_owned(),
            text => code(&[text.trim_start_matches('\u{feff}')]),
        };
        let _ = writeln!(page, "| {text} | {who} | {} |", difference.reason);
    }
    page
}

#[test]
fn the_page_in_the_docs_is_the_one_of_the_tables() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let made = page();
    if fs::read_to_string(&file).unwrap_or_default() == made {
        return;
    }
    let place = std::env::temp_dir().join("configuration.md");
    fs::write(&place, made).expect("room for a file");
    panic!(
        "docs/configuration.md is not what the tables say; take over {}",
        place.display()
    );
}

const BEGINNING: &str = "\
# Configuration files

midge reads the files of nats-server. `conf/midge.conf` shows the keys that it serves with their
defaults; what follows is every key that nats-server 2.15 reads, and what midge does with it; what
stands in blocks that are not served is not listed. A key is

- served,
- passed over with a warning that tells what is missing, where the broker can do its work without,
- or refused, where going on would be unsafe or would not do what the file asks for. An empty
  value (`leafnodes {}`, `operator: []`, `proxy_protocol: false`) asks for nothing and is no error.

Keys match in any case. Of a key that is written twice the later one counts. Any unknown key may
stand where its value is used as a variable. `midge -t -c FILE` tests a file; with warnings it says
that the file is valid, since the broker would start.

This page is made from the tables of the options by a test, which has a real nats-server judge the
same files.

## Keys
";

const OWN: &str = "
### That nats-server does not have

| key | what midge does |
|---|---|
";

const MIDDLE: &str = "
## Values that are judged differently

With each key a value of each kind was given to both: numbers, texts, durations, booleans, lists,
blocks, dates. These are the differences.

| key | value | accepted by | why |
|---|---|---|---|
";

const END: &str = "
## Texts that are judged differently

| text | accepted by | why |
|---|---|---|
";
