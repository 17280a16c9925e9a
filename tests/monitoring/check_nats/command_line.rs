//! Arguments, help and the manual page.

use std::{fs, path::Path};

use check_nats::modes::MODES;

use super::plugin::{judge, run};
use test_support::{generated, tools::on_path};

/// A usage error is UNKNOWN, is named on the first line, and shows the correct usage in
/// few lines that fit on a terminal.
#[test]
fn usage_errors_give_unknown() {
    let mistakes: &[(&[&str], &str)] = &[
        (&["--nonsense"], "--nonsense"),
        (&["127.0.0.1"], "127.0.0.1"),
        (&["--mode", "nonsense"], "nonsense"),
        (&["--format", "xml"], "xml"),
        (&["-p", "0"], "0"),
        (&["-p", "65536"], "65536"),
        (&["-H", ""], "--hostname"),
        (&["-w"], "--warning"),
        (&["-w", ""], "is empty"),
        (
            &["-w", "10:5"],
            "range \"10:5\": the start is above the end",
        ),
        (&["-c", "1e3"], "--critical"),
        (&["-w", "5x"], "use one of us, ms, s"),
        (&["-t", "0"], "--timeout"),
        (&["-t", "-1"], "-1"),
        (&["-t", "10:maybe"], "maybe"),
        (&["-t", "999999999999999999999"], "--timeout"),
        (&["-u", "ftp://127.0.0.1"], "http://"),
        (&["-H", "a:1", "-p", "2"], "contradicts"),
        (&["-H", "fe80::1%"], "--hostname"),
        (&["-H", "http://a:8222"], "with -u"),
        (&["--cert", "/x"], "--key"),
        (&["--ssldir", "/x"], "--puppet"),
        (&["--user", "a"], "--password-file"),
        (&["--token-file", "/x", "--creds", "/x"], "only one of"),
        (&["--password", "canary"], "give --password-file FILE"),
        (&["--nkey=canary"], "give --nkey-file FILE"),
        (
            &["--monitor-token", "canary"],
            "give --monitor-token-file FILE",
        ),
        (&["-H", "nats://a:canary@b"], "leave them out"),
        (&["-u", "http://a:canary@b"], "remove them"),
        (&["--mode", "varz"], "--figure"),
        (&["--figure", "mem"], "--figure"),
        (&["--mode", "varz", "--figure", "a=b"], "--figure"),
        (&["--mode", "slow", "--sample", "10s"], "does not fit"),
        (
            &["--mode", "slow", "--rtt-warning", "1"],
            "does not apply to mode slow",
        ),
        (&["-w", "1", "--rtt-warning", "1"], "give only one of them"),
        (&["-w", "2s", "-c", "1s"], "were the two swapped?"),
        (
            &["--mode", "health", "--hold", "1m"],
            "--hold has no effect",
        ),
        (
            &["--mode", "traffic", "--hold", "1m"],
            "--hold has no effect",
        ),
        (
            &["--mode", "health", "--sample", "1s"],
            "--sample has no effect",
        ),
        (
            &["--mode", "slow", "--state", "../x"],
            "--state: a name has",
        ),
        (&["--file", "/etc/hosts"], "--file belongs to --mode config"),
        (&["--completions", "csh"], "csh"),
    ];
    for (arguments, words) in mistakes {
        let result = judge(arguments);
        result.expect(3, words);
        assert!(!result.output.contains("canary"), "{result:?}");
        let lines: Vec<&str> = result.output.lines().collect();
        assert!(lines.len() <= 23, "{result:?}");
        assert!(
            lines[1..].iter().all(|line| line.chars().count() <= 80),
            "{result:?}"
        );
        assert!(lines[1].starts_with("Usage: check_nats"), "{result:?}");
    }
}

