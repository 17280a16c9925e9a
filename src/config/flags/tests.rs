//! The command line, as it is typed.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

use tempfile::NamedTempFile;

use super::*;
use crate::{
    config::HttpPort,
    security::{secret::Secret, users::SoleLogin},
};

fn parsed(args: &[&str]) -> Result<Parsed, UsageError> {
    parse(["/usr/bin/midge"].iter().chain(args).map(Into::into))
}

#[track_caller]
fn options(args: &[&str]) -> Options {
    match parsed(args).map(|parsed| parsed.invocation) {
        Ok(Invocation::Run(options)) => *options,
        other => panic!("{args:?}: {other:?}"),
    }
}

#[track_caller]
fn error(args: &[&str]) -> String {
    let error = parsed(args).map(|_| ()).expect_err("it is refused");
    assert_eq!(error.exit_code(), 1);
    error.to_string()
}

fn file(text: &str) -> (NamedTempFile, String) {
    let file = NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), text).expect("it can be written");
    let path = file.path().display().to_string();
    (file, path)
}

#[test]
fn without_arguments_the_defaults_are_run() {
    assert_eq!(options(&[]), Options::default());
    assert_eq!(options(&["--"]), Options::default());
}

#[test]
fn values_follow_or_are_joined_with_one_or_two_dashes() {
    for args in [
        &["-p", "5"][..],
        &["-p=5"],
        &["--p", "5"],
        &["--port=5"],
        &["-port", "5"],
    ] {
        assert_eq!(options(args).port, 5, "{args:?}");
    }
    assert_eq!(options(&["-p", "-1"]).port, 0);
    assert_eq!(options(&["-p", "5", "-p", "6"]).port, 6);
}

#[test]
fn booleans_stand_alone_or_are_joined() {
    assert!(options(&["-D"]).debug);
    assert!(!options(&["-D=false"]).debug);
    assert!(!options(&["-T=false"]).logtime);
    assert!(options(&["-T"]).logtime);
    assert!(error(&["-D=maybe"]).contains("-D must be true or false, not \"maybe\""));
    assert!(error(&["-D", "false"]).contains("unrecognized command: \"false\""));
}

#[test]
fn every_flag_sets_its_option() {
    type Same = fn(&Options) -> bool;
    let cases: &[(&[&str], Same)] = &[
        (&["-a", "h"], |o| o.host == "h" && !o.host_is_safe_default),
        (&["--addr", "h"], |o| o.host == "h"),
        (&["--net", "h"], |o| o.host == "h"),
        (&["-n", "x"], |o| o.server_name.as_deref() == Some("x")),
        (&["--name", "x"], |o| o.server_name.as_deref() == Some("x")),
        (&["--server_name", "x"], |o| {
            o.server_name.as_deref() == Some("x")
        }),
        (&["--client_advertise", "h:5"], |o| {
            o.client_advertise.as_deref() == Some("h:5")
        }),
        (&["-m", "5"], |o| o.http_listen() == Some(("127.0.0.1", 5))),
        (&["--http_port", "-1"], |o| {
            o.http_port == HttpPort::Listen(0)
        }),
        (&["-m", "0"], |o| o.http_port == HttpPort::Off),
        (&["-P", "f"], |o| o.pid_file == Some("f".into())),
        (&["--pid", "f"], |o| o.pid_file == Some("f".into())),
        (&["--ports_file_dir", "d"], |o| {
            o.ports_file_dir == Some("d".into())
        }),
        (&["-l", "f"], |o| o.log_file == Some("f".into())),
        (&["--log", "f"], |o| o.log_file == Some("f".into())),
        (&["--log_size_limit", "5"], |o| o.log_size_limit == 5),
        (&["--logtime=false"], |o| !o.logtime),
        (&["--logtime_utc"], |o| o.logtime_utc),
        (&["--max_traced_msg_len", "5"], |o| {
            o.max_traced_msg_len == 5
        }),
        (&["--debug"], |o| o.debug && !o.trace),
        (&["-V"], |o| o.trace && !o.trace_verbose && !o.debug),
        (&["--trace"], |o| o.trace && !o.trace_verbose),
        (&["-VV"], |o| o.trace && o.trace_verbose && !o.debug),
        (&["-DV"], |o| o.debug && o.trace && !o.trace_verbose),
        (&["-DVV"], |o| o.debug && o.trace && o.trace_verbose),
    ];
    for (args, same) in cases {
        assert!(same(&options(args)), "{args:?}");
    }
}

#[test]
fn a_login_is_laid_over_that_of_the_file() {
    let secret = |text: &str| Secret::new(text).expect("plain");
    let user = |name: &str, password: &str| SoleLogin::User {
        name: name.into(),
        password: secret(password),
    };
    let sole = |args: &[&str]| options(args).authorization.sole;
    assert_eq!(sole(&["--user", "u", "--pass", "p"]), Some(user("u", "p")));
    assert_eq!(sole(&["--user=u"]), Some(user("u", "")));
    assert_eq!(sole(&["--auth", "t"]), Some(SoleLogin::Token(secret("t"))));
    assert_eq!(sole(&["--user", ""]), None);
    let (_file, path) = file("authorization { user: u, password: p }");
    assert_eq!(sole(&["-c", &path, "--pass", "q"]), Some(user("u", "q")));
    assert_eq!(sole(&["-c", &path, "--user", "v"]), Some(user("v", "p")));
    let (_file, users) = file("authorization { users: [ { user: u } ] }");
    for (args, expected) in [
        (&["--pass", "hidden"][..], "--pass needs --user"),
        (&["--auth", "hidden", "--user", "u"], "--auth is a token"),
        (&["--auth", "$2a$11$hidden"], "begins like a bcrypt hash"),
        (
            &["-c", &users, "--auth", "hidden"],
            "have no effect: the configuration file",
        ),
    ] {
        let text = error(args);
        assert!(text.contains(expected), "{args:?}: {text}");
        assert!(!text.contains("hidden"), "{text}");
    }
}

