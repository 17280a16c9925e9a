//! The shipped configuration files against the options of `check_nats`.

use std::{collections::BTreeSet, fs, path::Path};

use check_nats::{
    args::{self, Asked},
    modes::MODES,
    options::Options,
};
use test_support::tools;

/// Where `check_nats` is installed.
const INSTALLED: &str = "/usr/lib/nagios/plugins";

/// Where NRPE's lines keep the state of the last run.
pub(super) const STATE_FOLDER: &str = "/var/lib/nagios/check_nats";

/// A shipped file that runs the `check_nats` in this folder.
pub(super) fn file(name: &str, plugins: &Path) -> String {
    text(name).replace(INSTALLED, &plugins.display().to_string())
}

/// The commands for NRPE: name and arguments.
pub(super) fn nrpe_commands() -> Vec<(String, String)> {
    commands_of(&text("nagios/nrpe.cfg"))
}

fn commands_of(text: &str) -> Vec<(String, String)> {
    let commands = text.lines().filter_map(|line| {
        let (name, command) = line.strip_prefix("command[")?.split_once("]=")?;
        let arguments = command.strip_prefix(&format!("{INSTALLED}/check_nats "))?;
        Some((name.to_owned(), arguments.to_owned()))
    });
    commands.collect()
}

fn text(name: &str) -> String {
    let path = tools::project().join("conf").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails if the plugin does not take these arguments.
fn accept(arguments: &str) -> &'static str {
    let words = ["check_nats"]
        .into_iter()
        .chain(arguments.split_whitespace());
    match args::read(words.map(Into::into), "") {
        Asked::Check(matches) => match Options::new(&matches) {
            Ok(options) => options.mode.name,
            Err(error) => panic!("{arguments}: {error}"),
        },
        _ => panic!("{arguments}: not options of check_nats"),
    }
}

/// The file has an example of each mode, and the plugin takes all of them.
#[test]
fn the_nagios_services_have_valid_options() {
    let text = text("nagios/nats.cfg");
    let checks = text
        .lines()
        .filter_map(|line| line.split_once("check_nats!"));
    let modes: BTreeSet<_> = checks.map(|(_, arguments)| accept(arguments)).collect();
    assert_eq!(modes, MODES.iter().map(|mode| mode.name).collect());
}

/// What Nagios asks of NRPE is there, and the plugin takes it.
#[test]
fn the_nrpe_commands_are_those_that_nagios_asks_for() {
    let asked: BTreeSet<String> = text("nagios/nats-nrpe.cfg")
        .lines()
        .filter_map(|line| Some(line.split_once("check_nrpe!")?.1.to_owned()))
        .collect();
    // With the ones that only some hosts have.
    let commands = commands_of(&text("nagios/nrpe.cfg").replace("\n#command[", "\ncommand["));
    for (_, arguments) in &commands {
        accept(arguments);
    }
    assert_eq!(asked, commands.into_iter().map(|(name, _)| name).collect());
}

/// Each option has a variable in Icinga, but those that Icinga has no use for; thresholds
/// of single values have one together.
#[test]
fn the_icinga_command_has_all_options() {
    let text = text("icinga2/nats.conf");
    let argued: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"--")?.split_once("\" = "))
        .map(|(name, _)| name)
        .collect();
    let thresholds: BTreeSet<String> = args::threshold_options()
        .iter()
        .filter_map(|metric| metric.option)
        .flat_map(|stem| [format!("{stem}-warning"), format!("{stem}-critical")])
        .collect();
    let command = args::command();
    let options: BTreeSet<&str> = command
        .get_arguments()
        .filter_map(|option| option.get_long())
        .filter(|name| !["completions", "format", "help", "man", "version"].contains(name))
        .filter(|name| !thresholds.contains(*name))
        .collect();
    assert_eq!(argued, options);
}
