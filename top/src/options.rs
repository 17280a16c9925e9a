//! The parsed command line; [`arguments`] defines its syntax.
//!
//! It also accepts the options of nats-top, which have a single dash: `-sort subs`.

mod access;
mod arguments;
#[cfg(test)]
mod completions;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgMatches, error::ErrorKind};
use monitor_client::{Client, text::query_value};

use self::{
    access::client,
    arguments::{STATES, command, manual},
};
use crate::{
    sort::{SORTS, Sort},
    view::View,
};

/// The action requested by the command line.
pub(crate) enum Request {
    /// Show a broker.
    Show(Box<Options>),
    /// Print the text that a broker has at this path and exit.
    Fetch(Box<Client>, String),
    /// Print this text and exit.
    Print(String),
}

/// The broker, and how to show it.
pub(crate) struct Options {
    /// The broker.
    pub(crate) client: Client,
    /// Its name on the screen.
    pub(crate) place: String,
    /// Time between two rounds.
    pub(crate) delay: Duration,
    /// Number of connections to request.
    pub(crate) limit: usize,
    /// `open`, `closed` or `any`.
    pub(crate) state: &'static str,
    /// Sort order of the connections.
    pub(crate) sort: &'static Sort,
    /// Filter of the connections.
    pub(crate) filter: String,
    /// The first view.
    pub(crate) view: View,
    /// Whether numbers are shown with all digits.
    pub(crate) raw: bool,
    /// Whether the subjects of connections are shown.
    pub(crate) subjects: bool,
    /// Whether addresses are shown as names.
    pub(crate) lookup: bool,
    /// Number of rounds; 0 for no limit.
    pub(crate) rounds: u64,
    /// Text output instead of the screen.
    pub(crate) report: Option<Report>,
}

/// Text output instead of the screen.
pub(crate) struct Report {
    /// The output file; `None` for standard output.
    pub(crate) file: Option<PathBuf>,
    /// Write only the connections, with this between the columns.
    pub(crate) delimiter: Option<String>,
}

/// Long options that nats-top has with a single dash.
const ONE_DASH: [&str; 7] = ["cacert", "cert", "key", "lookup", "ms", "sort", "version"];

/// Parses the arguments after `midge top`. `is_terminal` says whether standard output is a
/// terminal.
///
///  # Errors
///
/// What is wrong with them, for standard error.
pub(crate) fn read(
    arguments: impl IntoIterator<Item = OsString>,
    is_terminal: bool,
) -> Result<Request, String> {
    let arguments = arguments.into_iter().map(two_dashes);
    let matches =
        command().try_get_matches_from([OsString::from("midge top")].into_iter().chain(arguments));
    match matches {
        Ok(matches) if matches.get_flag("man") => Ok(Request::Print(manual())),
        Ok(matches) if matches.contains_id("path") => {
            let (client, _) = client(&matches)?;
            Ok(Request::Fetch(Box::new(client), pathz(&matches)))
        }
        Ok(matches) => {
            options(&matches, is_terminal).map(|options| Request::Show(Box::new(options)))
        }
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            Ok(Request::Print(error.render().to_string()))
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

/// The path of `/pathz` with its query.
fn pathz(matches: &ArgMatches) -> String {
    let subject = query_value(text(matches, "path"));
    let mut path = format!("/pathz?format=text&subject={subject}");
    for (option, parameter) in [("as-user", "user"), ("as-account", "account")] {
        if let Some(name) = matches.get_one::<String>(option) {
            path.push_str(&format!("&{parameter}={}", query_value(name)));
        }
    }
    path
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let arguments = arguments.iter().map(OsString::from);
        match read(arguments, true)? {
            Request::Show(options) => Ok(*options),
            Request::Print(text) | Request::Fetch(_, text) => Err(text),
        }
    }

    #[test]
    fn a_path_is_one_question() {
        let asked = |arguments: &[&str]| parse(arguments).err().expect("no screen");
        assert_eq!(
            asked(&["--path", "orders.é", "--as-user", "A&B"]),
            "/pathz?format=text&subject=orders.%C3%A9&user=A%26B"
        );
        assert_eq!(
            asked(&["--path", "a", "--as-account", "X", "http://localhost:8222"]),
            "/pathz?format=text&subject=a&account=X"
        );
        assert!(asked(&["--as-user", "a"]).contains("--path"));
        assert!(asked(&["--path", "a", "--once"]).contains("cannot be used"));
    }

    #[test]
    fn the_options_of_nats_top_are_accepted() {
        let options = parse(&[
            "-s", "::1", "-m", "8333", "-n", "7", "-d", "2", "-sort", "subs", "-b", "-u", "-lookup",
        ])
        .expect("good");
        assert_eq!(options.place, "http://[::1]:8333");
        assert_eq!((options.limit, options.sort.name), (7, "subs"));
        assert_eq!(options.delay, Duration::from_secs(2));
        assert!(options.raw && options.subjects && options.lookup);
        assert!(options.report.is_none());
        let options = parse(&["-ms", "8443", "-k"]).expect("good");
        assert_eq!(options.place, "https://127.0.0.1:8443");
        let report = parse(&["-o", "-", "-l", ";"])
            .expect("good")
            .report
            .expect("one");
        assert_eq!(
            (report.file, report.delimiter.as_deref()),
            (None, Some(";"))
        );
        assert!(
            parse(&["-version"])
                .err()
                .expect("text")
                .contains(env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn urls_and_sockets_are_accepted() {
        for (arguments, place) in [
            (&[][..], "http://127.0.0.1:8222"),
            (&["http://broker:1/base"], "http://broker:1/base"),
            (&["unix:/run/m.sock"], "unix:/run/m.sock"),
            (&["--socket", "/run/m.sock"], "unix:/run/m.sock"),
        ] {
            assert_eq!(
                parse(arguments).map(|options| options.place).as_deref(),
                Ok(place)
            );
        }
    }

    #[test]
    fn invalid_arguments_are_named() {
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
            let error = parse(arguments).err().expect("refused");
            assert!(error.contains(text), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn without_a_terminal_one_report_is_written() {
        let Ok(Request::Show(options)) = read([], false) else {
            panic!("refused");
        };
        assert!(options.report.is_some());
        assert_eq!(options.rounds, 1);
    }
}
