//! The address of the broker and the login.

use std::{env, fs, path::PathBuf, time::Duration};

use clap::ArgMatches;
use monitor_client::{Access, Client, Login, Tls};

use super::text;

/// Time limit of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The client, and the broker's name on the screen.
pub(super) fn client(matches: &ArgMatches) -> Result<(Client, String), String> {
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

/// Secrets come from files or the environment: all users of the machine can see arguments.
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