/// Nothing that a scheduler shows of a mistake has a separator of performance data, and each format
/// keeps its form.
#[test]
fn a_mistake_is_told_in_the_format_that_was_asked_for() {
    let mistakes: [&[&str]; 6] = [
        &["--nonsense"],
        &["--mode", "varz", "--figure", "a|b"],
        &["--mode", "varz", "--figure", "a=b"],
        &["-w", "5|x"],
        &["--hold", "1m"],
        &["--password", "x"],
    ];
    for mistake in mistakes {
        for format in [&["--format", "json"][..], &["--format=json"]] {
            let (code, output) = run(&[mistake, format].concat());
            assert_eq!(code, 3, "{output}");
            let answer: serde_json::Value = serde_json::from_str(&output).expect("JSON");
            assert_eq!(answer["status"], "UNKNOWN");
            let text = answer["unknown"][0].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{output}");
        }
        let (code, output) = run(&[mistake, &["--format", "openmetrics"]].concat());
        assert_eq!(code, 3, "{output}");
        assert!(output.ends_with("} 3\n# EOF\n"), "{output}");
        for format in [&[][..], &["--format", "text"], &["--format"]] {
            let (code, output) = run(&[mistake, format].concat());
            assert_eq!(code, 3, "{output}");
            assert!(output.starts_with("NATS UNKNOWN: "), "{output}");
            assert!(!output.contains('|'), "{output}");
        }
    }
    for asked in ["--help", "--version"] {
        assert!(!run(&[asked]).1.contains('|'), "{asked}");
    }
}

/// A monitoring port that takes connections of its own host alone is no reason to look for a dead
/// broker: what to do is said.
#[test]
fn a_monitoring_port_that_is_not_reachable_is_explained() {
    let port = test_support::free_address().port();
    // It leads to this host, but does not name it as the loopback address does.
    let elsewhere = format!("http://0.0.0.0:{port}");
    let result = judge(&["--mode", "connections", "-u", &elsewhere]);
    result
        .expect(2, "connection refused")
        .tell("\n  do: ")
        .tell("set http: in its configuration")
        .tell("--mode connect");
    let here = format!("http://127.0.0.1:{port}");
    let result = judge(&["--mode", "connections", "-u", &here]);
    result.expect(2, "connection refused");
    assert!(!result.output.contains("  do: "), "{result:?}");
}

/// An argument may be untrusted text too, when it comes from a macro.
#[test]
fn arguments_are_escaped_in_output() {
    judge(&["--mode", "a|b<c>`d`\n"]).expect(3, "a?b?c?`d`");
}

#[test]
fn help_and_version_exit_with_unknown() {
    for arguments in [&["--help"][..], &["-h"], &["-H", "x", "-h"]] {
        let (code, output) = run(arguments);
        assert_eq!(code, 3);
        for mode in MODES {
            assert!(output.contains(&format!("\n  {} ", mode.name)), "{output}");
        }
    }
    for arguments in [&["--version"][..], &["-V"]] {
        let (code, output) = run(arguments);
        assert_eq!(code, 3);
        let version = format!("check_nats {}", env!("CARGO_PKG_VERSION"));
        assert!(output.starts_with(&version), "{output}");
    }
}

/// The installed page equals the generated one.
#[test]
fn the_manual_page_is_up_to_date() {
    let (code, made) = run(&["--man"]);
    assert_eq!(code, 3);
    generated::assert_up_to_date("conf/man/check_nats.1", &made);
    for mode in MODES {
        assert!(
            made.contains(&format!("\n.B {}\n", mode.name)),
            "{}",
            mode.name
        );
        for figure in mode.metrics {
            assert!(
                made.contains(&format!("\n{}: ", figure.label)),
                "{}",
                figure.label
            );
        }
    }
}

/// roff reports no problem of any page, other than a line that is long by nature.
#[test]
fn the_manual_pages_are_valid_roff() {
    assert!(
        on_path("groff").is_some(),
        "this test needs groff: `apt-get install groff-base`"
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/man");
    let pages = fs::read_dir(folder).expect("the manual pages");
    let pages: Vec<_> = pages.map(|page| page.expect("a page").path()).collect();
    assert!(pages.len() >= 5, "{pages:?}");
    let checked = std::process::Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-Wbreak", "-z"])
        .args(pages)
        .output()
        .expect("run groff");
    let complaints = String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}
