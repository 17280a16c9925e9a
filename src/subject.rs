//! Subjects: validity, wildcards and matching.
//!
//! A subject is a sequence of tokens separated by `.`. In a subscription the token `*` matches
//! exactly one token, and a final token `>` matches one or more. A token may contain any byte but
//! white space; UTF-8 is not checked (nats-server does not check it either). All other modules may
//! use this one; it uses none.

mod function;
pub mod transform;

/// Tokens of the longest subject that a client or another broker may subscribe to, whatever the
/// options allow: what fits the default control line.
pub const TOKENS_MAX: usize = 2048;

/// The tokens of a subject, empty ones included.
pub fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    subject.split(|byte| *byte == b'.')
}

/// Whether a subscription to `subject` is valid: no empty token, and `>` only as the last token.
pub fn is_valid(subject: &[u8]) -> bool {
    let mut ended = false;
    for token in tokens(subject) {
        if ended || token.is_empty() {
            return false;
        }
        ended = token == b">";
    }
    true
}

/// Whether some token is `*` or `>`, so that a subscription to it matches more than one subject.
pub fn is_wildcard(subject: &[u8]) -> bool {
    tokens(subject).any(|token| token == b"*" || token == b">")
}

/// Whether some token is empty. A message published to such a subject is delivered to no
/// subscription.
pub fn has_empty_token(subject: &[u8]) -> bool {
    tokens(subject).any(<[u8]>::is_empty)
}

/// Whether a pedantic client may publish to `subject`: it is valid and has no wildcard.
pub fn is_valid_literal(subject: &[u8]) -> bool {
    is_valid(subject) && !is_wildcard(subject)
}

/// Whether a message may be published to a `subject` that does not come from a line of the protocol
/// but from a header, from JSON or from a file: it is valid, has no wildcard, and nothing in it
/// ends a word of a line, such as that of the delivery.
pub fn is_publishable(subject: &[u8]) -> bool {
    is_valid_literal(subject) && !subject.iter().any(|byte| *byte <= b' ' || *byte == 0x7f)
}

/// Whether a subscription to `pattern` matches a message published to `subject`. Wildcards in
/// `subject` are ordinary tokens.
pub fn matches(pattern: &[u8], subject: &[u8]) -> bool {
    if has_empty_token(subject) {
        return false;
    }
    let mut subject = tokens(subject);
    for token in tokens(pattern) {
        match (token, subject.next()) {
            (b">", Some(_)) => return true,
            (b"*", Some(_)) => {}
            (wanted, Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

/// Whether every subject that `inner` matches is matched by `outer` too.
pub fn is_subset(inner: &[u8], outer: &[u8]) -> bool {
    let mut inner = tokens(inner);
    for wanted in tokens(outer) {
        match (wanted, inner.next()) {
            (b">", Some(_)) => return true,
            (b"*", Some(b">")) => return false,
            (b"*", Some(_)) => {}
            (wanted, Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
    inner.next().is_none()
}

/// Whether some subject matches both patterns.
pub fn overlap(a: &[u8], b: &[u8]) -> bool {
    let (mut a, mut b) = (tokens(a), tokens(b));
    loop {
        match (a.next(), b.next()) {
            (Some(b">"), Some(_)) | (Some(_), Some(b">")) | (None, None) => return true,
            (Some(b"*"), Some(_)) | (Some(_), Some(b"*")) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// The intersection of two patterns: the pattern of the subjects that both match; `None` if there
/// are none.
pub fn intersect(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let mut common: Vec<&[u8]> = Vec::new();
    let (mut ones, mut others) = (tokens(one), tokens(other));
    loop {
        match (ones.next(), others.next()) {
            (None, None) => return Some(common.join(&b'.')),
            (Some(b">"), Some(token)) => {
                common.push(token);
                common.extend(others);
                return Some(common.join(&b'.'));
            }
            (Some(token), Some(b">")) => {
                common.push(token);
                common.extend(ones);
                return Some(common.join(&b'.'));
            }
            (Some(b"*"), Some(token)) | (Some(token), Some(b"*")) => common.push(token),
            (Some(token), Some(same)) if token == same => common.push(token),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_to_publish_to_is_one_word() {
        for blank in [" ", "\t", "\r", "\n", "\x0c", "\0", "\x7f"] {
            for subject in [format!("a{blank}b"), format!("a.{blank}"), blank.to_owned()] {
                assert!(!is_publishable(subject.as_bytes()), "{subject:?}");
            }
        }
        for subject in ["a..b", "a.*", ">", ""] {
            assert!(!is_publishable(subject.as_bytes()), "{subject:?}");
        }
        assert!(is_publishable("a-b.ä".as_bytes()));
    }

    #[test]
    fn validity_of_subscriptions() {
        for good in [
            "a", "a.b", "*", ">", "a.*.c", "a.>", "a*", "foo.>bar", "*a.b", "é.x",
        ] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", ">.a", "a.>.b"] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn wildcards_are_whole_tokens() {
        assert!(is_wildcard(b"a.*"));
        assert!(is_wildcard(b">"));
        assert!(!is_wildcard(b"a*.b>"));
        assert!(is_valid_literal(b"a*.b>"));
        assert!(!is_valid_literal(b"a.*"));
    }

    #[test]
    fn subsets_and_overlaps() {
        for (inner, outer, subset, common) in [
            ("a.b", "a.b", true, true),
            ("a.b", "a.*", true, true),
            ("a.*", "a.b", false, true),
            ("a.>", "a.*", false, true),
            ("a.*", "a.>", true, true),
            ("a.*.c", "*.b.c", false, true),
            ("*", ">", true, true),
            (">", "*", false, true),
            (">", ">", true, true),
            ("a", "a.>", false, false),
            ("a.b.c", "a.*", false, false),
            ("a.b", "a.c", false, false),
            ("*.x", "*.y", false, false),
        ] {
            let (inner, outer) = (inner.as_bytes(), outer.as_bytes());
            assert_eq!(is_subset(inner, outer), subset, "{inner:?} in {outer:?}");
            assert_eq!(overlap(inner, outer), common, "{inner:?} and {outer:?}");
            assert_eq!(overlap(outer, inner), common, "{outer:?} and {inner:?}");
        }
    }

    #[test]
    fn matching() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            (">", "a..b", false),
            ("*.b", "*.b", true),
            ("a.*", "a.>", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), subject.as_bytes()),
                expected,
                "{pattern} {subject}"
            );
        }
    }

    #[test]
    fn intersections_of_patterns() {
        for (one, other, common) in [
            ("a.b", "a.b", Some("a.b")),
            ("a.*", "*.b", Some("a.b")),
            ("a.*", "a.*", Some("a.*")),
            (">", "a.*.c", Some("a.*.c")),
            ("a.>", "*.b.>", Some("a.b.>")),
            ("a.*", "a.>", Some("a.*")),
            ("a.>", "a", None),
            ("a.*", "a.b.c", None),
            ("a", "b", None),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let found = intersect(one.as_bytes(), other.as_bytes());
                assert_eq!(found.as_deref(), common.map(str::as_bytes), "{one} {other}");
            }
        }
        assert!(is_subset(b"a.*", b"a.>") && is_subset(b"a.b", b"*.b"));
        assert!(!is_subset(b"a.>", b"a.*") && !is_subset(b"*.b", b"a.b"));
    }
}
