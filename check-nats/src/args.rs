//! The command line: one description from which parser, help and manual are generated.
//!
//! The threshold options of single metrics come from the tables of the modes.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Command, ValueHint,
    builder::{PossibleValue, PossibleValuesParser},
    error::ErrorKind,
    parser::ValueSource,
    value_parser,
};
use clap_complete::Shell;

use super::{
    completions::SHELLS,
    metric::Metric,
    modes::{MODES, Mode},
    options::Format,
    target::arguments,
};

/// Options that change neither what is checked nor the verdict: runs that differ in them
/// alone share the state that they compare with.
const NOT_OF_THE_VERDICT: [&str; 6] = [
    "format",
    "no-state-update",
    "state",
    "state-dir",
    "timeout",
    "verbose",
];

/// Heading of the options of modes that compare with the last run.
pub const STATE_HEADING: &str = "Modes that compare with the last run";

/// The action requested by the command line.
pub enum Asked {
    /// A check.
    Check(Box<ArgMatches>),
    /// The completions of this shell.
    Completions(Shell),
    /// The manual page, as roff.
    Manual,
    /// This text: help or version.
    Text(String),
    /// Something that is no option, or misses a value: what is wrong.
    Nonsense(String),
}

/// Reads the command line; the first argument is the program's name.
pub fn read(arguments: impl IntoIterator<Item = OsString>, version: &'static str) -> Asked {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Err(mistake) = arguments::refuse_secrets(&arguments) {
        return Asked::Nonsense(mistake);
    }
    match command()
        .version(version.trim_end())
        .try_get_matches_from(arguments)
    {
        Ok(matches) if matches.get_flag("man") => Asked::Manual,
        Ok(matches) => match asked_shell(&matches) {
            Some(shell) => Asked::Completions(shell),
            None => Asked::Check(Box::new(matches)),
        },
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            Asked::Text(error.render().to_string())
        }
        Err(error) => Asked::Nonsense(first_sentence(&error.render().to_string())),
    }
}

/// What was typed of what the verdict depends on, a line each, in a fixed order.
pub fn verdict_arguments(matches: &ArgMatches) -> String {
    let mut ids: Vec<&str> = matches.ids().map(|id| id.as_str()).collect();
    ids.sort_unstable();
    let mut typed = String::new();
    for id in ids {
        let is_typed = matches.value_source(id) == Some(ValueSource::CommandLine);
        if !is_typed || NOT_OF_THE_VERDICT.contains(&id) {
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            // Quoted, so that a line end in a value does not look like the next option.
            typed.push_str(&format!("{id}={value:?}\n"));
        }
    }
    typed
}

fn asked_shell(matches: &ArgMatches) -> Option<Shell> {
    let asked = matches.get_one::<String>("completions")?;
    let known = SHELLS.into_iter();
    known
        .filter(|(name, _)| name == asked)
        .map(|(_, shell)| shell)
        .next()
}

/// The format that was asked for, also of arguments that make no sense otherwise.
pub fn asked_format(arguments: &[OsString]) -> Format {
    let texts = arguments.iter().map(|argument| argument.to_str());
    let texts: Vec<&str> = texts.map(Option::unwrap_or_default).collect();
    let value = |(at, text): (usize, &&str)| match text.strip_prefix("--format=") {
        Some(value) => Format::called(value),
        None if *text == "--format" => texts.get(at + 1).and_then(|value| Format::called(value)),
        None => None,
    };
    let last = texts.iter().enumerate().rev().find_map(value);
    last.unwrap_or(Format::Nagios)
}

/// The short usage that follows a mistake. It has no `|`: what follows one would be taken for
/// performance data.
pub fn usage() -> String {
    let modes: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
    format!(
        "Usage: check_nats [-H HOST] [-p PORT] [-m PORT] [-u URL] [--socket PATH]\n\
         \x20      [--puppet] [--cacert FILE] [--mode MODE]\n\
         \x20      [-w RANGE] [-c RANGE] [-t SECONDS[:STATE]] [-v] [OPTIONS]\n\
         {}\nTry check_nats --help\n",
        wrapped("Modes:", &modes.join(" "), "       ")
    )
}

/// The metrics with threshold options of their own, each option once.
pub fn threshold_options() -> Vec<&'static Metric> {
    let mut options = BTreeMap::new();
    for metric in MODES.iter().flat_map(Mode::all_metrics) {
        if let Some(stem) = metric.option {
            options.entry(stem).or_insert(metric);
        }
    }
    options.into_values().collect()
}

/// The whole command line, but for the version that it prints.
pub fn command() -> Command {
    Command::new("check_nats")
        .bin_name("check_nats")
        .about("Checks a NATS broker, midge or nats-server, as a Nagios plugin")
        .after_help(after_help())
        .disable_help_flag(true)
        .disable_version_flag(true)
        // As with getopt: of an option that is given twice, the last one counts. Command
        // templates are extended in this way. Those that name brokers are the exception.
        .args_override_self(true)
        .args(arguments::arguments())
        .args(check_args())
        .args(state_args())
        .args(output_args())
        .args(threshold_args())
}

