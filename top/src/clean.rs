//! Makes what a broker answers harmless for a terminal, once, before anything
//! else sees it.
//!
//! Clients choose their names, and subjects and reasons hold what a stranger
//! wrote: an escape sequence in one could redraw the screen, set the clipboard
//! or type into the operator's shell; a mark of direction could reverse a line.

use monitor_client::text::is_unsafe;
use serde_json::Value;

/// Characters kept of one text; names may be as long as a control line.
const LENGTH_MAX: usize = 512;

/// The same answer, every text in it harmless.
pub(crate) fn answer(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(self::text(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(answer).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (text(&name), answer(value)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// A text with every character that could do more than stand there replaced by a
/// visible one, and not longer than a screen can show.
pub(crate) fn text(text: &str) -> String {
    if text.len() <= LENGTH_MAX && !text.chars().any(is_harmful) {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(LENGTH_MAX).map(visible).collect();
    if text.chars().nth(LENGTH_MAX).is_some() {
        kept.push('…');
    }
    kept
}

fn visible(character: char) -> char {
    match character {
        // The picture of a control character: ESC becomes ␛.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        character if is_harmful(character) => '\u{fffd}',
        character => character,
    }
}

/// What acts, and what only changes other characters or has no picture.
fn is_harmful(character: char) -> bool {
    is_unsafe(character)
        || matches!(character,
            '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}'
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_could_act_is_shown_in_place_of_acting() {
        for (given, shown) in [
            ("plain näme 名", "plain näme 名"),
            ("\x1b[2J\x1b]52;c;cm0K\x07", "␛[2J␛]52;c;cm0K␇"),
            ("a\r\nb\tc", "a␍␊b␉c"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("abc\u{202e}cba", "abc\u{fffd}cba"),
            ("z\u{300}\u{301}", "z\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(text(given), shown);
        }
        assert_eq!(text(&"x".repeat(1 << 20)).chars().count(), LENGTH_MAX + 1);
    }

    #[test]
    fn answers_are_cleaned_to_the_last_corner() {
        let given = json!({"a\x1b": ["\x1b", {"b": {"c": "\x07"}}], "n": 1, "t": true});
        let clean = answer(given);
        assert_eq!(
            clean,
            json!({"a␛": ["␛", {"b": {"c": "␇"}}], "n": 1, "t": true})
        );
    }
}
