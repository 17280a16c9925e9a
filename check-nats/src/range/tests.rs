//! Ranges alert as written, in perfdata too, and any text is a range or a refusal.

use proptest::prelude::*;

use super::*;

fn count(written: &str) -> Limits {
    Range::parse(written, Unit::Count)
        .unwrap()
        .limits(None)
        .unwrap()
}

/// Each range with the values that alert and those that do not.
#[test]
fn ranges_alert_as_written() {
    let cases: &[(&str, &[f64], &[f64])] = &[
        ("10", &[-0.1, 10.1], &[0.0, 5.0, 10.0]),
        ("10:", &[9.9, -1.0], &[10.0, 1e9]),
        ("~:10", &[10.1], &[-1e9, 10.0]),
        ("10:20", &[9.9, 20.1], &[10.0, 20.0]),
        ("@10:20", &[10.0, 15.0, 20.0], &[9.9, 20.1]),
        ("0", &[-1.0, 0.1], &[0.0]),
        ("0:0", &[-1.0, 0.1], &[0.0]),
        ("@0", &[0.0], &[-0.1, 0.1]),
        (":10", &[-0.1, 10.1], &[0.0, 10.0]),
        ("~:", &[], &[-1e300, 0.0, 1e300]),
        ("@~:", &[-1e300, 0.0, 1e300], &[]),
        ("@~:0", &[-5.0, 0.0], &[0.1]),
        ("-5:-1", &[-5.1, 0.0], &[-5.0, -1.0]),
        ("-5:", &[-5.1], &[-5.0, 0.0]),
        ("0.5:1.5", &[0.49, 1.51], &[0.5, 1.5]),
        (".5", &[0.51], &[0.5]),
        ("5:5", &[4.9, 5.1], &[5.0]),
    ];
    for (written, alerting, quiet) in cases {
        let limits = count(written);
        for value in *alerting {
            assert!(limits.alerts(*value), "{value} must alert at {written}");
        }
        for value in *quiet {
            assert!(
                !limits.alerts(*value),
                "{value} must not alert at {written}"
            );
        }
    }
}

#[test]
fn what_is_no_range_is_refused() {
    let wrong = [
        "",
        "@",
        ":",
        "@:",
        "10:5",
        "-1",
        "1e3",
        "NaN",
        "inf",
        "0x10",
        " 10",
        "10 ",
        "1 0",
        "10:20:30",
        "5:~",
        "~",
        "~10",
        "~5:10",
        "+5",
        "1,5",
        "-",
        ".",
        "--1",
        "1.2.3",
        "10@",
        "@@10",
        "10:NaN",
        "10s",
        "50%:60",
        "٣",
        "10:\u{a0}",
    ];
    for written in wrong {
        let error = Range::parse(written, Unit::Count).expect_err(written);
        assert!(
            error
                .to_string()
                .starts_with(&format!("range \"{written}\": ")),
            "{error}"
        );
    }
    let huge = "9".repeat(400);
    assert!(Range::parse(&huge, Unit::Count).is_err());
}

#[test]
fn suffixes_belong_to_the_unit() {
    let perfdata = |written, unit| Range::parse(written, unit).unwrap().perfdata(None).unwrap();
    assert_eq!(perfdata("500ms", Unit::Seconds), "0.5");
    assert_eq!(perfdata("200us:1m", Unit::Seconds), "0.0002:60");
    assert_eq!(perfdata("10m:", Unit::Seconds), "600:");
    assert_eq!(perfdata("@1h:2d", Unit::Seconds), "@3600:172800");
    assert_eq!(perfdata("64MiB", Unit::Bytes), "67108864");
    assert_eq!(perfdata("1KB:2KiB", Unit::BytesPerSecond), "1000:2048");
    assert_eq!(perfdata("80%", Unit::Percent), "80");
    assert!(Range::parse("5mb", Unit::Bytes).is_err());
    assert!(Range::parse("5m", Unit::Count).is_err());
    assert_eq!(parse_quantity("5s", Unit::Seconds), Ok(5.0));
    assert!(parse_quantity("5%", Unit::Seconds).is_err());
}

#[test]
fn percent_needs_a_limit() {
    let range = Range::parse("80%", Unit::Count).unwrap();
    assert_eq!(range.limits(None), None);
    assert_eq!(range.perfdata(None), None);
    assert_eq!(range.perfdata(Some(1000.0)).as_deref(), Some("800"));
    let limits = range.limits(Some(1000.0)).unwrap();
    assert!(!limits.alerts(800.0));
    assert!(limits.alerts(801.0));
    let both = Range::parse("@10%:20%", Unit::Bytes).unwrap();
    assert_eq!(both.perfdata(Some(50.0)).as_deref(), Some("@5:10"));
    assert_eq!(both.to_string(), "@10%:20%");
}

