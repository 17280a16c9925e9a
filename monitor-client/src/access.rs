//! How to reach a monitoring port: a URL or a Unix socket, a login, TLS. The collectd plugin,
//! `check_nats` and `midge top` fill an [`Access`] from their options; [`Client`](crate::Client) is
//! created with it.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use data_encoding::BASE64;

use crate::{
    Error, Secret,
    files::fault,
    place::{Place, Target, TcpTarget},
    secret,
};

/// The Unix socket that is used if an operator names neither a URL nor a socket, and it can be
/// opened.
pub const DEFAULT_SOCKET: &str = "/run/midge/monitor.sock";

/// The URL that is used otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8222";

/// What the operator wrote. The default is the broker on this host, without a login.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// `http://HOST:PORT`, `https://HOST:PORT`, both perhaps with a path prefix
    /// (`http_base_path`), or `unix:PATH`.
    pub url: Option<String>,
    /// A Unix socket; of a URL given as well, only the path prefix is used.
    pub socket: Option<PathBuf>,
    /// The user of the login.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The token of the login.
    pub token: Option<Secret>,
    /// The file that holds the token.
    pub token_file: Option<PathBuf>,
    /// The files for https.
    pub tls: Tls,
}

/// Files for TLS, in PEM. The default trusts the CAs of the system and shows no certificate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// CAs to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate of this client, with its chain; needs the key.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// CRLs of the CAs.
    pub crl: Option<PathBuf>,
    /// Whether any certificate of the broker is accepted.
    pub insecure: bool,
}

/// How a program calls the options, for error texts: `PasswordFile` or `--password-file`.
#[derive(Clone, Copy, Debug)]
pub struct OptionNames {
    /// [`Access::url`]
    pub url: &'static str,
    /// [`Access::socket`]
    pub socket: &'static str,
    /// [`Access::user`]
    pub user: &'static str,
    /// [`Access::password`]
    pub password: &'static str,
    /// [`Access::password_file`]
    pub password_file: &'static str,
    /// [`Access::token`]
    pub token: &'static str,
    /// [`Access::token_file`]
    pub token_file: &'static str,
    /// [`Tls::ca`]
    pub ca: &'static str,
    /// [`Tls::certificate`]
    pub certificate: &'static str,
    /// [`Tls::key`]
    pub key: &'static str,
    /// [`Tls::insecure`]
    pub insecure: &'static str,
}

/// The URL of a port; an IPv6 address may be written with or without brackets.
pub fn url_of(host: &str, port: u16, is_https: bool) -> String {
    let scheme = if is_https { "https" } else { "http" };
    match host.contains(':') && !host.starts_with('[') {
        true => format!("{scheme}://[{host}]:{port}"),
        false => format!("{scheme}://{host}:{port}"),
    }
}

/// Names for programs without options of their own, such as tests.
pub(crate) const PLAIN_NAMES: OptionNames = OptionNames {
    url: "the URL",
    socket: "the socket",
    user: "the user",
    password: "the password",
    password_file: "the password's file",
    token: "the token",
    token_file: "the token's file",
    ca: "the CA's file",
    certificate: "the certificate's file",
    key: "the key's file",
    insecure: "accepting any certificate",
};

impl Access {
    /// Completes the login from environment variables, which other users of the host cannot see:
    /// `MONITOR_TOKEN`, or `MONITOR_USER` and `MONITOR_PASSWORD`. Options come first.
    pub fn complete_login(&mut self, variable: impl Fn(&str) -> Option<String>) {
        let variable = |name| variable(name).filter(|text| !text.is_empty());
        if self.user.is_none() && self.token.is_none() && self.token_file.is_none() {
            self.token = variable("MONITOR_TOKEN").map(Secret::new);
        }
        if self.token.is_some() || self.token_file.is_some() {
            return;
        }
        if self.user.is_none() {
            self.user = variable("MONITOR_USER");
        }
        if self.user.is_some() && self.password_file.is_none() && self.password.is_none() {
            self.password = variable("MONITOR_PASSWORD").map(Secret::new);
        }
    }

    /// Where it leads, if its settings go together.
    ///
    ///  # Errors
    ///
    /// [`Error::InvalidUrl`], or [`Error::Option`] with what to change.
    pub(crate) fn check(&self, names: &OptionNames) -> Result<Place, Error> {
        let url = self.url.as_deref();
        let place = match (url.and_then(|url| url.strip_prefix("unix:")), &self.socket) {
            (Some(_), Some(_)) => Err(option(format!(
                "{} unix:… and {} mean the same: give one of them",
                names.url, names.socket
            ))),
            (Some(path), None) => Target::of_socket(path.into(), DEFAULT_URL).map(Place::Named),
            (None, Some(path)) => {
                let url = url.unwrap_or(DEFAULT_URL);
                Target::of_socket(path.clone(), url).map(Place::Named)
            }
            (None, None) => url.map_or(Ok(Place::ThisHost), |url| {
                TcpTarget::of_url(url).map(|target| Place::Named(Target::Tcp(target)))
            }),
        }?;
        self.check_login(names)?;
        self.check_tls(place.is_https(), names)?;
        Ok(place)
    }

