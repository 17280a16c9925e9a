//! Subjects and the sublist, against trying every pattern.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use midge::{
    subject,
    sublist::{Entry, Sublist},
};

struct Pattern(Vec<u8>);

impl Entry for Pattern {
    fn subject(&self) -> &[u8] {
        &self.0
    }
    fn queue(&self) -> Option<&[u8]> {
        None
    }
}

// Lines: the first is the published subject, the others subscribe; those that
// begin with `-` leave again.
fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let published = lines.next().unwrap_or_default();
    let sublist = Sublist::new();
    let mut expected = Vec::new();
    let mut leaving = Vec::new();
    for line in lines.take(64) {
        let (pattern, leaves) = match line.strip_prefix(b"-") {
            Some(pattern) => (pattern, true),
            None => (line, false),
        };
        if !subject::is_valid(pattern) {
            continue;
        }
        let entry = Arc::new(Pattern(pattern.to_vec()));
        sublist.insert(entry.clone());
        match leaves {
            true => leaving.push(entry),
            false if subject::matches(pattern, published) => expected.push(Arc::as_ptr(&entry)),
            false => {}
        }
    }
    sublist.remove(&leaving);
    let found = sublist.lookup(published);
    let mut got: Vec<_> = found.plain.iter().map(Arc::as_ptr).collect();
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
});
