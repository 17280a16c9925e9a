//! Transforms: rules that change one subject into another.
//!
//! Tokens of the destination may refer to parts of the source: `$1` or `{{wildcard(1)}}` is what
//! the first `*` of the source matched; `{{partition(n,1,2)}}`, `{{split(1,-)}}` and others are
//! functions of it. Either both end with `>` or neither. Mappings and imports of accounts use
//! transforms. The configuration creates them, so that errors are reported with their place in the
//! file.

use std::fmt;

use super::{function::Function, is_valid, tokens};

/// A rule that changes subjects of one pattern into subjects of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transform {
    parts: Vec<Part>,
    /// Index of the first source token that the final `>` matches; `None` if there is none.
    rest_from: Option<usize>,
}

/// One token of the destination.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Function(Function),
    Text(Box<[u8]>),
}

/// Why a source and destination are not a valid transform, with the token concerned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TransformError(String);

impl fmt::Display for TransformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TransformError {}

impl Transform {
    /// Creates the transform from subjects that match `source` to `destination`.
    ///
    ///  # Errors
    ///
    /// One of them is not a subject, or they do not fit together.
    pub fn new(source: &str, destination: &str) -> Result<Self, TransformError> {
        let is_plain = is_valid(source.as_bytes()) && !source.contains(char::is_whitespace);
        let are_valid = [
            (source, is_plain),
            (destination, is_valid_destination(destination)),
        ];
        if let Some((text, _)) = are_valid.iter().find(|(_, is_valid)| !is_valid) {
            return Err(TransformError(format!("{text:?} is not a valid subject")));
        }
        if ends_with_rest(source) != ends_with_rest(destination) {
            return Err(TransformError(format!(
                "{source:?} and {destination:?} must both end with \">\", or neither"
            )));
        }
        let wildcards: Vec<usize> = source
            .split('.')
            .enumerate()
            .filter(|(_, token)| *token == "*")
            .map(|(index, _)| index)
            .collect();
        let parts = destination
            .split('.')
            .filter(|token| *token != ">")
            .map(|token| Part::new(token, &wildcards))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            parts,
            rest_from: ends_with_rest(source).then(|| source.split('.').count() - 1),
        })
    }

    /// Whether equal subjects always have equal results.
    pub fn is_constant(&self) -> bool {
        !self
            .parts
            .iter()
            .any(|part| matches!(part, Part::Function(Function::Random(_))))
    }

    /// The pattern of the results for subjects of a pattern within the source. The result of a
    /// function may be any token.
    pub fn apply_to_pattern(&self, pattern: &[u8]) -> Vec<u8> {
        let any = Part::Text((*b"*").into());
        let of_pattern = |part: &Part| match part {
            Part::Function(Function::Wildcard(_)) | Part::Text(_) => part.clone(),
            Part::Function(_) => any.clone(),
        };
        let transform = Self {
            parts: self.parts.iter().map(of_pattern).collect(),
            ..*self
        };
        transform.applied(pattern)
    }

    /// Appends the result for `subject`, which should match the source.
    pub fn apply(&self, subject: &[u8], to: &mut Vec<u8>) {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                to.push(b'.');
            }
            match part {
                Part::Text(text) => to.extend_from_slice(text),
                Part::Function(function) => function.apply(subject, to),
            }
        }
        if let Some(from) = self.rest_from {
            for (index, token) in tokens(subject).skip(from).enumerate() {
                if index > 0 || !self.parts.is_empty() {
                    to.push(b'.');
                }
                to.extend_from_slice(token);
            }
        }
    }

    /// The result for `subject`.
    pub fn applied(&self, subject: &[u8]) -> Vec<u8> {
        let mut made = Vec::with_capacity(subject.len() + 16);
        self.apply(subject, &mut made);
        made
    }
}

impl Part {
    fn new(token: &str, wildcards: &[usize]) -> Result<Self, TransformError> {
        if token == "*" {
            return Err(TransformError(
                "a destination has no \"*\": write $1 for what the first \"*\" of the source \
                 matched"
                    .into(),
            ));
        }
        match Function::parse(token, wildcards) {
            Ok(Some(function)) => Ok(Self::Function(function)),
            Ok(None) => Ok(Self::Text(token.as_bytes().into())),
            Err(problem) => Err(TransformError(format!("{token:?}: {problem}"))),
        }
    }
}

