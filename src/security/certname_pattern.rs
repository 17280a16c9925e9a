//! Patterns of certnames: which clients a user with `certificate` is for.
//!
//! [`super::authentication`] finds a certificate's user with [`CertificateRules`]; the configuration
//! reads the patterns and compares them with each other. A `*` stands for one or more characters,
//! dots included, as in Puppet's `autosign.conf`: `*.example.net` is each host in that domain and its
//! subdomains, but not `example.net`. Case counts, as it does for Puppet, whose certnames are in
//! lower case.

use std::collections::HashSet;

/// Bytes of the longest pattern: a host name has 253 at most.
const LEN_MAX: usize = 255;

/// A certname, or a pattern of some.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CertnamePattern(String);

/// A part of a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    /// This character.
    One(char),
    /// Any character.
    Any,
    /// Any number of characters, or none.
    Many,
}

impl CertnamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let why = if text.is_empty() {
            "is empty: no certificate has such a name"
        } else if text.len() > LEN_MAX {
            "is longer than 255 bytes"
        } else if text.contains("**") {
            "has two * in a row: one stands for one or more characters"
        } else if text.contains(['=', ',']) {
            "is no certname: write the common name alone, such as \"node1.example.net\" or \
             \"*.example.net\""
        } else if text.contains(|it: char| it.is_whitespace() || it.is_control()) {
            "contains blanks or control characters, which no certname has"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(format!("{text:?} {why}"))
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether it is for one name alone.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// How many characters it names; the more, the more specific it is.
    fn named_count(&self) -> usize {
        self.0.chars().filter(|it| *it != '*').count()
    }

    /// Whether the name is one of it. A certificate for a wildcard names no single host and is
    /// none of any pattern.
    pub fn matches(&self, name: &str) -> bool {
        if name.contains('*') {
            return false;
        }
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            // The * before this part takes at least one character.
            let mut characters = rest.chars();
            if characters.next().is_none() {
                return false;
            }
            rest = characters.as_str();
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        rest.is_empty()
    }

    /// Whether some name matches both patterns and neither is more specific: the file's order
    /// decides about such a name.
    pub fn rivals(&self, other: &Self) -> bool {
        !self.is_exact()
            && !other.is_exact()
            && self.named_count() == other.named_count()
            && self.overlaps(other)
    }

    fn tokens(&self) -> Vec<Token> {
        let tokens = self.0.chars().flat_map(|it| match it {
            '*' => [Some(Token::Any), Some(Token::Many)],
            it => [Some(Token::One(it)), None],
        });
        tokens.flatten().collect()
    }

    /// Whether some name matches both.
    fn overlaps(&self, other: &Self) -> bool {
        let (one, two) = (self.tokens(), other.tokens());
        // Most patterns differ in their first or last character: that is found out at once.
        let differ = |one: Option<&Token>, two: Option<&Token>| match (one, two) {
            (Some(Token::One(one)), Some(Token::One(two))) => one != two,
            _ => false,
        };
        if differ(one.first(), two.first()) || differ(one.last(), two.last()) {
            return false;
        }
        // For each place in `two`, whether what follows there can be the same as what follows in
        // `one`: for the place in `one` behind, and for the present one.
        let mut behind = vec![false; two.len() + 1];
        for at in (0..=one.len()).rev() {
            let mut here = vec![false; two.len() + 1];
            for other_at in (0..=two.len()).rev() {
                here[other_at] = match (one.get(at), two.get(other_at)) {
                    (None, None) => true,
                    // It takes nothing, or the next one of the other.
                    (Some(Token::Many), Some(_)) => behind[other_at] || here[other_at + 1],
                    (Some(_), Some(Token::Many)) => here[other_at + 1] || behind[other_at],
                    (Some(Token::Many), None) => behind[other_at],
                    (None, Some(Token::Many)) => here[other_at + 1],
                    (Some(Token::One(a)), Some(Token::One(b))) if a != b => false,
                    (Some(_), Some(_)) => behind[other_at + 1],
                    (None, Some(_)) | (Some(_), None) => false,
                };
            }
            behind = here;
        }
        behind[0]
    }
}

/// All patterns of users, for look-up.
#[derive(Default)]
pub struct CertificateRules {
    /// Patterns for one name.
    exact: HashSet<String>,
    /// The others, the most specific one first; equal ones in the order of the file.
    patterns: Vec<CertnamePattern>,
}

