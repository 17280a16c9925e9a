//! The example file `conf/midge.conf`, made from the tables of keys. The tests here
//! compare it, and check that its lines are valid.

use std::{fmt::Write as _, fs};

use super::{
    LOOPBACK_HOST, Monitor, Options, keys,
    table::{Row, Usual},
};
use crate::config;

const BEGINNING: &str = "\
# Configuration of midge.
#
# The language is that of nats-server: `key: value` pairs, `#` comments, sizes
# such as 64MB, durations in quotes such as \"2m\", `include \"other.conf\"`, and
# $NAME for the value of an earlier key or of an environment variable.
#
# A line that begins with # and a key shows the default of that key; where it
# says \"no default\" the value is an example. Check changes with
# `midge -t -c FILE`; midge.conf(5) has the keys of all blocks.
";

/// Keys that the file sets: a broker started with it listens on loopback only, and has the socket
/// that the programs of its machine look for first.
const SET: [(&str, &str); 2] = [
    (
        "host",
        "# Set to this machine only; write 0.0.0.0 to serve the network.\nhost: \"127.0.0.1\"\n",
    ),
    (
        "monitor",
        "# Set for midge top, check_nats and collectd on this machine. The service makes the\n\
         # folder; a broker that is started by hand needs it: mkdir /run/midge\n\
         monitor: { unix: \"/run/midge/monitor.sock\" }\n",
    ),
];

/// Blocks whose keys are in the file with their defaults. The keys of the others need more
/// explanation, which is in cluster.conf and midge.conf(5).
const IN_FULL: [&str; 2] = ["monitor", "diagnosis"];

/// Columns of a line.
const WIDTH: usize = 79;

fn example() -> String {
    let mut text = String::from(BEGINNING);
    let top = keys::tables().remove(0);
    let mut section = "";
    for row in top.rows.iter().filter(|row| row.is_served) {
        if row.section != section {
            section = row.section;
            let _ = write!(text, "\n## {section}\n");
        }
        let in_full = IN_FULL.contains(&row.names[0]);
        text.push('\n');
        let mut doc = doc_with_names(row);
        if in_full {
            doc += " The defaults of the block:";
        }
        text += &wrapped(&doc, "# ");
        let set = SET.iter().find(|(name, _)| *name == row.names[0]);
        if let (Some((_, set)), false) = (set, in_full) {
            text += set;
        }
        let _ = writeln!(text, "#{}", line(row));
        if in_full {
            let tables = keys::tables();
            let inner = tables.iter().find(|table| table.name == row.names[0]);
            for row in inner.into_iter().flat_map(|table| &table.rows) {
                text += "#\n";
                text += &wrapped(&doc_with_names(row), "#    ");
                let _ = writeln!(text, "#    {}", line(row));
            }
            if let Some((_, set)) = set {
                let _ = write!(text, "\n{set}");
            }
        }
    }
    text
}

fn doc_with_names(row: &Row) -> String {
    match &row.names[1..] {
        [] => row.doc.into(),
        others => format!("{} Also: {}.", row.doc, others.join(", ")),
    }
}

fn line(row: &Row) -> String {
    match row.usual {
        Usual::Default(value) => format!("{}: {value}", row.names[0]),
        Usual::Example(value) => format!("{}: {value}  # no default", row.names[0]),
    }
}

fn wrapped(text: &str, before: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && before.len() + line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(lines, "{before}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    let _ = writeln!(lines, "{before}{line}");
    lines
}

#[test]
fn the_example_file_is_up_to_date() {
    test_support::generated::assert_up_to_date("conf/midge.conf", &example());
}

fn load(text: &str) -> Options {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("midge.conf");
    fs::write(&path, text).expect("room for a file");
    let (options, warnings) =
        config::load(&path, &|_| None).unwrap_or_else(|errors| panic!("{text}: {errors}"));
    assert_eq!(warnings, [], "{text}");
    Options {
        config_file: None,
        config_digest: String::new(),
        ..options
    }
}

#[test]
fn the_example_file_is_valid_and_opens_nothing() {
    let expected = Options {
        host: LOOPBACK_HOST.into(),
        host_is_safe_default: false,
        monitor: Monitor {
            unix: Some("/run/midge/monitor.sock".into()),
            ..Monitor::default()
        },
        ..Options::default()
    };
    assert_eq!(load(&example()), expected);
}

/// Each commented-out line is valid when its comment mark is removed.
#[test]
fn each_line_of_the_example_file_is_valid() {
    let is_key = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase());
    let example = example();
    let lines = example.lines().filter_map(|line| line.strip_prefix('#'));
    let mut count = 0;
    for line in lines.filter(is_key) {
        let text = match line.starts_with("no_auth_user") {
            true => format!("{line}\nauthorization {{ users: [{{ user: \"guest\" }}] }}"),
            false => line.to_owned(),
        };
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("midge.conf");
        fs::write(&path, &text).expect("room for a file");
        let read = config::load(&path, &|_| None);
        assert!(read.is_ok(), "{line}: {}", read.expect_err("an error"));
        count += 1;
    }
    let served = keys::TOP.keys().filter(|key| key.is_served());
    assert_eq!(count, served.count());
}

/// The example of a cluster has every key of the block that is served.
#[test]
fn the_example_of_a_cluster_has_every_key() {
    let text = include_str!("../../../conf/cluster.conf");
    let tables = keys::tables();
    for name in ["cluster", "cluster authorization"] {
        let table = tables.iter().find(|table| table.name == name);
        let rows = table.into_iter().flat_map(|table| &table.rows);
        for row in rows.filter(|row| row.is_served) {
            let is_there = |name: &str| {
                text.lines().any(|line| {
                    let line = line.trim_start_matches([' ', '#']);
                    let rest = line.strip_prefix(name);
                    rest.is_some_and(|rest| rest.starts_with([':', ' ']))
                })
            };
            // `listen` sets both.
            let parts = ["host", "port"].contains(&row.names[0]);
            let is_shown = parts || row.names.iter().any(|name| is_there(name));
            assert!(is_shown, "{name} {}", row.names[0]);
        }
    }
}
