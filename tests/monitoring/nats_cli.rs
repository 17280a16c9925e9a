//! What operators know: the `nats` command of the NATS project, run against midge and against a
//! real nats-server with the same configuration, clients and arguments. What it prints must be the
//! same, apart from what the tables list with a reason.
//!
//! [`table`] has the commands, [`side`] the brokers with their clients, and [`output`] makes two
//! outputs comparable. A listed difference that is there no more fails the test as well.

mod output;
mod scenarios;
mod side;
mod table;

use std::{collections::BTreeMap, fs, process::Command as Process, thread};

use output::Output;
use scenarios::Scenario;
use side::Side;
use table::Command;
use test_support::{Broker, free_port, mesh::Kind, tools};

/// Commands over all scenarios that there are at least.
const COMMANDS_MIN: usize = 60;

#[test]
fn a_plain_broker() {
    compare(&scenarios::plain());
}

#[test]
fn users_and_their_permissions() {
    compare(&scenarios::users());
}

#[test]
fn accounts_and_the_system_account() {
    compare(&scenarios::accounts());
}

#[test]
fn a_broker_with_tls() {
    compare(&scenarios::tls());
}

#[test]
fn a_mesh_of_three() {
    compare(&scenarios::mesh());
}

#[test]
fn enough_commands_are_compared() {
    let tables = [
        table::PLAIN,
        table::USERS,
        table::ACCOUNTS,
        table::TLS,
        table::MESH,
    ];
    let count: usize = tables.iter().map(|table| table.len()).sum();
    assert!(count >= COMMANDS_MIN, "{count}");
    let traces = tables.iter().flat_map(|table| table.iter());
    let traces = traces
        .filter(|command| command.line.starts_with("trace "))
        .count();
    assert!(traces >= 12, "{traces}");
}

/// `midge config nats-context` writes a context with which the command is let in.
#[test]
fn the_context_that_midge_writes_is_one_of_the_command() {
    let port = free_port();
    let text = "accounts { SYS { users: [{user: s, password: s}] } }\nsystem_account: SYS\n";
    let broker = Broker::midge().config(text).port(port).start();
    let file = broker.folder().join("broker.conf");
    let written = Process::new(tools::midge())
        .args([
            "config",
            "nats-context",
            "-a",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-c",
        ])
        .arg(&file)
        .output()
        .expect("run midge");
    assert!(written.status.success(), "{written:?}");
    let home = tempfile::tempdir().expect("make a temporary folder");
    let contexts = home.path().join("nats/context");
    fs::create_dir_all(&contexts).expect("make the folder of the contexts");
    fs::write(contexts.join("sys.json"), &written.stdout).expect("write the context");
    let asked = Process::new(tools::nats_cli())
        .args(["--context", "sys", "server", "ping", "1", "--id"])
        .env_clear()
        .env("HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path())
        .output()
        .expect("run nats");
    let said = String::from_utf8_lossy(&asked.stdout);
    let id = broker.get_json("/varz")["server_id"].clone();
    assert!(said.contains(id.as_str().expect("an id")), "{asked:?}");
}

/// Runs the scenario's commands on both sides, and compares what they print.
fn compare(scenario: &Scenario) {
    let [ours, theirs] = [Kind::Midge, Kind::Nats].map(|kind| {
        let (scenario, commands) = (scenario.clone(), scenario.commands);
        thread::spawn(move || {
            let side = Side::start(kind, &scenario);
            let outputs = commands.iter().map(|command| side.run(command));
            outputs.collect::<Vec<Output>>()
        })
    });
    let [ours, theirs] = [ours, theirs].map(|side| side.join().expect("a side that ran"));
    let commands = scenario.commands.iter();
    let faults: Vec<String> = commands
        .zip(ours.iter().zip(&theirs))
        .filter_map(|(command, (ours, theirs))| fault(command, ours, theirs))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// How the two outputs of a command differ in another way than listed.
fn fault(command: &Command, ours: &Output, theirs: &Output) -> Option<String> {
    let mut expected = BTreeMap::new();
    let mut reasons = BTreeMap::new();
    for difference in command.differences {
        for (lines, sign) in [(difference.midge, 1), (difference.nats, -1)] {
            for line in lines {
                *expected.entry((*line).to_owned()).or_insert(0) += sign;
                reasons.insert(*line, difference.why);
            }
        }
    }
    let mut found: BTreeMap<String, i32> = BTreeMap::new();
    for (lines, sign) in [(&ours.lines, 1), (&theirs.lines, -1)] {
        for line in lines {
            *found.entry(line.clone()).or_insert(0) += sign;
        }
    }
    found.retain(|_, count| *count != 0);
    if found == expected && ours.code == theirs.code && is_ordered(command, ours, theirs) {
        return None;
    }
    let mut text = format!(
        "\n##### [{}] nats {}: exit code {} of midge, {} of nats-server\n",
        command.user, command.line, ours.code, theirs.code
    );
    for (line, count) in &found {
        if expected.get(line) != Some(count) {
            let side = if *count > 0 { "midge" } else { "nats-server" };
            text += &format!("only {side}: {line}\n");
        }
    }
    for (line, count) in &expected {
        if found.get(line) != Some(count) {
            let why = reasons[line.as_str()];
            text += &format!("listed ({why}), but there no more: {line}\n");
        }
    }
    text += &format!("--- midge\n{}\n--- nats-server\n{}", ours.raw, theirs.raw);
    Some(text)
}

/// The steps of a trace are a tree, before the legend: they must be in the same order.
fn is_ordered(command: &Command, ours: &Output, theirs: &Output) -> bool {
    let steps = |output: &Output| -> Vec<String> {
        let lines = output.lines.iter();
        let steps = lines.take_while(|line| !line.starts_with("Legend:"));
        steps.cloned().collect()
    };
    !command.line.starts_with("trace ") || steps(ours) == steps(theirs)
}