fn check_args() -> Vec<Arg> {
    let modes: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
    vec![
        text('t', "timeout", "SECONDS[:STATE]")
            .default_value("10")
            .help("Time for the whole run, and the state when it runs out"),
        long("mode", "MODE")
            .default_value(modes.first().copied().unwrap_or_default())
            .value_parser(PossibleValuesParser::new(modes))
            .hide_possible_values(true)
            .help("What to check, see below"),
        text('w', "warning", "RANGE")
            .allow_hyphen_values(true)
            .help("When the mode's main value is a warning"),
        text('c', "critical", "RANGE")
            .allow_hyphen_values(true)
            .help("When the mode's main value is critical"),
        long("digest", "DIGEST").help("config: the digest that the configuration must have"),
        long("file", "FILE")
            .value_parser(value_parser!(PathBuf))
            .value_hint(ValueHint::FilePath)
            .help("config: a file of this machine that must be older than what runs"),
        long("expect", "NUMBER")
            .value_parser(value_parser!(u16).range(1..))
            .help(
                "cluster: number of members that must be present, else the broker's own list; path: \
                 number of receivers that there must be",
            ),
        long("subject", "SUBJECT").help("path: the subject that is asked about"),
        long("account", "NAME").help("path: the account of the publisher, instead of --user"),
        long("figure", "NAME").help("varz: a number in /varz, by its dotted path"),
    ]
}

/// How a mode that compares with the last run remembers it.
fn state_args() -> Vec<Arg> {
    vec![
        long("hold", "TIME").help(
            "Say an alert again for this long, so that a retry of the scheduler does not say OK",
        ),
        long("sample", "TIME").help("Measure twice, this far apart, without a state file"),
        long("state", "NAME").help(
            "Share the state with all runs of this mode and monitoring URL that give this name, not \
             only with those that have the same options",
        ),
        long("state-dir", "DIR")
            .value_parser(value_parser!(PathBuf))
            .value_hint(ValueHint::DirPath)
            .help("Folder of the state files, else /var/tmp/check_nats-UID"),
        Arg::new("no-state-update")
            .long("no-state-update")
            .action(ArgAction::SetTrue)
            .help("Only look: the next run compares with the same state as this one"),
    ]
    .into_iter()
    .map(|arg| arg.help_heading(STATE_HEADING))
    .collect()
}

fn output_args() -> Vec<Arg> {
    let formats = Format::NAMES.map(|(name, alias, _)| PossibleValue::new(name).aliases(alias));
    vec![
        long("format", "FORMAT")
            .default_value(Format::NAMES[0].0)
            .value_parser(PossibleValuesParser::new(formats))
            .help("How the result is written"),
        long("service-name", "NAME")
            .default_value("NATS")
            .help("First word of the output"),
        Arg::new("verbose")
            .short('v')
            .long("verbose")
            .action(ArgAction::Count)
            .help("-v names more, -vv lists requests, -vvv values"),
        Arg::new("version")
            .short('V')
            .long("version")
            .action(ArgAction::Version)
            .help("Print the version, exit 3"),
        Arg::new("help")
            .short('h')
            .long("help")
            .action(ArgAction::Help)
            .help("Print this help, exit 3"),
        long("completions", "SHELL")
            .value_parser(PossibleValuesParser::new(SHELLS.map(|(name, _)| name)))
            .help("Print the completions of a shell, exit 3"),
        Arg::new("man")
            .long("man")
            .action(ArgAction::SetTrue)
            .hide(true)
            .help("Print the manual page as roff, exit 3"),
    ]
}

fn threshold_args() -> Vec<Arg> {
    let mut args = Vec::new();
    for metric in threshold_options() {
        let Some(stem) = metric.option else { continue };
        for (level, short) in [("warning", "warn"), ("critical", "crit")] {
            let name = format!("{stem}-{level}");
            let arg = Arg::new(name.clone())
                .long(name)
                .alias(format!("{stem}-{short}"))
                .value_name("RANGE")
                .allow_hyphen_values(true)
                .help_heading("Thresholds of single values, each with a --…-critical too")
                .help(format!("When {} is a warning", metric.label));
            // One line each is enough for help; both parse.
            args.push(arg.hide(level == "critical"));
        }
    }
    args
}

fn long(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value)
}

fn text(short: char, name: &'static str, value: &'static str) -> Arg {
    long(name, value).short(short)
}

fn after_help() -> String {
    let mut text = "Modes (the first value is the main one, for -w and -c):\n".to_owned();
    for mode in MODES {
        let labels: Vec<&str> = mode.metrics.iter().map(|metric| metric.label).collect();
        let indent = " ".repeat(14);
        let name = format!("  {:11}", mode.name);
        text.push_str(&wrapped(&name, mode.help, &indent));
        text.push('\n');
        text.push_str(&wrapped(
            &indent[1..],
            &format!("({})", labels.join(", ")),
            &indent,
        ));
        text.push('\n');
        if let Some(joint) = &mode.joint {
            let labels: Vec<&str> = joint.metrics.iter().map(|metric| metric.label).collect();
            let help = format!("several brokers: {} ({})", joint.help, labels.join(", "));
            text.push_str(&wrapped(&indent[1..], &help, &indent));
            text.push('\n');
        }
    }
    text.push_str(
        "\nA RANGE is [@]start:end; 10 alerts outside 0 to 10, 10: below 10, ~:10 above\n\
         10, @10:20 inside. Times take us, ms, s, m, h, d, w; bytes take KiB, MB and so\n\
         on; N% is a share of the limit where there is one.\n\
         Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (also for help).",
    );
    text
}

/// `start` and the words after it, in lines of at most 79 columns.
fn wrapped(start: &str, words: &str, indent: &str) -> String {
    let mut text = start.to_owned();
    let mut width = start.len();
    for word in words.split(' ') {
        if width + 1 + word.len() > 79 {
            text.push('\n');
            text.push_str(&indent[1..]);
            width = indent.len() - 1;
        }
        text.push(' ');
        text.push_str(word);
        width += 1 + word.len();
    }
    text
}

/// clap's message without its label, its tips and its usage.
fn first_sentence(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let paragraph = message.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    words.join(" ")
}
