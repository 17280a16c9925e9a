use super::*;
use crate::range::{Range, Unit};

fn threshold(text: &str, explicit: bool) -> Option<Threshold> {
    Some(Threshold {
        range: Range::parse(text, Unit::Count).ok()?,
        explicit,
    })
}

fn report_with(warning: Option<Threshold>, critical: Option<Threshold>) -> Report {
    Report::new(&[Planned {
        label: "x".into(),
        unit: Unit::Count,
        help: "",
        remedy: "look at it",
        warning,
        critical,
    }])
}

fn report(warning: &str, critical: &str, explicit: bool) -> Report {
    report_with(threshold(warning, explicit), threshold(critical, explicit))
}

#[test]
fn the_worse_threshold_decides_and_is_named() {
    let mut found = report("10", "20", true);
    found.state("x", 5.0, None, "five");
    found.state("x", 15.0, None, "15 of them");
    found.state("x", 25.0, None, "25 of them");
    assert_eq!(found.status(), Status::Critical);
    let texts: Vec<&str> = found.statements().iter().map(|s| &*s.text).collect();
    assert_eq!(
        texts,
        [
            "25 of them (critical 20)",
            "15 of them (warning 10)",
            "five"
        ]
    );
    let remedies: Vec<&str> = found.statements().iter().map(|s| &*s.remedy).collect();
    assert_eq!(remedies, ["look at it", "look at it", ""]);
}

/// A default in percent is passed over without a limit; one that the
/// operator wrote is not, but does not hide another threshold's alert.
#[test]
fn percent_without_a_limit() {
    let mut found = report("80%", "90%", false);
    found.state("x", 85.0, None, "85");
    assert_eq!(found.status(), Status::Ok);
    let mut found = report("80%", "90%", true);
    found.state("x", 85.0, None, "85");
    assert_eq!(found.status(), Status::Unknown);
    let mut found = report("10", "90%", true);
    found.state("x", 85.0, None, "85");
    assert_eq!(found.status(), Status::Warning);
}

/// The default of one threshold does not override the other one if the operator set it.
#[test]
fn a_default_beside_a_given_threshold() {
    for (given, default, value, status) in [
        ("2", "0.5", 0.7, Status::Ok),
        ("2", "0.5", 2.1, Status::Warning),
        ("0.1", "0.5", 0.7, Status::Critical),
        ("0.5", "0.5", 0.7, Status::Warning),
        // Too few, besides too many.
        ("10:", "100", 5.0, Status::Warning),
        ("10:", "100", 101.0, Status::Critical),
        // Known only with the limit, which is 100.
        ("95", "90%", 93.0, Status::Ok),
        ("95", "90%", 96.0, Status::Warning),
        ("80", "90%", 93.0, Status::Critical),
    ] {
        let mut found = report_with(threshold(given, true), threshold(default, false));
        let limit = Some(100.0).filter(|_| default.contains('%'));
        found.state("x", value, limit, "");
        assert_eq!(found.status(), status, "{given} {value}");
    }
    let mut found = report_with(threshold("1", false), threshold("0.5", true));
    found.state("x", 0.7, None, "");
    assert_eq!(found.status(), Status::Critical);
}

#[test]
fn no_answer_is_unknown_and_untrusted_text_is_made_harmless() {
    let mut found = report("", "", true);
    assert_eq!(found.status(), Status::Unknown);
    found.advise(Status::Ok, "a|b", "c|d");
    found.about("e|f");
    let statement = found.statements()[0];
    assert_eq!(
        (&*statement.text, &*statement.remedy, &*statement.lines[0]),
        ("a?b", "c?d", "e?f")
    );
}

#[test]
fn everything_is_bounded() {
    let mut found = report("", "", true);
    for _ in 0..ITEMS_MAX / 4 {
        found.say(Status::Ok, &"x".repeat(5000));
        found.about("x");
        found.about("x");
        found.detail(1, "x");
    }
    found.about("one too many");
    found.say(Status::Critical, "one too many");
    found.about("about that");
    found.detail(1, "one too many");
    assert_eq!(found.status(), Status::Critical);
    assert_eq!((found.left_out(), found.lines_left_out()), (1, 2));
    assert_eq!(found.statements().len(), ITEMS_MAX / 4);
    assert_eq!(found.details(1).count(), ITEMS_MAX / 4);
    for statement in found.statements() {
        assert_eq!(statement.text.chars().count(), TEXT_CHARS_MAX + 1);
        assert_eq!(statement.lines, ["x", "x"]);
    }
}
