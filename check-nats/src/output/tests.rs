//! Whatever a broker sends, each format keeps its rules.

use proptest::prelude::*;

use super::{
    draw,
    nagios::{LINE_BYTES_MAX, LINE_CHARS_MAX, OUTPUT_BYTES_MAX},
};
use crate::{
    args::{self, Asked},
    metric::{Planned, Threshold},
    modes::MODES,
    options::{Format, Options},
    range::{Range, Unit},
    report::Report,
    status::Status,
};

fn options(format: Format, verbosity: u8) -> Options {
    let Asked::Check(matches) = args::read(["check_nats"].map(Into::into), "") else {
        panic!("no arguments are a check");
    };
    let mut options = Options::new(&matches).unwrap();
    options.format = format;
    options.verbosity = verbosity;
    options
}

/// What a mode may have put into a report.
#[derive(Clone, Debug)]
struct Said {
    status: Status,
    text: String,
    lines: Vec<String>,
    remedy: String,
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[|'\"<>`\\\\\n\r;=% äß名a-z]{0,40}",
        "[a-z ]{0,600}",
        "[\u{1F600}-\u{1F610}]{200,300}",
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let lines = prop::collection::vec(hostile(), 0..4);
    let status = prop::sample::select(&Status::ALL[..]);
    (status, hostile(), lines, hostile()).prop_map(|(status, text, lines, remedy)| Said {
        status,
        text,
        lines,
        remedy,
    })
}

fn report() -> impl Strategy<Value = Report> {
    let said = prop::collection::vec(said(), 0..20);
    let value = prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(1e300),
        -1e12_f64..1e12
    ];
    let label = prop_oneof!["[a-z_]{1,19}", hostile()];
    (said, label, value, any::<i64>()).prop_map(|(said, label, real, whole)| {
        let range = |written: &str| {
            Some(Threshold {
                range: Range::parse(written, Unit::Count).ok()?,
                explicit: true,
            })
        };
        let planned = |label: &str, unit| Planned {
            label: label.to_owned(),
            unit,
            help: "a value of the \\ test",
            remedy: "",
            warning: range("@5:10%"),
            critical: range("~:7"),
        };
        let mut report = Report::new(&[
            planned(&label, Unit::Seconds),
            planned("the_second", Unit::Counter),
        ]);
        for one in said {
            report.advise(one.status, &one.text, &one.remedy);
            for line in one.lines {
                report.about(&line);
                report.detail(1, &line);
            }
        }
        report.watch(&label, real, Some(70.0), &label);
        report.total("the_second", Some(whole));
        report
    })
}

