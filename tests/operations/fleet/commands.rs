//! What operators ask with `mco`, and who answers. A command is asked with time to spare: a
//! missing answer is a lost one, not a late one.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    super::puppet::run,
    nodes::{self, Fleet},
};

/// How long the fleet needs here and now.
#[derive(Clone, Copy)]
pub(super) struct Pace(Duration);

impl Pace {
    /// From the time that `mco` takes to start, and to be answered by all nodes.
    pub(super) fn measure(fleet: &Fleet) -> Self {
        let begin = Instant::now();
        assert_eq!(ping_list(fleet, 0, "60"), nodes::names());
        Self(begin.elapsed())
    }

    /// How long a fault may have effects: 2 s, on a busy machine longer.
    pub(super) fn recovery(self) -> Duration {
        (self.0 * 4).max(Duration::from_secs(2))
    }

    /// How long answers are waited for, in whole seconds.
    pub(super) fn patience(self) -> String {
        (self.recovery().as_secs() + 1).to_string()
    }
}

/// Who answers a ping that is addressed to each node; it ends as soon as all have answered.
pub(super) fn ping_list(fleet: &Fleet, first_server: usize, seconds: &str) -> BTreeSet<String> {
    let list = fleet.list();
    let arguments = ["rpc", "rpcutil", "ping", "--nodes", &list, "-j"];
    let arguments = [&arguments[..], &["--timeout", seconds]].concat();
    senders(&answers(
        fleet,
        &format!("direct{first_server}"),
        &arguments,
    ))
}

/// Who answers a ping that is sent to all.
pub(super) fn ping_all(fleet: &Fleet, first_server: usize, pace: Pace) -> BTreeSet<String> {
    let settings = format!("direct{first_server}");
    let written = output(fleet, &settings, &["ping", "--timeout", &pace.patience()]);
    let lines = written.lines().filter(|line| line.contains(" time="));
    lines.filter_map(first_word).collect()
}

/// Asks in all the ways that operators do, at the same time.
pub(super) fn every_command_is_answered(fleet: &Fleet, pace: Pace) {
    let webs = nodes::every(2, 0);
    let patience = pace.patience();
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(ping_all(fleet, 0, pace), nodes::names()));
        for (filter, expected) in [
            (&[][..], nodes::names()),
            (&["-F", "role=web"], webs.clone()),
            (&["-W", "role=db third1"], nodes::every(6, 1)),
            (&["-C", "third2"], nodes::every(3, 2)),
            (&["-I", "/node[03]\\./"], nodes::every(3, 0)),
            (&["-S", "role=web and not number=0"], {
                let mut expected = webs.clone();
                expected.retain(|name| !name.starts_with("node0."));
                expected
            }),
        ] {
            let arguments = [&["find", "--dt", &patience], filter].concat();
            scope.spawn(move || {
                let written = output(fleet, "direct0", &arguments);
                let found: BTreeSet<_> = written.lines().filter_map(first_word).collect();
                assert_eq!(found, expected, "{arguments:?}: {written}");
            });
        }
        for (settings, more, expected) in [
            ("broadcast0", &[][..], nodes::names()),
            ("broadcast0", &["-F", "role=web"], webs.clone()),
            ("direct0", &["-F", "role=web"], webs.clone()),
            (
                "direct0",
                &["--batch", "2", "--batch-sleep", "0.1"],
                nodes::names(),
            ),
            ("direct0", &["-I", "node4.example.net"], nodes::every(6, 4)),
        ] {
            let request = ["rpc", "rpcutil", "get_fact", "fact=role", "-j"];
            let times = ["--dt", &patience, "--timeout", &patience];
            let arguments = [&request[..], &times, more].concat();
            scope.spawn(move || {
                let answers = answers(fleet, settings, &arguments);
                assert_eq!(senders(&answers), expected, "{settings} {arguments:?}");
                for answer in answers {
                    let role = match nodes::every(2, 0).contains(sender(&answer)) {
                        true => "web",
                        false => "db",
                    };
                    assert_eq!(answer["data"]["value"], role, "{answer}");
                }
            });
        }
        scope.spawn(|| {
            let written = output(fleet, "direct0", &["inventory", "node5.example.net"]);
            for part in [
                "Inventory for node5.example.net:",
                "rpcutil",
                "role => db",
                "third2",
            ] {
                assert!(written.contains(part), "{written}");
            }
        });
        scope.spawn(|| {
            // Who does not answer is named: the counting can fail.
            let arguments = ["rpc", "rpcutil", "ping", "-I", "absent.example.net"];
            let arguments = [&arguments[..], &["--timeout", &patience]].concat();
            let written = output(fleet, "direct0", &arguments);
            let (_, missing) = written.split_once("No response from").expect(&written);
            assert!(missing.contains("absent.example.net"), "{written}");
        });
    });
}

fn answers(fleet: &Fleet, settings: &str, arguments: &[&str]) -> Vec<Value> {
    let written = output(fleet, settings, arguments);
    let answers: Result<Vec<Value>, _> = serde_json::from_str(&written);
    answers.unwrap_or_else(|error| panic!("mco {arguments:?}: {error}: {written}"))
}

/// Each sender must have answered once.
fn senders(answers: &[Value]) -> BTreeSet<String> {
    let senders: BTreeSet<_> = answers.iter().map(|it| sender(it).to_owned()).collect();
    assert_eq!(senders.len(), answers.len(), "{answers:?}");
    senders
}

fn sender(answer: &Value) -> &str {
    answer["sender"].as_str().expect("a sender")
}

fn first_word(line: &str) -> Option<String> {
    line.split_whitespace().next().map(Into::into)
}

fn output(fleet: &Fleet, settings: &str, arguments: &[&str]) -> String {
    let (_, written) = run(&mut fleet.mco(settings, arguments));
    written
}
