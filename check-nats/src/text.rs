//! Text for the output: untrusted text made harmless and short, numbers made readable.

pub use monitor_client::text::{bytes, plural};
use monitor_client::text::{cut, is_unsafe};

use super::number::Number;

/// Most characters shown of untrusted text.
const QUOTE_CHARS_MAX: usize = 64;

/// `text` without what a scheduler, a terminal or a web page would take for more than text: `|`
/// begins perfdata, a line end another line, and `<` and `>` a tag where a web page shows it as
/// it is. Each becomes a `?`. What a shell would understand is left: neither schedulers nor NRPE
/// give output to one, and Nagios itself takes it out of the macros for its commands
/// (`illegal_macro_output_chars`). The [report](super::report) does this to all that is put
/// into it, and nothing else needs to.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if is_harmless(c) { c } else { '?' })
        .collect()
}

/// Untrusted text in double quotes, shortened. It has none itself, so that its end can be seen.
pub fn quoted(word: &str) -> String {
    let shown = shortened(word, QUOTE_CHARS_MAX, usize::MAX);
    format!("\"{}\"", shown.replace('"', "'"))
}

/// A subject in double quotes. The wildcard `>` would look like an end of HTML or a
/// redirection, so a similar character stands for it.
pub fn quoted_subject(subject: &str) -> String {
    quoted(&subject.replace('>', "›"))
}

/// The text in at most so many characters and bytes, and a mark if some were cut off: the mark
/// has three bytes and is not counted.
pub fn shortened(text: &str, chars_max: usize, bytes_max: usize) -> String {
    let end = text.char_indices().nth(chars_max);
    let end = end.map_or(text.len(), |(end, _)| end);
    let shown = cut(&text[..end], bytes_max);
    match shown.len() == text.len() {
        true => text.to_owned(),
        false => format!("{shown}…"),
    }
}

/// The first ones of a list, and how many more there are: `A, B and 5 more`.
pub fn listed(names: &[String], shown: usize) -> String {
    listed_of(&names[..names.len().min(shown)], names.len())
}

/// The same of a list with so many names, of which only the first ones are known.
pub fn listed_of(first: &[String], all: usize) -> String {
    match all.saturating_sub(first.len()) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// A number as plain decimals, at most six after the point.
pub fn decimal(value: impl Into<Number>) -> String {
    value.into().to_string()
}

/// Seconds for people: `0.21 ms`, `1.5 s`, `61 s`, `2h 3m`, `4d 5h`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s <= -0.000_001 => format!("-{}", duration(-s)),
        s if s < 0.000_001 => "0 ms".to_owned(),
        s if s < 1.0 => format!("{} ms", significant(s * 1000.0)),
        s if s < 120.0 => format!("{} s", significant(s)),
        s if s < 7200.0 => format!("{:.0} min", (s / 60.0).floor()),
        s if s < 172_800.0 => format!(
            "{:.0}h {:.0}m",
            (s / 3600.0).floor(),
            (s % 3600.0 / 60.0).floor()
        ),
        s => format!(
            "{:.0}d {:.0}h",
            (s / 86400.0).floor(),
            (s % 86400.0 / 3600.0).floor()
        ),
    }
}

/// Two or three leading digits; whole numbers from 100 on.
pub fn significant(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn is_harmless(c: char) -> bool {
    !is_unsafe(c) && !matches!(c, '|' | '<' | '>')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn untrusted_text_is_made_harmless() {
        assert_eq!(
            harmless("a|b<c>d`e\nf\u{202e}g\u{1b}[1m"),
            "a?b?c?d`e?f?g?[1m"
        );
        assert_eq!(quoted("app \"7'"), "\"app '7'\"");
        assert_eq!(quoted(&"x".repeat(65)), format!("\"{}…\"", "x".repeat(64)));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(duration(0.000_21), "0.21 ms");
        assert_eq!(duration(0.0), "0 ms");
        assert_eq!(duration(61.0), "61 s");
        assert_eq!(duration(3600.0), "60 min");
        assert_eq!(duration(93_784.0), "26h 3m");
        assert_eq!(duration(200_000.0), "2d 7h");
        assert_eq!(duration(-61.0), "-61 s");
    }

    #[test]
    fn wildcards_stay_legible() {
        assert_eq!(quoted_subject("news.>"), "\"news.›\"");
    }

    #[test]
    fn lists_are_shortened() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(listed(&names, 3), "a, b, c");
        assert_eq!(listed(&names, 2), "a, b and 1 more");
        assert_eq!(listed(&[], 2), "");
        assert_eq!(shortened("äöü", 2, 9), "äö…");
        assert_eq!(shortened("äöü", 9, 3), "ä…");
        assert_eq!(shortened("äöü", 3, 6), "äöü");
    }

    proptest! {
        #[test]
        fn harmless_text_holds_no_harm(text in any::<String>()) {
            let text = harmless(&text);
            let harm = ['|', '<', '>', '\n', '\r', '\0', '\u{1b}'];
            prop_assert!(!text.contains(harm));
        }
    }
}