#[test]
fn flags_override_the_file_wherever_they_stand() {
    let (_file, path) = file("host: h, port: 5, http: \"0.0.0.0:6\", debug: true");
    for args in [
        &["-p", "7", "-m", "8", "-D=false", "-c", &path][..],
        &["--config", &path, "-D=0", "-p=7", "-m=8"],
    ] {
        let options = options(args);
        assert_eq!(
            (&*options.host, options.port, options.debug),
            ("h", 7, false)
        );
        assert_eq!(options.http_listen(), Some(("0.0.0.0", 8)));
        assert_eq!(options.config_file, Some(path.clone().into()));
    }
}

#[test]
fn warnings_of_file_and_flags_are_handed_on() {
    let (_file, path) = file("ping_interval: 5");
    let parsed = parsed(&["-js", "--store_dir", "d", "-c", &path]).expect("it is valid");
    let warnings: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!(
        warnings[0],
        "the flag -js has no effect: streams are not served"
    );
    assert_eq!(
        warnings[1],
        "the flag --store_dir has no effect: streams are not served"
    );
    assert!(
        warnings[2].starts_with(&format!("{path}:1:1: ")),
        "{warnings:?}"
    );
}

#[test]
fn what_cannot_be_followed_is_an_error() {
    for (args, expected) in [
        (
            &["-x"][..],
            "midge: unknown flag -x; --help lists the flags",
        ),
        (
            &["--passphrase=secret"],
            "midge: unknown flag --passphrase; --help lists the flags",
        ),
        (&["-p"], "midge: the flag -p needs a value"),
        (&["-p", "x"], "midge: the flag -p needs a number, not \"x\""),
        (
            &["-p", "65536"],
            "midge: flag -p: \"port\" must be from -1 to 65535, not 65536",
        ),
        (
            &["-n", "a b"],
            "midge: flag -n: a server's name must not contain blanks or control characters",
        ),
        (&["foo"], "midge: unrecognized command: \"foo\""),
        (&["-"], "midge: unrecognized command: \"-\""),
        (
            &["---p", "5"],
            "midge: unknown flag ---p; --help lists the flags",
        ),
        (
            &["-sl", "bogus"],
            "midge: unknown signal \"bogus\"; known are ldm, quit, reload, reopen, stop, term, upgrade",
        ),
        (
            &["-t"],
            "midge: must specify [-c, --config] option to check configuration file syntax",
        ),
    ] {
        assert_eq!(error(args), expected);
    }
}

#[test]
fn arguments_must_be_text() {
    let argument = OsStr::from_bytes(b"\xff").to_owned();
    let error = parse(["midge".into(), argument])
        .map(|_| ())
        .expect_err("not text");
    assert!(error.to_string().contains("is not UTF-8 text"));
}

#[test]
fn errors_of_the_file_stand_one_on_a_line() {
    let (_file, path) = file("foo: 1\nport: a");
    let expected =
        format!("midge: {path}:1:1: unknown key \"foo\"\nmidge: {path}:2:1: \"port\" must");
    let error = error(&["-c", &path]);
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_valid_file_is_tested_with_its_digest() {
    let (_file, path) = file("port: 5");
    let Ok(Invocation::TestConfig(text)) = parsed(&["-t", "-c", &path]).map(|p| p.invocation)
    else {
        panic!("a test is asked for");
    };
    let digest = "sha256:31e700d8099c9ba65abbb6651b7440e19fb67478741216737098f7b78467e737";
    assert_eq!(
        text,
        format!("midge: configuration file {path} is valid ({digest})\n")
    );
}

#[test]
fn help_and_version_are_flags_and_words() {
    for args in [&["-h"][..], &["--help"], &["help"], &["-D", "HELP", "foo"]] {
        match parsed(args).map(|parsed| parsed.invocation) {
            Ok(Invocation::Print(text)) => assert!(text.starts_with("Usage: midge [options]\n")),
            other => panic!("{args:?}: {other:?}"),
        }
    }
    for args in [&["-v"][..], &["--version"], &["version"]] {
        match parsed(args).map(|parsed| parsed.invocation) {
            Ok(Invocation::Print(text)) => assert_eq!(text, version_text("midge")),
            other => panic!("{args:?}: {other:?}"),
        }
    }
}

#[test]
fn the_version_goes_by_the_name_of_the_program() {
    assert_eq!(version_text("nats-server"), "nats-server: v2.15.1\n");
    let text = version_text("midge");
    let expected = format!("midge: v{VERSION} (nats-server 2.15.1 compatible, commit ");
    assert!(text.starts_with(&expected), "{text}");
    let parsed = parse(["/opt/nats-server".into(), "-v".into()]).expect("it is valid");
    assert_eq!(parsed.program, "nats-server");
}

#[test]
fn signals_go_to_the_only_broker_a_process_or_a_file() {
    for (value, signal, target) in [
        ("quit", Signal::Quit, Target::Only),
        ("ldm=12", Signal::LameDuck, Target::Pid(12)),
        (
            "reload=/run/midge.pid",
            Signal::Reload,
            Target::PidFile("/run/midge.pid".into()),
        ),
    ] {
        for args in [&["-sl", value][..], &[&format!("--signal={value}")]] {
            match parsed(args).map(|parsed| parsed.invocation) {
                Ok(Invocation::Signal {
                    signal: s,
                    target: t,
                }) => {
                    assert_eq!((s, &t), (signal, &target));
                }
                other => panic!("{args:?}: {other:?}"),
            }
        }
    }
}
