//! Subject transforms of mappings and imports.

use midge::subject::{
    is_valid, is_wildcard, matches,
    transform::{Renaming, Transform},
};

/// The first line is the source, the second the destination, the others are
/// subjects.
pub fn transforms(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.split('\n');
    let (source, destination) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let transform = Transform::new(source, destination);
    let renaming = Renaming::new(source, destination);
    for pattern in transform.iter().map(|_| source) {
        assert!(is_valid(pattern.as_bytes()), "{pattern:?}");
        assert!(!pattern.contains(char::is_whitespace), "{pattern:?}");
    }
    for subject in lines.take(16) {
        let literal = is_valid(subject.as_bytes())
            && !is_wildcard(subject.as_bytes())
            && !subject.contains(char::is_whitespace);
        if !literal || !matches(source.as_bytes(), subject.as_bytes()) {
            continue;
        }
        if let Ok(transform) = &transform {
            let made = transform.applied(subject.as_bytes());
            // A subject with a blank would be two fields in a delivery.
            assert!(
                !made.iter().any(u8::is_ascii_whitespace),
                "{source:?} {destination:?} {subject:?}"
            );
            if transform.is_constant() {
                assert_eq!(transform.applied(subject.as_bytes()), made);
            }
        }
        if let Ok(renaming) = &renaming {
            let to_local = renaming.to_local.applied(subject.as_bytes());
            assert!(
                matches(renaming.local_subject.as_bytes(), &to_local),
                "{renaming:?}"
            );
            let to_export = renaming.to_export.applied(&to_local);
            assert_eq!(to_export, subject.as_bytes(), "{renaming:?}");
        }
    }
}
