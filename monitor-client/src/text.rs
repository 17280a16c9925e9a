//! Makes text from peers safe to display: the one place that defines which characters affect the
//! display.
//!
//! Names of clients, subjects and reasons come from peers. An escape sequence can redraw a
//! terminal, a line break can forge a log line, a direction mark can reverse a line, a character
//! without a width can hide in a name.

use std::borrow::Cow;

/// Whether a character affects the display instead of showing itself: control characters, direction
/// marks, line and paragraph separators, characters without a width and other invisible ones.
pub fn is_unsafe(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The text with every such character except the tab written as an escape, such as `\n` or
/// `\u{202e}`.
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
    fn all_direction_marks_and_format_characters_are_unsafe() {
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