/// A reversible transform between the subjects of the exporting account and those of the importing
/// one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Renaming {
    /// The pattern in the exporting account.
    pub export_subject: String,
    /// The pattern in the importing account.
    pub local_subject: String,
    /// From the exporting account's subjects to those of the importing account.
    pub to_local: Transform,
    /// From the importing account's subjects to those of the exporting account.
    pub to_export: Transform,
}

impl Renaming {
    /// Creates the renaming between two patterns. The wildcards of `local_subject` are `*`, in the
    /// order of those in `export_subject`, or `$1` and `{{wildcard(1)}}` in any order.
    ///
    ///  # Errors
    ///
    /// One of them is not a subject, or some wildcard is not in both.
    pub fn new(export_subject: &str, local_subject: &str) -> Result<Self, TransformError> {
        let count = export_subject
            .split('.')
            .filter(|token| *token == "*")
            .count();
        let (pattern, numbers) = parse_placeholders(local_subject, count)?;
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(1..=count) {
            return Err(TransformError(format!(
                "each \"*\" of {export_subject:?} must stand once in {local_subject:?}, as \"*\" or $1, $2 …"
            )));
        }
        let mut seen = 0;
        let to_export: Vec<String> = export_subject
            .split('.')
            .map(|token| match token {
                "*" => {
                    seen += 1;
                    let number = numbers.iter().position(|number| *number == seen);
                    format!("${}", number.unwrap_or_default() + 1)
                }
                word => word.to_owned(),
            })
            .collect();
        let mut numbers = numbers.iter();
        let to_local: Vec<String> = pattern
            .split('.')
            .map(|token| match token {
                "*" => format!("${}", numbers.next().unwrap_or(&0)),
                word => word.to_owned(),
            })
            .collect();
        Ok(Self {
            to_local: Transform::new(export_subject, &to_local.join("."))?,
            to_export: Transform::new(&pattern, &to_export.join("."))?,
            export_subject: export_subject.to_owned(),
            local_subject: pattern,
        })
    }
}

/// Parses placeholders: returns the subject with a `*` for each, and the number of the other side's
/// wildcard that each refers to. If the other side has no wildcards, nothing is a placeholder.
fn parse_placeholders(subject: &str, count: usize) -> Result<(String, Vec<usize>), TransformError> {
    let (mut pattern, mut numbers) = (Vec::new(), Vec::new());
    // Each index is its own number: the caller checks which are out of range.
    let wildcards: Vec<usize> = (1..=count).collect();
    let mut stars = 0;
    for token in subject.split('.') {
        let number = match Function::parse(token, &wildcards) {
            _ if token == "*" => {
                stars += 1;
                Some(stars)
            }
            _ if count == 0 => None,
            Ok(Some(Function::Wildcard(number))) => Some(number),
            Ok(Some(_)) => {
                return Err(TransformError(format!(
                    "{token:?}: an import can only use $1 and {{{{wildcard(1)}}}}"
                )));
            }
            Ok(None) => None,
            Err(problem) => return Err(TransformError(format!("{token:?}: {problem}"))),
        };
        pattern.push(if number.is_some() { "*" } else { token });
        numbers.extend(number);
    }
    Ok((pattern.join("."), numbers))
}

fn ends_with_rest(subject: &str) -> bool {
    subject == ">" || subject.ends_with(".>")
}

