//! The fuzz targets. The programs in `fuzz_targets/` pass them libFuzzer's input;
//! `tests/harness/fuzz_corpus.rs` runs them on the stored corpus and on mutations of it.

mod before_login;
mod judge;
mod leafnodes;
mod names;
mod nkeys;
mod permissions;
mod routes;
mod transforms;
mod websocket;

use std::sync::Arc;

pub use self::{
    before_login::{client_before_login, route_before_login},
    leafnodes::leafnodes,
    names::names,
    nkeys::nkeys,
    permissions::permissions,
    routes::routes,
    transforms::transforms,
    websocket::{websocket_frames, websocket_request},
};
use midge::{
    config::syntax,
    protocol::{
        connect::ConnectOptions,
        parse::{Op, Parsed, parse, parse_repeated_publish},
    },
    subject,
    sublist::{Entry, Slot, Sublist},
    telemetry::pool::Pool,
};

/// A target: its name, which is also that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 14] = [
    ("client_before_login", client_before_login),
    ("config", config),
    ("connect", connect),
    ("leafnodes", leafnodes),
    ("names", names),
    ("nkeys", nkeys),
    ("permissions", permissions),
    ("protocol", protocol),
    ("route_before_login", route_before_login),
    ("routes", routes),
    ("subjects", subjects),
    ("transforms", transforms),
    ("websocket_frames", websocket_frames),
    ("websocket_request", websocket_request),
];

/// The configuration language: any text is parsed or rejected with a place.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // Included files are not tested here.
    if text.to_ascii_lowercase().contains("include") {
        return;
    }
    if let Err(error) = syntax::parse_text("fuzz.conf", text, &|_| None) {
        assert!(error.to_string().starts_with("fuzz.conf:"), "{error}");
    }
}

/// CONNECT: any bytes as JSON, applied to options.
pub fn connect(bytes: &[u8]) {
    if let Ok(options) = ConnectOptions::default().merge(bytes) {
        // Applying the same CONNECT again changes nothing.
        assert_eq!(options.merge(bytes).ok(), Some(options));
    }
}

/// The parser of the client protocol: any bytes, cut anywhere.
pub fn protocol(bytes: &[u8]) {
    let mut rest = bytes;
    let mut subject: &[u8] = b"";
    while let Ok(Parsed::Op(op, len)) = parse(rest, 4096) {
        assert!(0 < len && len <= rest.len());
        // A prefix of an operation is incomplete, never another operation.
        assert_eq!(parse(&rest[..len - 1], 4096), Ok(Parsed::Incomplete));
        let mut whole = len;
        if let Op::Publish(publish) = op {
            if let Some(short) = parse_repeated_publish(rest, subject) {
                assert_eq!(short, publish);
            }
            assert_eq!(publish.line_len, len);
            let headers = publish.header_len.unwrap_or(0);
            assert!(headers <= publish.total_len);
            subject = publish.subject;
            whole = publish.whole_len();
        }
        match rest.get(whole..) {
            Some(after) => rest = after,
            None => break,
        }
    }
}

struct Pattern {
    subject: Vec<u8>,
    slot: Slot,
}

static POOL: Pool = Pool::new(usize::MAX);

impl Entry for Pattern {
    fn subject(&self) -> &[u8] {
        &self.subject
    }

    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn queue(&self) -> Option<&[u8]> {
        None
    }

    fn memory(&self) -> usize {
        0
    }
}

/// Subjects and the sublist, compared with trying every pattern. The first line is the published
/// subject, the others are subscriptions; those that begin with `-` are removed again.
pub fn subjects(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let published = lines.next().unwrap_or_default();
    let sublist = Sublist::new(&POOL);
    let mut expected = Vec::new();
    let mut removed = Vec::new();
    for line in lines.take(64) {
        let (pattern, is_removed) = match line.strip_prefix(b"-") {
            Some(pattern) => (pattern, true),
            None => (line, false),
        };
        if !subject::is_valid(pattern) {
            continue;
        }
        let entry = Arc::new(Pattern {
            subject: pattern.to_vec(),
            slot: Slot::default(),
        });
        sublist.insert(entry.clone());
        match is_removed {
            true => removed.push(entry),
            false if subject::matches(pattern, published) => expected.push(Arc::as_ptr(&entry)),
            false => {}
        }
    }
    sublist.remove(&removed);
    let found = sublist.lookup(published);
    let mut got: Vec<_> = found.plain.iter().map(Arc::as_ptr).collect();
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
}
