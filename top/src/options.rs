//! The command line: one description that parses, helps and makes the manual.
//!
//! It takes what nats-top takes as well, also with one dash: `-sort subs`.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{
    Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, error::ErrorKind,
    value_parser,
};
use monitor_client::{Access, Client, Login, Tls};

use crate::{
    sort::{SORTS, Sort},
    view::View,
};

/// The longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the command line asks for.
pub(crate) enum Asked {
    /// To look at a broker.
    Look(Box<Options>),
    /// To print this text and be done.
    Print(String),
}

/// How to look at which broker.
pub(crate) struct Options {
    /// The broker.
    pub(crate) client: Client,
    /// How the broker is called on the screen.
    pub(crate) place: String,
    /// Time between two looks.
    pub(crate) delay: Duration,
    /// Connections that are asked for at once.
    pub(crate) limit: usize,
    /// `open`, `closed` or `any`.
    pub(crate) state: &'static str,
    /// Order of the connections.
    pub(crate) sort: &'static Sort,
    /// What is looked for in the connections.
    pub(crate) filter: String,
    /// The view to begin with.
    pub(crate) view: View,
    /// Whether figures are written with all digits.
    pub(crate) raw: bool,
    /// Whether the subjects of connections are shown.
    pub(crate) subjects: bool,
    /// Whether addresses are shown as names.
    pub(crate) lookup: bool,
    /// Looks after which it ends; 0 for no end.
    pub(crate) rounds: u64,
    /// Text in place of the screen.
    pub(crate) report: Option<Report>,
}

/// Text in place of the screen.
pub(crate) struct Report {
    /// Where it goes; standard output if absent.
    pub(crate) file: Option<PathBuf>,
    /// The connections alone, with this between the columns.
    pub(crate) delimiter: Option<String>,
}

/// Long options that nats-top writes with one dash.
const ONE_DASH: [&str; 7] = ["cacert", "cert", "key", "lookup", "ms", "sort", "version"];

/// Reads the arguments that follow `midge top`. `is_terminal` tells whether
/// standard output is one.
///
/// # Errors
/// What is wrong with them, for standard error.
pub(crate) fn read(
    arguments: impl IntoIterator<Item = OsString>,
    is_terminal: bool,
) -> Result<Asked, String> {
    let arguments = arguments.into_iter().map(two_dashes);
    let matches =
        command().try_get_matches_from([OsString::from("midge top")].into_iter().chain(arguments));
    match matches {
        Ok(matches) if matches.get_flag("man") => Ok(Asked::Print(manual())),
        Ok(matches) => options(&matches, is_terminal).map(|options| Asked::Look(Box::new(options))),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            Ok(Asked::Print(error.render().to_string()))
        }
        Err(error) => Err(error.render().to_string()),
    }
}

fn two_dashes(argument: OsString) -> OsString {
    let name = argument.to_str().and_then(|text| text.strip_prefix('-'));
    let word = name.map(|name| name.split('=').next().unwrap_or(name));
    match (name, word) {
        (Some(name), Some(word)) if ONE_DASH.contains(&word) => format!("--{name}").into(),
        _ => argument,
    }
}

fn command() -> Command {
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
        .args(look_args())
        .args(report_args())
}

const LONG_ABOUT: &str = "Shows live what is wrong with a NATS broker, who, since when and why: \
    findings, rates and latency, connections, slow readers, load, routes, events and ceilings. It \
    reads the monitoring port (8222) of midge or of nats-server; what a nats-server does not tell \
    is left out. Press ? for the keys.";

fn target_args() -> Vec<Arg> {
    vec![
        Arg::new("url")
            .value_name("URL")
            .help("Monitoring port: http://HOST:PORT, https://HOST:PORT or unix:PATH"),
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
            .help("Its Unix socket; a URL beside it gives the base path"),
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
            .help("Own certificate for the https port"),
        value("key", "FILE")
            .value_parser(value_parser!(PathBuf))
            .requires("cert")
            .help("Its key"),
        switch("insecure")
            .short('k')
            .help("Accept any certificate of the https port"),
    ]
}