#[test]
fn one_range_may_alert_only_where_another_does() {
    for (narrow, wide) in [
        ("2", "0.5"),
        ("~:2", "0.5"),
        ("10:", "20:"),
        ("@10:20", "@5:30"),
        ("@11:20", "10"),
        ("10", "@~:"),
        ("~:", "10"),
        ("10", "10"),
    ] {
        assert!(
            count(narrow).alerts_only_with(count(wide)),
            "{narrow} {wide}"
        );
    }
    for (one, other) in [
        ("0.5", "2"),
        ("10:", "100"),
        ("@10:20", "@15:30"),
        ("@10:20", "10"),
        ("10", "@10:20"),
        ("@~:", "10"),
    ] {
        assert!(!count(one).alerts_only_with(count(other)), "{one} {other}");
    }
    let is_relative = |written| Range::parse(written, Unit::Count).unwrap().is_relative();
    assert!(is_relative("80%") && is_relative("@0:5%") && is_relative("10%:"));
    assert!(!is_relative("80") && !is_relative("~:80"));
}

#[test]
fn perfdata_repeats_what_was_plain() {
    for written in [
        "10", "10.50", "~:10", "@10:20", "10:", "0:0", "@~:", "-5:-1",
    ] {
        let range = Range::parse(written, Unit::Count).unwrap();
        assert_eq!(range.perfdata(None).as_deref(), Some(written));
    }
    // The grammar of perfdata knows no empty start.
    let range = Range::parse(":10", Unit::Count).unwrap();
    assert_eq!(range.perfdata(None).as_deref(), Some("0:10"));
}

proptest! {
    /// Against the rules written down naively: whole numbers, one case each.
    #[test]
    fn agrees_with_a_naive_model(
        inside: bool,
        start in prop_oneof![Just(None), Just(Some(i32::MIN)), (-50..50).prop_map(Some)],
        end in prop_oneof![Just(None), (-50..50_i32).prop_map(Some)],
        value in -60..60_i32,
    ) {
        let start_text = match start {
            None => String::new(),
            Some(i32::MIN) => "~:".to_owned(),
            Some(start) => format!("{start}:"),
        };
        let end_text = end.map_or(String::new(), |end: i32| end.to_string());
        let at = if inside { "@" } else { "" };
        let written = format!("{at}{start_text}{end_text}");
        let low = start.unwrap_or(0);
        let high = end.unwrap_or(i32::MAX);
        let parsed = Range::parse(&written, Unit::Count);
        let valid = low <= high && (start.is_some() || end.is_some());
        prop_assert_eq!(parsed.is_ok(), valid, "{}", written);
        if let Ok(range) = parsed {
            let alerts = range.limits(None).unwrap().alerts(f64::from(value));
            let outside = value < low || value > high;
            prop_assert_eq!(alerts, outside != inside, "{} at {}", written, value);
            prop_assert_eq!(range.perfdata(None).unwrap(), written);
        }
    }

    /// What the comparison of two ranges says holds for every value.
    #[test]
    fn comparisons_hold_for_all_values(
        one in "@?(~:|-?[0-9]:)?-?[0-9]|@?-?[0-9]:",
        other in "@?(~:|-?[0-9]:)?-?[0-9]|@?-?[0-9]:",
    ) {
        let parse = |written: &str| Range::parse(written, Unit::Count).ok()?.limits(None);
        if let (Some(one), Some(other)) = (parse(&one), parse(&other)) {
            let values = (-200..=200).map(|value| f64::from(value) / 10.0);
            let alerts_with = |value| !one.alerts(value) || other.alerts(value);
            prop_assert_eq!(one.alerts_only_with(other), values.clone().all(alerts_with));
        }
    }

    /// Any text is a range or a refusal, and a range's perfdata is one again.
    #[test]
    fn any_text_is_answered(text in "[@~:0-9.%eEmsKiB+ -]{0,12}|\\PC{0,12}") {
        if let Ok(range) = Range::parse(&text, Unit::Seconds)
            && let Some(perfdata) = range.perfdata(Some(7.0))
        {
            prop_assert!(Range::parse(&perfdata, Unit::Seconds).is_ok(), "{} {}", text, perfdata);
        }
    }
}
