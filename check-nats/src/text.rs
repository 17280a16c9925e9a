//! Text for the output: untrusted text made harmless, numbers made readable.

pub use monitor_client::text::bytes;
use monitor_client::text::is_unsafe;

/// Most characters shown of untrusted text.
const QUOTE_CHARS_MAX: usize = 64;

/// `text` without what a scheduler, a terminal or a web page would take for
/// more than text: `|` begins perfdata, a line end begins another line, and
/// `<`, `>` and backticks reach HTML pages and shells. Each becomes a `?`.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if is_harmless(c) { c } else { '?' })
        .collect()
}

/// Untrusted text in double quotes, made harmless and shortened.
pub fn quoted(word: &str) -> String {
    let mut chars = word.chars();
    let mut shown: String = chars.by_ref().take(QUOTE_CHARS_MAX).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    format!("\"{}\"", harmless(&shown).replace('"', "'"))
}

/// A number as plain decimals, at most six after the point.
pub fn decimal(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

/// Seconds for people: `0.21 ms`, `1.5 s`, `61 s`, `2h 3m`, `4d 5h`.
pub fn duration(seconds: f64) -> String {
    match seconds {
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

/// `3 clients`, `1 client`.
pub fn plural(count: f64, noun: &str) -> String {
    let ending = if count == 1.0 { "" } else { "s" };
    format!("{} {noun}{ending}", decimal(count))
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
    !is_unsafe(c) && !matches!(c, '|' | '<' | '>' | '`')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn untrusted_text_is_made_harmless() {
        assert_eq!(
            harmless("a|b<c>d`e\nf\u{202e}g\u{1b}[1m"),
            "a?b?c?d?e?f?g?[1m"
        );
        assert_eq!(quoted("app \"7\""), "\"app '7'\"");
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
        assert_eq!(plural(1.0, "client"), "1 client");
        assert_eq!(plural(0.0, "client"), "0 clients");
        assert_eq!(decimal(100.0), "100");
        assert_eq!(decimal(-0.0), "0");
        assert_eq!(decimal(0.000_000_1), "0");
        assert_eq!(decimal(1e15), "1000000000000000");
    }

    proptest! {
        /// Whatever the number, it is written in the alphabet of perfdata.
        #[test]
        fn decimals_are_plain(value in -1e300_f64..1e300) {
            let text = decimal(value);
            prop_assert!(text.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-'));
            prop_assert!((text.parse::<f64>().unwrap() - value).abs() <= value.abs() * 1e-9 + 1e-6);
        }

        #[test]
        fn harmless_text_holds_no_harm(text in any::<String>()) {
            let text = harmless(&text);
            let harm = ['|', '<', '>', '`', '\n', '\r', '\0', '\u{1b}'];
            prop_assert!(!text.contains(harm));
        }
    }
}
