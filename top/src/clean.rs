//! Replaces characters that affect a terminal in all answers of the broker, before anything else
//! uses them.
//!
//! Clients choose their names, and subjects and reasons contain text from peers: an escape sequence
//! could redraw the screen, set the clipboard or type into the operator's shell; a direction mark
//! could reverse a line.

use monitor_client::text::is_unsafe;
use serde_json::Value;

/// Limit of a text in characters; names may be as long as a control line.
const LENGTH_MAX: usize = 512;

/// The answer with all its texts cleaned.
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

/// Replaces unsafe characters by visible ones and limits the length.
pub(crate) fn text(text: &str) -> String {
    if text.len() <= LENGTH_MAX && !text.chars().any(is_replaced) {
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
        // The symbol of a control character: ESC becomes ␛.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        character if is_replaced(character) => '\u{fffd}',
        character => character,
    }
}

/// Characters that affect the display, modify other characters or have no glyph.
fn is_replaced(character: char) -> bool {
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
    fn control_characters_are_shown_as_symbols() {
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
    fn answers_are_cleaned_completely() {
        let given = json!({"a\x1b": ["\x1b", {"b": {"c": "\x07"}}], "n": 1, "t": true});
        let clean = answer(given);
        assert_eq!(
            clean,
            json!({"a␛": ["␛", {"b": {"c": "␇"}}], "n": 1, "t": true})
        );
    }
}