fn look_args() -> Vec<Arg> {
    vec![
        value("delay", "SECONDS")
            .short('d')
            .default_value("1")
            .help("Time between two looks, 0.2 to 3600"),
        value("connections", "N")
            .short('n')
            .default_value("1024")
            .value_parser(value_parser!(u16).range(1..=16384))
            .help("Most connections of a look; a filter looks through all"),
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
            .help("The view to begin with"),
        switch("raw").short('b').help("Figures with all their digits"),
        switch("display-subscriptions-column")
            .short('u')
            .visible_alias("subs")
            .help("Show the subjects of connections"),
        switch("lookup").help("Show the names of addresses (DNS)"),
    ]
}

fn report_args() -> Vec<Arg> {
    vec![
        switch("once")
            .help("Write one report as text and end; so it is when the output is no terminal"),
        switch("batch")
            .conflicts_with("once")
            .help("Write reports as text until stopped, or -r"),
        value("rounds", "N")
            .short('r')
            .default_value("0")
            .value_parser(value_parser!(u64))
            .hide_default_value(true)
            .help("End after N looks"),
        value("output", "FILE")
            .short('o')
            .value_parser(value_parser!(PathBuf))
            .help("Write one report to FILE and end; - is standard output"),
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

const STATES: [&str; 3] = ["open", "closed", "any"];

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

/// The manual page, as roff.
fn manual() -> String {
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

fn options(matches: &ArgMatches, is_terminal: bool) -> Result<Options, String> {
    let (client, place) = client(matches)?;
    let state = one_of(&STATES, text(matches, "state"));
    let sort = match matches.get_one::<String>("sort") {
        Some(name) => Sort::find(name).unwrap_or(&SORTS[0]),
        None => Sort::default_of(state == "closed"),
    };
    if sort.closed_only && state != "closed" {
        return Err(format!("--sort {}: only with --state closed", sort.name));
    }
    let file = matches.get_one::<PathBuf>("output");
    let delimiter = matches.get_one::<String>("delimiter").cloned();
    let once = matches.get_flag("once") || file.is_some() || delimiter.is_some();
    let batch = matches.get_flag("batch");
    let rounds = match matches.get_one::<u64>("rounds") {
        _ if once => 1,
        Some(0) | None if !batch && !is_terminal => 1,
        rounds => rounds.copied().unwrap_or(0),
    };
    let report = (once || batch || !is_terminal).then(|| Report {
        file: file.filter(|path| *path != Path::new("-")).cloned(),
        delimiter,
    });
    let view = View::ALL
        .into_iter()
        .find(|view| view.name() == text(matches, "view"));
    Ok(Options {
        client,
        place,
        delay: delay(text(matches, "delay"))?,
        limit: matches
            .get_one::<u16>("connections")
            .map_or(1024, |limit| usize::from(*limit)),
        state,
        sort,
        filter: text(matches, "filter").to_owned(),
        view: view.unwrap_or(View::ALL[0]),
        raw: matches.get_flag("raw"),
        subjects: matches.get_flag("display-subscriptions-column"),
        lookup: matches.get_flag("lookup"),
        rounds,
        report,
    })
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

fn one_of(known: &[&'static str], name: &str) -> &'static str {
    known
        .iter()
        .find(|known| **known == name)
        .copied()
        .unwrap_or(known[0])
}

fn delay(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.2..=3600.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("--delay {text}: seconds from 0.2 to 3600"))
}

/// The client, and what the broker is called.
fn client(matches: &ArgMatches) -> Result<(Client, String), String> {
    let url = matches.get_one::<String>("url").map(String::as_str);
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let (socket, url) = match (url.and_then(|url| url.strip_prefix("unix:")), url) {
        (Some(socket), _) => (Some(PathBuf::from(socket)), "http://localhost".to_owned()),
        (None, Some(url)) => (path("socket"), url.to_owned()),
        (None, None) if path("socket").is_some() => (path("socket"), "http://localhost".to_owned()),
        (None, None) => (None, url_of_parts(matches)),
    };
    let tls = Tls {
        ca: path("cacert"),
        certificate: path("cert").zip(path("key")),
        insecure: matches.get_flag("insecure"),
    };
    let access = Access {
        login: login(matches)?,
        tls: url.starts_with("https:").then_some(tls),
        unix_socket: socket.clone(),
    };
    let client = Client::with_access(&url, TIMEOUT, &access).map_err(|error| error.to_string())?;
    let place = socket.map_or(url, |socket| format!("unix:{}", socket.display()));
    Ok((client, place))
}

fn url_of_parts(matches: &ArgMatches) -> String {
    let host = match text(matches, "server") {
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        host => host.to_owned(),
    };
    match (matches.get_one::<u16>("ms"), matches.get_one::<u16>("port")) {
        (Some(port), _) => format!("https://{host}:{port}"),
        (None, port) => format!("http://{host}:{}", port.copied().unwrap_or(8222)),
    }
}

/// Secrets come from files or the environment: arguments are seen by everybody on
/// the machine.
fn login(matches: &ArgMatches) -> Result<Option<Login>, String> {
    let secret = |option: &str, variable: &str| match matches.get_one::<PathBuf>(option) {
        Some(path) => match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => Err(format!("--{option} {}: {error}", path.display())),
        },
        None => Ok(env::var(variable).ok().filter(|text| !text.is_empty())),
    };
    let user = match text(matches, "user") {
        "" => env::var("MONITOR_USER").unwrap_or_default(),
        user => user.to_owned(),
    };
    let login = match secret("token-file", "MONITOR_TOKEN")? {
        Some(token) if text(matches, "user").is_empty() => Some(Login::token(&token)),
        _ if user.is_empty() => None,
        _ => match secret("password-file", "MONITOR_PASSWORD")? {
            Some(password) => Some(Login::password(&user, &password)),
            None => return Err("--user needs --password-file or $MONITOR_PASSWORD".into()),
        },
    };
    match &login {
        Some(login) if !login.is_sendable() => {
            Err("the token or password holds characters that no request can carry".into())
        }
        _ => Ok(login),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(arguments: &[&str]) -> Result<Options, String> {
        let arguments = arguments.iter().map(OsString::from);
        match read(arguments, true)? {
            Asked::Look(options) => Ok(*options),
            Asked::Print(text) => Err(text),
        }
    }

    #[test]
    fn the_command_line_of_nats_top_is_understood() {
        let options = look(&[
            "-s", "::1", "-m", "8333", "-n", "7", "-d", "2", "-sort", "subs", "-b", "-u", "-lookup",
        ])
        .expect("good");
        assert_eq!(options.place, "http://[::1]:8333");
        assert_eq!((options.limit, options.sort.name), (7, "subs"));
        assert_eq!(options.delay, Duration::from_secs(2));
        assert!(options.raw && options.subjects && options.lookup);
        assert!(options.report.is_none());
        let options = look(&["-ms", "8443", "-k"]).expect("good");
        assert_eq!(options.place, "https://127.0.0.1:8443");
        let report = look(&["-o", "-", "-l", ";"])
            .expect("good")
            .report
            .expect("one");
        assert_eq!(
            (report.file, report.delimiter.as_deref()),
            (None, Some(";"))
        );
        assert!(
            look(&["-version"])
                .err()
                .expect("text")
                .contains(env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn places_are_understood() {
        for (arguments, place) in [
            (&[][..], "http://127.0.0.1:8222"),
            (&["http://broker:1/base"], "http://broker:1/base"),
            (&["unix:/run/m.sock"], "unix:/run/m.sock"),
            (&["--socket", "/run/m.sock"], "unix:/run/m.sock"),
        ] {
            assert_eq!(
                look(arguments).map(|options| options.place).as_deref(),
                Ok(place)
            );
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_name() {
        for (arguments, text) in [
            (&["--delay", "0"][..], "--delay 0"),
            (&["--sort", "size"], "size"),
            (&["--sort", "reason"], "--state closed"),
            (&["ftp://x"], "must begin with http://"),
            (&["http://me:hidden@x"], "remove them"),
            (&["--nothing"], "--nothing"),
            (&["--token-file", "/no/such"], "/no/such"),
            (&["--user", "a", "--password-file", "/no/such"], "/no/such"),
            (&["https://x", "--cacert", "/no/such"], "/no/such"),
        ] {
            let error = look(arguments).err().expect("refused");
            assert!(error.contains(text), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn an_output_that_is_no_terminal_gets_one_report() {
        let Ok(Asked::Look(options)) = read([], false) else {
            panic!("refused");
        };
        assert!(options.report.is_some());
        assert_eq!(options.rounds, 1);
    }
}