/// Performance data by the grammar of the plugin contract.
fn assert_perfdata(perfdata: &str) {
    for metric in perfdata.split(' ') {
        let (label, fields) = metric.split_once('=').expect("a label");
        assert!(
            label
                .chars()
                .all(|c| c.is_ascii_graphic() && !"'\"|;=".contains(c)),
            "{label}"
        );
        let fields: Vec<&str> = fields.split(';').collect();
        assert!((1..=5).contains(&fields.len()), "{metric}");
        let number = fields[0].trim_end_matches(['s', 'c', 'B', '%']);
        assert!(number == "U" || number.parse::<f64>().is_ok(), "{metric}");
        for range in &fields[1..] {
            let allowed = |c: char| "0123456789.-~:@".contains(c);
            assert!(range.chars().all(allowed), "{metric}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nagios_reads_every_report(report in report(), verbosity in 0..4_u8) {
        let output = draw(&report, &options(Format::Nagios, verbosity));
        let first = output.lines().next().unwrap();
        let (text, perfdata) = first.split_once(" | ").unwrap();
        prop_assert!(!text.is_empty() && text.chars().count() <= LINE_CHARS_MAX, "{}", text);
        let start = format!("NATS {}:", report.status());
        prop_assert!(text.starts_with(&start), "{}", text);
        assert_perfdata(perfdata);
        prop_assert_eq!(perfdata.split(' ').count(), 2);
        // Only a label of the operator could be longer.
        if perfdata.len() < LINE_BYTES_MAX / 2 {
            prop_assert!(first.len() <= LINE_BYTES_MAX, "{}", first.len());
            let (short, long) = OUTPUT_BYTES_MAX;
            let bytes_max = if verbosity == 0 { short } else { long };
            prop_assert!(output.len() <= bytes_max, "{}", output.len());
        }
        prop_assert!(output.ends_with('\n'));
        // One separator, which begins the performance data of the first line.
        prop_assert_eq!(output.matches('|').count(), 1);
        let harm = ['<', '>', '\r', '\u{1b}'];
        prop_assert!(!output.contains(harm), "{}", output);
    }

    #[test]
    fn the_other_formats_read_every_report(report in report(), verbosity in 0..4_u8) {
        let json = draw(&report, &options(Format::Json, verbosity));
        let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(answer["status"].as_str(), Some(report.status().word()));
        let statements = answer["statements"].as_array().unwrap();
        prop_assert_eq!(statements.len(), report.statements().len());
        prop_assert_eq!(answer["perf_data"][1]["value"].as_i64(), match &report.metrics()[1].value {
            Some(value) => value.to_string().parse().ok(),
            None => None,
        });
        let metrics = draw(&report, &options(Format::OpenMetrics, verbosity));
        prop_assert!(metrics.ends_with("\n# EOF\n"));
        for line in metrics.lines() {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
            let name = name.split(['{', ' ']).next().unwrap();
            prop_assert!(line == "# EOF" || name.chars().all(fits), "{}", line);
        }
        let text = draw(&report, &options(Format::Text, verbosity));
        let statements = report.statements().len();
        prop_assert!(text.lines().count() > statements);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Several brokers, whatever they are called and say.
    #[test]
    fn each_format_reads_several_brokers(
        whole in report(),
        brokers in prop::collection::vec((hostile(), report()), 1..4),
        verbosity in 0..4_u8,
    ) {
        let mut whole = whole;
        let count = brokers.len();
        for (name, broker) in brokers {
            whole.add_broker(&name, broker);
        }
        let output = draw(&whole, &options(Format::Nagios, verbosity));
        let first = output.lines().next().unwrap();
        let (text, perfdata) = first.split_once(" | ").unwrap();
        prop_assert!(text.chars().count() <= LINE_CHARS_MAX, "{}", text);
        assert_perfdata(perfdata);
        prop_assert_eq!(perfdata.split(' ').count(), 2 * (count + 1));
        prop_assert_eq!(perfdata.matches("::the_second=").count(), count);
        prop_assert_eq!(output.matches('|').count(), 1);
        prop_assert!(!output.contains(['<', '>', '\r', '\u{1b}']), "{}", output);
        let json = draw(&whole, &options(Format::Json, verbosity));
        let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(answer["brokers"].as_array().unwrap().len(), count);
        let metrics = draw(&whole, &options(Format::OpenMetrics, verbosity));
        prop_assert!(metrics.ends_with("\n# EOF\n"));
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            prop_assert!(line.starts_with("nats_server_check_"), "{}", line);
        }
        let text = draw(&whole, &options(Format::Text, verbosity));
        prop_assert!(text.lines().count() > count);
    }
}

/// All modes' performance data leave room for the text, with the largest values.
#[test]
fn the_first_line_of_each_mode_fits_into_the_smallest_transport() {
    for mode in MODES {
        let planned: Vec<Planned> = mode
            .metrics
            .iter()
            .map(|metric| Planned {
                label: metric.label.into(),
                unit: metric.unit,
                help: metric.help,
                remedy: metric.remedy,
                warning: None,
                critical: None,
            })
            .collect();
        let mut report = Report::new(&planned);
        for metric in mode.metrics {
            report.total(metric.label, Some(123_456_789_012_345_u64));
        }
        report.say(Status::Critical, &"name ".repeat(100));
        let output = draw(&report, &options(Format::Nagios, 0));
        let first = output.lines().next().unwrap();
        assert!(first.len() <= LINE_BYTES_MAX, "{}: {first}", mode.name);
        let (text, _) = first.split_once(" | ").unwrap();
        assert_eq!(
            text.chars().count(),
            LINE_CHARS_MAX,
            "{}: {first}",
            mode.name
        );
    }
}

#[test]
fn the_worst_comes_first_and_the_rest_is_counted() {
    let mut report = Report::default();
    report.say(Status::Ok, "12 connections");
    for number in 0..256 {
        report.advise(
            Status::Warning,
            &format!("client number {number} was cut off"),
            "look at it",
        );
        report.about("it read too slowly");
    }
    report.say(Status::Critical, "the broker is in trouble");
    let output = draw(&report, &options(Format::Nagios, 0));
    let first = output.lines().next().unwrap();
    assert!(
        first.starts_with("NATS CRITICAL: the broker is in trouble, client number 0 was cut off, "),
        "{first}"
    );
    assert!(first.ends_with(" more"), "{first}");
    assert!(output.len() <= OUTPUT_BYTES_MAX.0);
    assert!(output.contains(
        "\nWARNING: client number 0 was cut off\n  it read too slowly\n  do: look at it\n"
    ));
    let last = output.lines().last().unwrap();
    let (more, words) = last.split_once(' ').unwrap();
    assert_eq!(words, "more lines; --format text has more of them");
    // The first line has none of its own; each of the others has three; an OK one is cut off.
    let lines: usize = more.parse().unwrap();
    assert_eq!(output.lines().count() - 2 + lines, 3 * 256 + 1);
    let text = draw(&report, &options(Format::Text, 0));
    assert_eq!(text.matches("was cut off").count(), 256);
}

#[test]
fn a_statement_that_is_too_long_is_cut_and_repeated_whole() {
    let mut report = Report::default();
    report.say(Status::Warning, &"long ".repeat(60));
    report.say(Status::Ok, "fine");
    let output = draw(&report, &options(Format::Nagios, 0));
    let mut lines = output.lines();
    let first = lines.next().unwrap();
    assert!(first.ends_with("…, 1 more"), "{first}");
    assert_eq!(first.chars().count(), LINE_CHARS_MAX);
    assert_eq!(lines.next().unwrap().matches("long").count(), 60);
    assert_eq!(lines.next(), Some("OK: fine"));
    assert_eq!(lines.next(), None);
}
