//! The definition of the command line, from which the parser, the help and the manual page are
//! made.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, builder::PossibleValuesParser, value_parser};

use crate::{sort::SORTS, view::View};

pub(super) fn command() -> Command {
    Command::new("midge-top")
        .bin_name("midge top")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Shows live what is wrong with a NATS broker, who, since when and why")
        .long_about(LONG_ABOUT)
        .after_help(after_help())
        .disable_version_flag(true)
        .disable_help_flag(true)
        .args(target_args())
        .args(login_args())
        .args(view_args())
        .args(path_args())
        .args(report_args())
}

const LONG_ABOUT: &str = "Shows live what is wrong with a NATS broker, who, since when and why: \
                          findings, rates and latency, connections, slow readers, load, routes, \
                          events and ceilings. It reads the monitoring port (8222) of midge or of \
                          nats-server, and leaves out what a nats-server does not report. Press ? \
                          for the keys.";

fn target_args() -> Vec<Arg> {
    vec![
        Arg::new("url")
            .value_name("URL")
            .help("Monitoring port: http://HOST:PORT, https://HOST:PORT or unix:PATH; without any target, the socket /run/midge/monitor.sock if it can be opened, else port 8222 of this host"),
        value("server", "HOST")
            .short('s')
            .default_value("127.0.0.1")
            .conflicts_with("url")
            .help("Host of the broker"),
        value("port", "PORT")
            .short('m')
            .default_value("8222")
            .value_parser(value_parser!(u16).range(1..))
            .conflicts_with("url")
            .help("Its monitoring port"),
        value("ms", "PORT")
            .value_parser(value_parser!(u16).range(1..))
            .conflicts_with_all(["url", "port"])
            .help("Its https monitoring port"),
        value("socket", "PATH")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with_all(["server", "port", "ms"])
            .help("Its Unix socket; a URL given as well adds the base path"),
    ]
}

fn login_args() -> Vec<Arg> {
    vec![
        value("token-file", "FILE")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with("user")
            .help("File that holds the token of the port; else $MONITOR_TOKEN"),
        value("user", "NAME").help("User of the port; else $MONITOR_USER"),
        value("password-file", "FILE")
            .value_parser(value_parser!(PathBuf))
            .help("File that holds the password; else $MONITOR_PASSWORD"),
        value("cacert", "FILE")
            .value_parser(value_parser!(PathBuf))
            .help("CA of the https port, in place of the system's"),
        value("cert", "FILE")
            .value_parser(value_parser!(PathBuf))
            .requires("key")
            .help("This client's certificate for the https port"),
        value("key", "FILE")
            .value_parser(value_parser!(PathBuf))
            .requires("cert")
            .help("Its key"),
        switch("insecure")
            .short('k')
            .help("Accept any certificate of the https port"),
    ]
}

fn view_args() -> Vec<Arg> {
    vec![
        value("delay", "SECONDS")
            .short('d')
            .default_value("1")
            .help("Time between two requests, 0.2 to 3600"),
        value("connections", "N")
            .short('n')
            .default_value("1024")
            .value_parser(value_parser!(u16).range(1..=16384))
            .help("Most connections of one request; a filter searches all"),
        value("sort", "KEY")
            .value_parser(PossibleValuesParser::new(SORTS.iter().map(|sort| sort.name)))
            .hide_possible_values(true)
            .help("Order of the connections, see below"),
        value("filter", "TEXT")
            .default_value("")
            .hide_default_value(true)
            .help("Only connections whose name, user, account, address, certificate, library or reason has TEXT in it, or whose id is TEXT"),
        value("state", "STATE")
            .default_value("open")
            .value_parser(PossibleValuesParser::new(STATES))
            .help("Which connections"),
        value("view", "VIEW")
            .default_value(View::ALL[0].name())
            .value_parser(PossibleValuesParser::new(View::ALL.map(View::name)))
            .help("The first view"),
        switch("raw").short('b').help("Numbers with all their digits"),
        switch("display-subscriptions-column")
            .short('u')
            .visible_alias("subs")
            .help("Show the subjects of connections"),
        switch("lookup").help("Show the names of addresses (DNS)"),
    ]
}

fn path_args() -> Vec<Arg> {
    vec![
        value("path", "SUBJECT")
            .conflicts_with_all(["once", "batch", "output", "delimiter"])
            .help("Write who would get a message on SUBJECT and who would not, and why, and exit; nothing is sent. Permissions are looked at with --as-user"),
        value("as-user", "NAME")
            .requires("path")
            .conflicts_with("as-account")
            .help("The user who would publish it"),
        value("as-account", "NAME")
            .requires("path")
            .help("The account it would be published in"),
    ]
}

fn report_args() -> Vec<Arg> {
    vec![
        switch("once")
            .help("Write one report as text and exit; also when the output is no terminal"),
        switch("batch")
            .conflicts_with("once")
            .help("Write reports as text until stopped, or -r"),
        value("rounds", "N")
            .short('r')
            .default_value("0")
            .value_parser(value_parser!(u64))
            .hide_default_value(true)
            .help("Exit after N requests"),
        value("output", "FILE")
            .short('o')
            .value_parser(value_parser!(PathBuf))
            .help("Write one report to FILE and exit; - is standard output"),
        value("delimiter", "TEXT")
            .short('l')
            .help("Report the connections alone, TEXT between the columns"),
        Arg::new("help")
            .short('h')
            .long("help")
            .action(ArgAction::HelpShort)
            .help("Print this help"),
        Arg::new("version")
            .short('v')
            .long("version")
            .action(ArgAction::Version)
            .help("Print the version"),
        switch("man")
            .hide(true)
            .help("Print the manual page as roff"),
    ]
}

pub(super) const STATES: [&str; 3] = ["open", "closed", "any"];

fn value(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value)
}

fn switch(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn after_help() -> String {
    let mut text = "Sort keys:\n".to_owned();
    for sort in SORTS {
        let only = if sort.closed_only {
            " (closed only)"
        } else {
            ""
        };
        text.push_str(&format!("  {:11} {}{only}\n", sort.name, sort.about));
    }
    text.push_str(
        "\nExit codes: 0 the broker answered; 1 it did not, or the output could not be\n\
         written; 2 the command line is wrong. NO_COLOR switches colours off.",
    );
    text
}

/// The manual page as roff.
pub(super) fn manual() -> String {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command().name("midge-top"))
        .title("MIDGE-TOP")
        .manual("midge")
        .source("midge")
        .date("")
        .render(&mut page);
    // Writing to memory does not fail.
    debug_assert!(rendered.is_ok());
    String::from_utf8_lossy(&page).into_owned()
}