/// Functions may have blanks between their arguments; elsewhere a blank is not part of a subject.
fn is_valid_destination(subject: &str) -> bool {
    let is_function = |token: &str| token.starts_with("{{") && token.ends_with("}}");
    let mut others = subject.split('.').filter(|token| !is_function(token));
    is_valid(subject.as_bytes()) && !others.any(|token| token.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(source: &str, destination: &str, subject: &str) -> String {
        let transform = Transform::new(source, destination)
            .unwrap_or_else(|error| panic!("{source} {destination}: {error}"));
        String::from_utf8(transform.applied(subject.as_bytes())).unwrap()
    }

    #[test]
    fn destinations_refer_to_parts_of_the_source() {
        for (source, destination, subject, expected) in [
            ("a", "b.c", "a", "b.c"),
            ("a.*.*", "b.$2.$1", "a.x.y", "b.y.x"),
            ("*.*", "{{wildcard(2)}}.{{ Wildcard( 1 ) }}", "x.y", "y.x"),
            ("a.>", "b.>", "a.x.y", "b.x.y"),
            (">", ">", "a.b", "a.b"),
            (">", "p.>", "a.b", "p.a.b"),
            ("a.*.>", "$1.>", "a.x.y.z", "x.y.z"),
            ("a.*", "$SYS.$x.$1", "a.b", "$SYS.$x.b"),
            ("*", "{{split(1,-)}}", "-a--b-", "a.b"),
            ("*", "x.{{split(1,-)}}", "a", "x.a"),
            ("*", "{{splitFromLeft(1,2)}}", "abcde", "ab.cde"),
            ("*", "{{splitFromRight(1,2)}}", "abcde", "abc.de"),
            ("*", "{{sliceFromLeft(1,2)}}", "abcde", "ab.cd.e"),
            ("*", "{{sliceFromRight(1,2)}}", "abcde", "a.bc.de"),
            ("*", "{{left(1,2)}}.{{right(1,2)}}", "abcde", "ab.de"),
            ("*", "{{left(1,9)}}", "abc", "abc"),
            ("*", "{{partition(1,1)}}", "abc", "0"),
        ] {
            assert_eq!(
                apply(source, destination, subject),
                expected,
                "{destination}"
            );
        }
    }

    /// The values are those of 32-bit FNV-1a: other brokers must compute the same partition.
    #[test]
    fn partitions_use_fnv() {
        assert_eq!(apply("*", "{{partition(10,1)}}", "foo"), "3");
        assert_eq!(apply("a.*", "{{partition(10,1)}}", "a.foo"), "3");
        assert_eq!(apply("foo", "{{partition(10)}}", "foo"), "3");
    }

    #[test]
    fn patterns_are_transformed_to_patterns() {
        for (source, destination, pattern, expected) in [
            ("a.*", "b.$1.c", "a.*", "b.*.c"),
            ("a.*", "b.$1.c", "a.x", "b.x.c"),
            ("a.*.*", "b.$2.{{partition(3,1)}}", "a.*.y", "b.y.*"),
            ("a.>", "b.>", "a.x.>", "b.x.>"),
        ] {
            let transform = Transform::new(source, destination).unwrap();
            let made = transform.apply_to_pattern(pattern.as_bytes());
            assert_eq!(made, expected.as_bytes(), "{destination}");
        }
    }

    #[test]
    fn mismatched_sources_and_destinations_are_rejected() {
        for (source, destination, problem) in [
            ("a..b", "c", "\"a..b\" is not a valid subject"),
            ("a b", "c", "\"a b\" is not a valid subject"),
            ("a", "b c", "\"b c\" is not a valid subject"),
            ("a", "b.c\r\nd", "is not a valid subject"),
            ("*", "{{wildcard(1)}} b", "is not a valid subject"),
            ("a.>", "b", "must both end"),
            ("a.*", "b.*", "has no \"*\""),
            ("a.*", "b.$2", "has 1 wildcard"),
            ("a.*", "b.$0", "from 1"),
            ("a.*", "{{wildcard()}}", "number"),
            ("a.*", "{{wildcard(1,2)}}", "argument"),
            ("a.*", "{{partition(0,1)}}", "at least 1"),
            ("a.*", "{{split(1)}}", "argument"),
            ("a.*", "{{split(1,x y)}}", "blank"),
            ("a.*", "{{turn(1)}}", "unknown function"),
        ] {
            let error = Transform::new(source, destination).expect_err(destination);
            assert!(
                error.to_string().contains(problem),
                "{destination}: {error}"
            );
        }
    }

    #[test]
    fn a_renaming_works_in_both_directions() {
        for (export_subject, local_subject, their_subject, our_subject) in [
            ("a.*.*", "b.*.c.*", "a.1.2", "b.1.c.2"),
            ("a.*.*", "b.$2.$1", "a.1.2", "b.2.1"),
            ("a.>", "b.>", "a.1.2", "b.1.2"),
            ("a.b", "c", "a.b", "c"),
            (">", "from.>", "x.y", "from.x.y"),
        ] {
            let renaming = Renaming::new(export_subject, local_subject).unwrap();
            let to_local = renaming.to_local.applied(their_subject.as_bytes());
            assert_eq!(to_local, our_subject.as_bytes());
            assert_eq!(
                renaming.to_export.applied(&to_local),
                their_subject.as_bytes()
            );
        }
        assert!(Renaming::new("a.*", "b").is_err());
        assert!(Renaming::new("a.*", "b.$1.$1").is_err());
        assert!(Renaming::new("a.*", "b.{{partition(3,1)}}").is_err());
    }
}
