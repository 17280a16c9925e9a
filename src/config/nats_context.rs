//! `midge config nats-context`: the settings with which the command `nats` of the NATS project
//! asks a broker, for the first user of the system account. They are the content of a file in
//! `~/.config/nats/context`.
//!
//! The command line reads file and flags as for a start and calls [`context`]; `main` prints the
//! text.

use std::{fs, net::IpAddr};

use serde_json::{Value, json};

use super::options::Options;
use crate::security::own_certificates;

/// Where clients connect if the port is any free one.
const DEFAULT_PORT: u16 = 4222;

/// The host's name, for a certificate that says none.
const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";

/// The context as JSON, with the password in plain text: that is what the file is for.
///
/// # Errors
///
/// Nobody can log in to the system account, or its user's password is not known in plain text.
pub(super) fn context(options: &Options) -> Result<String, String> {
    let account = &options.system_account;
    let users = options.authorization.users.iter();
    let mut users = users.filter(|user| user.account == *account);
    let missing = || {
        format!(
            "the system account {account} has no user with a password: write accounts {{ {account} \
             {{ users: [{{ user: NAME, password: PASSWORD }}] }} }}"
        )
    };
    let user = users.find(|user| user.password().is_some());
    let user = user
        .filter(|_| !options.no_system_account)
        .ok_or_else(missing)?;
    let password = user.password().ok_or_else(missing)?;
    if password.is_hash() {
        return Err(format!(
            "the configuration has only a hash of the password of {}: use nats context save \
             --user {} --password PASSWORD",
            user.name, user.name
        ));
    }
    let mut context = json!({
        "description": format!("system account {account} of midge"),
        "url": url(options),
        "user": user.name,
        "password": password.reveal(),
    });
    if let Some(tls) = &options.tls {
        let path = |file: &std::path::Path| Value::from(file.display().to_string());
        if let Some(file) = &tls.ca_file {
            context["ca"] = path(file);
        }
        if let Some(pair) = tls.certificates.first().filter(|_| tls.verify) {
            context["cert"] = path(&pair.cert_file);
            context["key"] = path(&pair.key_file);
        }
    }
    Ok(format!("{context:#}\n"))
}

/// The address of the client port, as clients of this machine use it.
fn url(options: &Options) -> String {
    let port = match options.port {
        0 => DEFAULT_PORT,
        port => port,
    };
    let host = match options.host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => {
            host_of_tls(options).unwrap_or_else(|| "127.0.0.1".to_owned())
        }
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => options.host.clone(),
    };
    format!("nats://{host}:{port}")
}

/// The name that the command checks the broker's certificate for, which no certificate of Puppet
/// has an address for; `None` without TLS.
fn host_of_tls(options: &Options) -> Option<String> {
    let pair = options.tls.as_ref()?.certificates.first()?;
    // A certificate that cannot be used is no reason to say nothing: a start says what is wrong.
    let certname = own_certificates::host_of(&pair.cert_file).ok().flatten();
    let host = || fs::read_to_string(HOSTNAME_FILE).ok();
    let host = || host().map(|name| name.trim().to_owned());
    certname.or_else(|| host().filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Invocation, parse};

    fn of(text: &str) -> Result<Value, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("midge.conf");
        std::fs::write(&file, text).expect("write the file");
        let words = ["midge", "config", "nats-context", "-c"].map(Into::into);
        let parsed = parse(words.into_iter().chain([file.into_os_string()]));
        match parsed.map(|parsed| parsed.invocation) {
            Ok(Invocation::Print(text)) => Ok(serde_json::from_str(&text).expect("JSON")),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_first_user_with_a_password_is_the_context() {
        let context = of(
            "listen: \"0.0.0.0:4223\"\nsystem_account: S\naccounts {\n A { users: [{user: a, password: a}] }\n\
             S { users: [{user: s, password: \"p w\"}, {user: t, password: t}] }\n}",
        )
        .expect("a context");
        assert_eq!(
            context,
            json!({
                "description": "system account S of midge",
                "url": "nats://127.0.0.1:4223",
                "user": "s",
                "password": "p w",
            })
        );
    }

    #[test]
    fn with_tls_the_host_is_one_that_the_certificate_names() {
        let pki = test_support::pki::Pki::new(&["broker.example.net"]);
        let [cert, key] = ["pem", "key"].map(|end| pki.text(&format!("broker.example.net.{end}")));
        for (host, url) in [
            // Its alternative names are those that count.
            ("0.0.0.0", "nats://localhost:4222"),
            ("192.0.2.7", "nats://192.0.2.7:4222"),
        ] {
            let context = of(&format!(
                "host: {host:?}\nsystem_account: S\naccounts {{ S {{ users: [{{user: s, password: s}}] }} }}\n\
                 tls {{ cert_file: {cert:?}, key_file: {key:?} }}\n"
            ));
            assert_eq!(context.expect("a context")["url"], url);
        }
    }

    #[test]
    fn without_a_user_it_says_what_is_missing() {
        for (text, why) in [
            ("port: 5", "has no user"),
            (
                "accounts { A { users: [{user: a, password: a}] } }",
                "$SYS has no user",
            ),
            (
                "accounts { $SYS { users: [{user: s, password: \
                 \"$2a$11$abcdefghijklmnopqrstuudjoshsIZ5vIFeg3JkRnFnUOCrm..Sui\"}] } }",
                "only a hash",
            ),
        ] {
            let error = of(text).expect_err(text);
            assert!(error.contains(why), "{error}");
        }
    }
}