    fn check_login(&self, names: &OptionNames) -> Result<(), Error> {
        let has_password = self.password.is_some() || self.password_file.is_some();
        let has_token = self.token.is_some() || self.token_file.is_some();
        let OptionNames {
            user,
            password,
            password_file,
            token,
            token_file,
            ..
        } = names;
        let complaint = match self {
            Self {
                password: Some(_),
                password_file: Some(_),
                ..
            } => format!("{password} and {password_file} exclude each other"),
            Self {
                token: Some(_),
                token_file: Some(_),
                ..
            } => format!("{token} and {token_file} exclude each other"),
            Self { user: Some(_), .. } if has_token => {
                format!("a token needs no {user}: give {user} with a password, or {token_file}")
            }
            Self { user: Some(_), .. } if !has_password => {
                format!("{user} needs {password_file} or {password}")
            }
            Self { user: None, .. } if has_password => format!("a password needs {user}"),
            Self {
                user: Some(name), ..
            } if name.contains(':') || name.contains(char::is_control) => {
                format!("{user}: a colon or control character cannot be sent in a user name")
            }
            _ => return self.check_token(names),
        };
        Err(option(complaint))
    }

    fn check_token(&self, names: &OptionNames) -> Result<(), Error> {
        match &self.token {
            Some(token) if !is_sendable(token) => {
                Err(option(format!("{}: {NOT_SENDABLE}", names.token)))
            }
            _ => Ok(()),
        }
    }

    /// An option without effect must not be accepted in silence.
    fn check_tls(&self, is_https: bool, names: &OptionNames) -> Result<(), Error> {
        let OptionNames {
            url,
            ca,
            certificate,
            key,
            insecure,
            ..
        } = names;
        let Tls {
            ca: ca_file,
            certificate: certificate_file,
            key: key_file,
            crl: _,
            insecure: is_insecure,
        } = &self.tls;
        if certificate_file.is_some() != key_file.is_some() {
            let text = format!("{certificate} and {key} belong together: give both or neither");
            return Err(option(text));
        }
        let given = [
            (ca_file.is_some(), ca),
            (certificate_file.is_some(), certificate),
            (*is_insecure, insecure),
        ];
        match given.into_iter().find(|(is_given, _)| *is_given) {
            Some((_, name)) if !is_https => Err(option(format!(
                "{name} has no effect here: {url} must begin with https://"
            ))),
            _ => Ok(()),
        }
    }

    /// The value of the header `Authorization`, from the files as they are now, and warnings.
    ///
    ///  # Errors
    ///
    /// [`Error::File`] for a file that cannot be used.
    pub(crate) fn login(&self) -> Result<Login, Error> {
        let mut warnings = Vec::new();
        let mut read = |given: &Option<Secret>, file: &Option<PathBuf>| match (given, file) {
            (Some(secret), _) => Ok(Some(secret.clone())),
            (None, Some(path)) => {
                let (secret, warning) = secret::read(path)?;
                warnings.extend(warning);
                Ok(Some(secret))
            }
            (None, None) => Ok(None),
        };
        let token = read(&self.token, &self.token_file)?;
        let password = read(&self.password, &self.password_file)?;
        if let (Some(token), Some(path)) = (&token, &self.token_file)
            && !is_sendable(token)
        {
            return Err(fault(path, NOT_SENDABLE.to_owned()));
        }
        let header = match (token, &self.user, password) {
            (Some(token), ..) => Some(format!("Bearer {}", token.text())),
            (None, Some(user), Some(password)) => {
                let pair = format!("{user}:{}", password.text());
                Some(format!("Basic {}", BASE64.encode(pair.as_bytes())))
            }
            _ => None,
        };
        Ok(Login {
            header: header.map(Secret::new),
            warnings,
        })
    }

    /// All files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let Tls {
            ca,
            certificate,
            key,
            crl,
            insecure: _,
        } = &self.tls;
        let Self {
            password_file,
            token_file,
            ..
        } = self;
        let files = [password_file, token_file, ca, certificate, key, crl];
        files.into_iter().flatten()
    }
}

/// What [`Access::login`] returns.
pub(crate) struct Login {
    /// The value of the header `Authorization`.
    pub(crate) header: Option<Secret>,
    /// Files that every user of the host can read.
    pub(crate) warnings: Vec<String>,
}

const NOT_SENDABLE: &str = "only visible ASCII characters can be sent as a token";

/// Whether a request can carry it.
fn is_sendable(token: &Secret) -> bool {
    token.text().bytes().all(|byte| byte.is_ascii_graphic())
}

fn option(text: String) -> Error {
    Error::Option { text }
}
