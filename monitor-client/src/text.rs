//! Reading and writing of text wherever a broker is shown: text chosen by peers is made
//! safe here, and durations and sizes have the same form in every view.
//!
//! Names of clients, subjects and reasons come from peers. An escape sequence
//! redraws a terminal, a line end forges a line of a log, a mark of direction turns
//! a line around, a character without a width hides in a name. [`is_unsafe`] alone
//! says which characters these are; a format adds only those of its own syntax.

mod duration;
mod size;

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

pub use self::{
    duration::{NotADuration, go_duration, go_uptime},
    size::bytes,
};

/// The unsafe characters, as ranges in order.
pub const UNSAFE: [(char, char); 29] = [
    ('\u{0}', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{e000}', '\u{f8ff}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
    ('\u{f0000}', '\u{10ffff}'),
];

/// Whether a character does something else than show itself: control characters,
/// marks of direction, ends of lines and paragraphs, characters without a width,
/// and those that only private agreements give a picture.
pub fn is_unsafe(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    let next = UNSAFE.partition_point(|(first, _)| *first <= character);
    next > 0 && character <= UNSAFE[next - 1].1
}

/// A text as the value of a parameter of a URL's query.
pub fn query_value(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => made.push(char::from(byte)),
            false => made.push_str(&format!("%{byte:02X}")),
        }
    }
    made
}

/// The text with every unsafe character but the tab written as an escape, as
/// `\n` or `\u{202e}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let is_escaped = |character: char| character != '\t' && is_unsafe(character);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_escaped(character) {
            true => safe.extend(character.escape_default()),
            false => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

