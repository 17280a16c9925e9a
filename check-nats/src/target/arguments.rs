//! The options that say which broker is checked and how it is reached.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, value_parser};

/// Options that take a secret in other programs and are refused here, and what to give instead.
const SECRETS: [(&str, &str); 7] = [
    ("--password", "--password-file FILE or $CHECK_NATS_PASSWORD"),
    ("--pass", "--password-file FILE or $CHECK_NATS_PASSWORD"),
    ("--token", "--token-file FILE or $CHECK_NATS_TOKEN"),
    ("--nkey", "--nkey-file FILE or $CHECK_NATS_NKEY"),
    ("--seed", "--nkey-file FILE or $CHECK_NATS_NKEY"),
    (
        "--monitor-password",
        "--monitor-password-file FILE or $MONITOR_PASSWORD",
    ),
    (
        "--monitor-token",
        "--monitor-token-file FILE or $MONITOR_TOKEN",
    ),
];

/// Headings of help and manual, in their order.
pub const HEADINGS: [&str; 2] = [TLS, LOGINS];

const TLS: &str = "TLS";
const LOGINS: &str = "Logins (no secret is an argument: all users of a host see these)";

/// All of them.
pub fn arguments() -> Vec<Arg> {
    let mut all = places();
    all.extend(tls());
    all.extend(logins());
    all
}

/// Refuses a secret on the command line, without quoting it. The parser does not know these
/// options: one of its messages might quote what follows them.
///
/// # Errors
/// What to give instead.
pub fn refuse_secrets(arguments: &[OsString]) -> Result<(), String> {
    for argument in arguments {
        let text = argument.to_string_lossy();
        let name = text.split('=').next().unwrap_or_default();
        if let Some((name, instead)) = SECRETS.iter().find(|(secret, _)| *secret == name) {
            return Err(format!(
                "{name}: all users of this host can see arguments: give {instead}, and change \
                 the secret"
            ));
        }
    }
    Ok(())
}

/// A path that was given.
pub(super) fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    matches.get_one::<PathBuf>(name).cloned()
}

fn places() -> Vec<Arg> {
    vec![
        value("hostname", "HOST")
            .short('H')
            .action(ArgAction::Append)
            .help(
                "Host of the broker, also as HOST:PORT, nats://HOST:PORT or tls://HOST:PORT; \
                 without -H and -p the client port is where /varz says. Each -H is a broker",
            ),
        value("port", "PORT")
            .short('p')
            .value_parser(value_parser!(u16).range(1..))
            .help("Client port, else 4222"),
        value("monitor-port", "PORT")
            .short('m')
            .value_parser(value_parser!(u16).range(1..))
            .help("Monitoring port at that host, else 8222"),
        value("url", "URL")
            .short('u')
            .action(ArgAction::Append)
            .help(
                "Monitoring port, in place of -m: http://HOST:PORT, https://HOST:PORT or \
                 unix:PATH; without -H too, this host's socket or 127.0.0.1:8222. Without -H \
                 each -u is a broker",
            ),
        file("socket", "PATH")
            .help("Unix socket of the monitoring port; a URL given as well adds the base path"),
        value("srv", "NAME").help(
            "DNS SRV record that lists the brokers, such as _nats-server._tcp.example.net, in \
             place of -H",
        ),
        value("nameserver", "ADDRESS[:PORT]")
            .help("--srv: name server to ask, else those of /etc/resolv.conf"),
    ]
}

fn tls() -> Vec<Arg> {
    let all = [
        switch("tls").help(
            "The client port must have TLS, else no login is sent; TLS that the broker requires \
             needs no option",
        ),
        switch("tls-first").help("TLS begins before INFO, as with handshake_first"),
        value("tls-server-name", "NAME")
            .help("Name that the client port's certificate must have, in place of the host"),
        switch("puppet").help(
            "As --tls, with certificate, key, CA and CRL of this host's Puppet agent; a broker on \
             this host must have its certname",
        ),
        file("ssldir", "DIR").help("--puppet: the agent's ssldir, else as in its settings"),
        file("cacert", "FILE").help("CAs that sign brokers' certificates, else the system's"),
        file("cert", "FILE")
            .requires("key")
            .help("The check's own certificate, with its chain"),
        file("key", "FILE").requires("cert").help("Its key"),
        file("crl", "FILE").help("CRLs: a broker with a revoked certificate is critical"),
        switch("insecure")
            .short('k')
            .help("Accept any certificate of the broker"),
    ];
    all.into_iter().map(|arg| arg.help_heading(TLS)).collect()
}

fn logins() -> Vec<Arg> {
    let all = [
        value("user", "NAME").help(
            "User at the client port, else $CHECK_NATS_USER; in mode path the user that is asked about",
        ),
        file("password-file", "FILE").help("File with the password, else $CHECK_NATS_PASSWORD"),
        file("token-file", "FILE").help("File with a token, else $CHECK_NATS_TOKEN"),
        file("nkey-file", "FILE").help("File with the seed of an nkey, else $CHECK_NATS_NKEY"),
        file("creds", "FILE")
            .help("Credentials file with a JWT and a seed, or its text in $CHECK_NATS_CREDS"),
        value("monitor-user", "NAME").help("User at the monitoring port, else $MONITOR_USER"),
        file("monitor-password-file", "FILE")
            .help("File with that user's password, else $MONITOR_PASSWORD"),
        file("monitor-token-file", "FILE")
            .help("File with a token of the monitoring port, else $MONITOR_TOKEN"),
    ];
    all.into_iter()
        .map(|arg| arg.help_heading(LOGINS))
        .collect()
}

fn value(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value)
}

fn file(name: &'static str, what: &'static str) -> Arg {
    value(name, what).value_parser(value_parser!(PathBuf))
}

fn switch(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}
