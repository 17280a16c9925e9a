//! The command line: one description from which parser, help and manual are generated.
//!
//! The threshold options of single metrics come from the tables of the modes.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, error::ErrorKind,
    value_parser,
};

use super::{
    metric::Metric,
    modes::{MODES, Mode},
    options::Format,
    target::arguments,
};

/// The action requested by the command line.
pub enum Asked {
    /// A check.
    Check(Box<ArgMatches>),
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
        Ok(matches) => Asked::Check(Box::new(matches)),
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

/// The short usage that follows a mistake.
pub fn usage() -> String {
    let modes: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
    format!(
        "Usage: check_nats [-H HOST] [-p PORT] [-m PORT | -u URL] [--mode MODE]\n\
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
        .args(arguments::arguments())
        .args(check_args())
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
        long("sample", "TIME")
            .help("slow, traffic: measure twice, this far apart, without a state file"),
        long("state-dir", "DIR")
            .value_parser(value_parser!(PathBuf))
            .help("slow, traffic: state files, else /var/tmp/check_nats-UID"),
        long("digest", "DIGEST").help("config: the digest that the configuration must have"),
        long("expect", "NUMBER")
            .value_parser(value_parser!(u16).range(1..))
            .help("cluster: number of members that must be present; else the broker's own list"),
        long("figure", "NAME").help("varz: a number in /varz, by its dotted path"),
    ]
}

fn output_args() -> Vec<Arg> {
    let formats = Format::NAMES.map(|(name, _)| name);
    vec![
        long("format", "FORMAT")
            .default_value(formats[0])
            .value_parser(PossibleValuesParser::new(formats))
            .help("How the result is written"),
        long("service-name", "NAME")
            .default_value("NATS")
            .help("First word of the output"),
        Arg::new("verbose")
            .short('v')
            .long("verbose")
            .action(ArgAction::Count)
            .help("-v names the clients, -vv lists requests, -vvv values"),
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