/// The text in double quotes as Go's `%q` writes it: unsafe characters, and bytes that are not UTF-8,
/// as escapes.
pub fn quoted(text: &[u8]) -> String {
    let mut quoted = String::from('"');
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            quote(&mut quoted, character);
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

fn quote(quoted: &mut String, character: char) {
    // Writing to a string does not fail.
    let _ = match character {
        '"' | '\\' => write!(quoted, "\\{character}"),
        '\u{7}' => quoted.write_str("\\a"),
        '\u{8}' => quoted.write_str("\\b"),
        '\u{b}' => quoted.write_str("\\v"),
        '\u{c}' => quoted.write_str("\\f"),
        '\n' => quoted.write_str("\\n"),
        '\r' => quoted.write_str("\\r"),
        '\t' => quoted.write_str("\\t"),
        '\0'..='\u{1f}' | '\u{7f}' => write!(quoted, "\\x{:02x}", u32::from(character)),
        ' '..='~' => quoted.write_char(character),
        _ if !is_unsafe(character) && is_printable(character) => quoted.write_char(character),
        '\0'..='\u{ffff}' => write!(quoted, "\\u{:04x}", u32::from(character)),
        _ => write!(quoted, "\\U{:08x}", u32::from(character)),
    };
}

/// Whether a character beyond ASCII prints, perhaps joined to the one before it.
fn is_printable(character: char) -> bool {
    let mut joined = [b'a'; 5];
    let length = character.encode_utf8(&mut joined[1..]).len();
    let joined = str::from_utf8(&joined[..=length]).unwrap_or_default();
    joined.escape_debug().count() == 2
}

/// `3 clients`, `1 client`, `2 addresses`, `2 replies`: a number with its noun.
pub fn plural(count: impl fmt::Display, noun: &str) -> String {
    let count = count.to_string();
    let (stem, ending) = match noun.strip_suffix('y') {
        _ if count == "1" => (noun, ""),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => (stem, "ies"),
        _ if noun.ends_with('s') => (noun, "es"),
        _ => (noun, "s"),
    };
    format!("{count} {stem}{ending}")
}

/// The beginning of a text in at most `length` bytes, cut between characters.
pub fn cut(text: &str, length: usize) -> &str {
    let mut end = length.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The part of a URL or an address that an error may show. What stands before the last `@` is a
/// login, and is left out; so is what stands in the place of a port and is no number, because it
/// may be a password to which the host is missing.
pub fn without_login(address: &str) -> String {
    let (scheme, rest) = match address.find("://") {
        Some(end) if !address[..end].contains([':', '@']) => address.split_at(end + "://".len()),
        _ => ("", address),
    };
    let (login, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("…@", rest),
        None => ("", rest),
    };
    // The colons of an IPv6 address in brackets divide no port.
    let brackets = match rest.starts_with('[') {
        true => rest.find(']').unwrap_or_default(),
        false => 0,
    };
    let shown = match rest[brackets..].find(':') {
        Some(colon) if !is_port(&rest[brackets + colon + 1..]) => {
            format!("{}:…", &rest[..brackets + colon])
        }
        _ => rest.to_owned(),
    };
    format!("{scheme}{login}{shown}")
}

/// Whether it is nothing, or a number that a path may follow.
fn is_port(text: &str) -> bool {
    let port = text.split(['/', '?', '#']).next().unwrap_or_default();
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (text.is_empty() || !port.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_are_escaped_and_others_kept() {
        for plain in ["plain näme 名 \"x\" \\ 👍", "a\tb", ""] {
            assert!(matches!(escaped(plain), Cow::Borrowed(same) if same == plain));
        }
        for (given, shown) in [
            ("a\r\nb\x1b[2J", "a\\r\\nb\\u{1b}[2J"),
            ("abc\u{202e}cba", "abc\\u{202e}cba"),
            ("\u{9b}31m\u{2028}", "\\u{9b}31m\\u{2028}"),
            ("ad\u{200b}min\u{feff}", "ad\\u{200b}min\\u{feff}"),
            ("a\tb\nc", "a\tb\\nc"),
        ] {
            assert_eq!(escaped(given), shown);
        }
    }

    #[test]
    fn texts_are_quoted_as_go_does() {
        assert_eq!(quoted("a\"b\\\u{1}\tü".as_bytes()), r#""a\"b\\\x01\tü""#);
        assert_eq!(quoted(b"a\xff'"), r#""a\xff'""#);
        assert_eq!(quoted("e\u{301}\u{378}".as_bytes()), "\"e\u{301}\\u0378\"");
        let marks = "\u{202e}\u{200b}\u{feff}\u{2028}\u{e0041}";
        let shown = r#""\u202e\u200b\ufeff\u2028\U000e0041""#;
        assert_eq!(quoted(marks.as_bytes()), shown);
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(plural(1, "client"), "1 client");
        assert_eq!(plural(0_u64, "client"), "0 clients");
        assert_eq!(plural("1000", "client"), "1000 clients");
        assert_eq!(plural(1.0, "client"), "1 client");
        assert_eq!(plural(1.5, "day"), "1.5 days");
        assert_eq!(plural(2, "address"), "2 addresses");
        assert_eq!(plural(2, "reply"), "2 replies");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aüb", 2), "a");
        assert_eq!(cut("aüb", 3), "aü");
        assert_eq!(cut("aüb", 9), "aüb");
    }

    #[test]
    fn no_part_of_a_login_is_shown() {
        for (given, shown) in [
            ("http://u:pa@ssword@host:8222", "http://…@host:8222"),
            ("u:pa@ss:word@[::1]:1", "…@[::1]:1"),
            ("nats://u:pa/s@word@host", "nats://…@host"),
            ("http://user:password", "http://user:…"),
            ("http://user:pass/word", "http://user:…"),
            ("[::1]:password", "[::1]:…"),
            ("[user:password", "[user:…"),
            ("user:password://", "user:…"),
            ("http://host:8222/a", "http://host:8222/a"),
            ("http://[fe80::a]/a", "http://[fe80::a]/a"),
            ("http://host", "http://host"),
            (":4222", ":4222"),
            ("", ""),
        ] {
            assert_eq!(without_login(given), shown, "{given}");
        }
    }

    proptest::proptest! {
        /// Whatever the password is, with a host or without one.
        #[test]
        fn passwords_are_not_shown(
            at in "[@:/?#\\[\\]%]{0,3}", odd in "[:/?#\\[\\]%]{0,3}", host in "host(:[0-9]{1,4})?(/a)?",
        ) {
            for url in [
                format!("http://user:{at}geheim{at}@{host}"),
                format!("http://user:{odd}geheim"),
            ] {
                let shown = without_login(&url);
                proptest::prop_assert!(!shown.contains("geheim"), "{}: {}", url, shown);
            }
        }
    }

    #[test]
    fn the_unsafe_ranges_are_in_order() {
        assert!(UNSAFE.iter().all(|(first, last)| first <= last));
        assert!(UNSAFE.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn every_mark_of_direction_and_format_character_is_known() {
        let ranges = [
            ('\u{202a}', '\u{202e}'),
            ('\u{2066}', '\u{2069}'),
            ('\u{200b}', '\u{200f}'),
            ('\u{2028}', '\u{2029}'),
            ('\u{2060}', '\u{2064}'),
            ('\u{e0001}', '\u{e007f}'),
        ];
        let single = [
            '\u{61c}', '\u{feff}', '\u{ad}', '\u{180e}', '\0', '\u{7f}', '\u{85}',
        ];
        let all = ranges.into_iter().flat_map(|(first, last)| first..=last);
        for character in all.chain(single) {
            assert!(is_unsafe(character), "{character:?}");
        }
    }
}
