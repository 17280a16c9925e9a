//! Durations in the configuration, and the errors for invalid ones.

use std::time::Duration;

use monitor_client::text::{NotADuration, go_duration};

/// Reads a duration that is not negative. The error says what is wrong with it.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    go_duration(text).map_err(|why| match why {
        NotADuration::Malformed => {
            format!("{text:?} is not a duration; write it like \"90s\", \"2m\" or \"1h30m\"")
        }
        NotADuration::Negative => format!("the duration {text:?} must not be negative"),
        NotADuration::TooLong => format!("the duration {text:?} is too long"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        for (text, why) in [
            ("5", "is not a duration"),
            ("-5s", "negative"),
            ("9999999h", "too long"),
        ] {
            let said = parse_duration(text).unwrap_err();
            assert!(said.contains(why) && said.contains(text), "{said}");
        }
    }
}