impl CertificateRules {
    /// The rules of these patterns.
    pub fn new<'a>(patterns: impl Iterator<Item = &'a CertnamePattern>) -> Self {
        let mut rules = Self::default();
        for pattern in patterns {
            match pattern.is_exact() {
                true => {
                    rules.exact.insert(pattern.text().to_owned());
                }
                false => rules.patterns.push(pattern.clone()),
            }
        }
        // Stable: it keeps the order of equal ones.
        rules
            .patterns
            .sort_by_key(|pattern| std::cmp::Reverse(pattern.named_count()));
        rules
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    /// The most specific pattern that this certname matches.
    pub fn find(&self, certname: &str) -> Option<&str> {
        if certname.is_empty() {
            return None;
        }
        let exact = self.exact.get(certname).map(String::as_str);
        let patterns = || self.patterns.iter().find(|it| it.matches(certname));
        exact.or_else(|| patterns().map(CertnamePattern::text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> CertnamePattern {
        CertnamePattern::parse(text).expect("a pattern")
    }

    #[test]
    fn a_star_is_one_or_more_characters() {
        for (text, matching, others) in [
            (
                "node1.example.net",
                &["node1.example.net"][..],
                &["node1.example.ne", "Node1.example.net", ""][..],
            ),
            (
                "*.mcollective",
                &["alice.mcollective", "a.b.mcollective"],
                &[
                    ".mcollective",
                    "mcollective",
                    "alice.mcollective.example.net",
                    "alice.Mcollective",
                ],
            ),
            ("*", &["a", "a.b"], &[""]),
            (
                "web*.example.net",
                &["web1.example.net", "web-a.b.example.net"],
                &["web.example.net", "db1.example.net"],
            ),
            (
                "a*b*c",
                &["axbxc", "a.b.bxc"],
                &["abc", "axbc", "abxc", "axbx"],
            ),
            ("*é*", &["aéb"], &["éb", "aé"]),
            // A certificate for a wildcard is no host.
            (
                "*.example.net",
                &["x.example.net"],
                &["*.example.net", "**.example.net"],
            ),
        ] {
            let pattern = pattern(text);
            matching
                .iter()
                .for_each(|name| assert!(pattern.matches(name), "{text} {name}"));
            others
                .iter()
                .for_each(|name| assert!(!pattern.matches(name), "{text} {name}"));
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let long = "a".repeat(LEN_MAX + 1);
        for text in ["", "a b", "a\n", "**", "a**b", "CN=alice", "a,b", &long] {
            let error = CertnamePattern::parse(text).expect_err(text);
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        pattern(&long[1..]);
    }

    #[test]
    fn the_most_specific_pattern_counts() {
        let texts = [
            "*",
            "*.example.net",
            "web*.example.net",
            "web1.example.net",
            "*1.example.net",
        ];
        let patterns: Vec<_> = texts.iter().map(|text| pattern(text)).collect();
        let rules = CertificateRules::new(patterns.iter());
        for (name, expected) in [
            ("web1.example.net", "web1.example.net"),
            ("web2.example.net", "web*.example.net"),
            ("web21.example.net", "web*.example.net"),
            ("db1.example.net", "*1.example.net"),
            ("db2.example.net", "*.example.net"),
            ("alice.mcollective", "*"),
        ] {
            assert_eq!(rules.find(name), Some(expected), "{name}");
        }
        assert_eq!(rules.find(""), None);
        let reversed = CertificateRules::new(patterns.iter().rev());
        assert_eq!(reversed.find("web2.example.net"), Some("web*.example.net"));
    }

    #[test]
    fn patterns_that_are_equally_specific_and_overlap_are_rivals() {
        for (one, two, expected) in [
            ("web*", "*web", true),
            ("a*c*", "*b*d", true),
            ("*.mcollective", "*.example.net", false),
            ("web*", "sql*", false),
            ("web*", "*we", false),
            ("web*", "webx", false),
            ("a*b", "a*c", false),
        ] {
            assert_eq!(pattern(one).rivals(&pattern(two)), expected, "{one} {two}");
            assert_eq!(pattern(two).rivals(&pattern(one)), expected, "{two} {one}");
        }
    }

    /// Reference implementation, by characters.
    fn is_match(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', after)), Some((_, rest))) => {
                is_match(after, rest) || is_match(pattern, rest)
            }
            (Some((one, after)), Some((two, rest))) => one == two && is_match(after, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_as_by_characters(text in "[ab*]{1,7}", name in "[ab]{0,8}") {
            if let Ok(pattern) = CertnamePattern::parse(&text) {
                let characters = |text: &str| text.chars().collect::<Vec<_>>();
                prop_assert_eq!(pattern.matches(&name), is_match(&characters(&text), &characters(&name)));
            }
        }

        #[test]
        fn patterns_that_match_one_name_overlap(one in "[ab*]{1,6}", two in "[ab*]{1,6}", name in "[ab]{1,7}") {
            if let (Ok(one), Ok(two)) = (CertnamePattern::parse(&one), CertnamePattern::parse(&two))
                && one.matches(&name) && two.matches(&name)
            {
                prop_assert!(one.overlaps(&two) && two.overlaps(&one));
            }
        }
    }
}
