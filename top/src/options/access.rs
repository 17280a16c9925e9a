//! The address of the broker and the login.

use std::{env, path::PathBuf, time::Duration};

use clap::{ArgMatches, parser::ValueSource};
use monitor_client::{Access, Client, OptionNames, Tls, url_of};

use super::text;

/// Time limit of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

const NAMES: OptionNames = OptionNames {
    url: "URL",
    socket: "--socket",
    user: "--user",
    password: "$MONITOR_PASSWORD",
    password_file: "--password-file",
    token: "$MONITOR_TOKEN",
    token_file: "--token-file",
    ca: "--cacert",
    certificate: "--cert",
    key: "--key",
    insecure: "--insecure",
};

/// The client, and the broker's name on the screen.
pub(super) fn client(matches: &ArgMatches) -> Result<(Client, String), String> {
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let user = matches.get_one::<String>("user").cloned();
    let mut access = Access {
        url: url(matches),
        socket: path("socket"),
        user: user.filter(|user| !user.is_empty()),
        password_file: path("password-file"),
        token_file: path("token-file"),
        tls: Tls {
            ca: path("cacert"),
            certificate: path("cert"),
            key: path("key"),
            insecure: matches.get_flag("insecure"),
            ..Tls::default()
        },
        ..Access::default()
    };
    access.complete_login(|name| env::var(name).ok());
    let client = Client::with_access(access, &NAMES, TIMEOUT).map_err(|error| error.to_string())?;
    client.read_files().map_err(|error| error.to_string())?;
    let place = client.place();
    Ok((client, place))
}

/// The URL that was given, as a whole or in parts.
fn url(matches: &ArgMatches) -> Option<String> {
    if let Some(url) = matches.get_one::<String>("url") {
        return Some(url.clone());
    }
    let host = text(matches, "server");
    let is_given = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
    match (matches.get_one::<u16>("ms"), matches.get_one::<u16>("port")) {
        (Some(port), _) => Some(url_of(host, *port, true)),
        (None, Some(port)) if is_given("server") || is_given("port") => {
            Some(url_of(host, *port, false))
        }
        _ => None,
    }
}
