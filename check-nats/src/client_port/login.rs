//! The login at the client port: read from its files before the connection is opened, and sent in
//! CONNECT. A secret gets into no message.

use chrono::DateTime;
use data_encoding::BASE64URL_NOPAD;
use monitor_client::{Secret, files, secret};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Info, nkey::Nkey};
use crate::{
    status::Failure,
    target::{LoginSource, SecretSource},
    text::quoted,
};

/// Largest credentials file in bytes; usual ones have about 1 KiB.
const CREDENTIALS_BYTES_MAX: u64 = 64 * 1024;

/// A login, ready to be sent.
pub struct Login {
    kind: Kind,
    /// What it is called in messages, with the place of its secret.
    name: String,
    /// What to do when the broker refuses it.
    remedy: String,
    warning: Option<String>,
}

enum Kind {
    None,
    Password { user: String, password: Secret },
    Token(Secret),
    Nkey(Nkey),
    Credentials { jwt: String, nkey: Nkey },
}

impl Login {
    /// No login.
    pub fn none() -> Self {
        Self {
            kind: Kind::None,
            name: "a client without a login".to_owned(),
            remedy: "give --user and --password-file, --token-file, --nkey-file or --creds"
                .to_owned(),
            warning: None,
        }
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should: unknown.
    pub fn read(source: &LoginSource) -> Result<Self, Failure> {
        match source {
            LoginSource::None => Ok(Self::none()),
            LoginSource::Password { user, password } => {
                let (secret, warning) = one_line(password)?;
                Ok(Self {
                    kind: Kind::Password {
                        user: user.clone(),
                        password: secret,
                    },
                    name: format!("user {} ({password})", quoted(user)),
                    remedy: "check the name and the password".to_owned(),
                    warning,
                })
            }
            LoginSource::Token(token) => {
                let (secret, warning) = one_line(token)?;
                Ok(Self {
                    kind: Kind::Token(secret),
                    name: format!("the token of {token}"),
                    remedy: "check that it is the broker's".to_owned(),
                    warning,
                })
            }
            LoginSource::Nkey(seed) => {
                let (secret, warning) = one_line(seed)?;
                let nkey = parse_seed(secret.text(), seed)?;
                Ok(Self {
                    name: format!("nkey {} ({seed})", nkey.public_key()),
                    kind: Kind::Nkey(nkey),
                    remedy: "check that the broker has a user with this key".to_owned(),
                    warning,
                })
            }
            LoginSource::Credentials(source) => Self::of_credentials(source),
        }
    }

    fn of_credentials(source: &SecretSource) -> Result<Self, Failure> {
        let (text, warning) = match source {
            SecretSource::Variable { secret, .. } => (secret.text().to_owned(), None),
            SecretSource::File { option, path } => {
                let content = files::read(path, CREDENTIALS_BYTES_MAX)
                    .map_err(|error| Failure::unknown(format!("{option} {error}")))?;
                let text = String::from_utf8_lossy(&content.bytes).into_owned();
                (text, content.is_public.then(|| files::public_warning(path)))
            }
        };
        let missing = |what: &str| {
            Failure::unknown(format!(
                "{source} holds no {what}: it needs a block -----BEGIN NATS USER JWT----- and a \
                 block -----BEGIN USER NKEY SEED-----, as nsc writes them"
            ))
        };
        let jwt = block(&text, "JWT").ok_or_else(|| missing("JWT"))?;
        let seed = block(&text, "SEED").ok_or_else(|| missing("seed"))?;
        let nkey = parse_seed(seed, source)?;
        let claims = Claims::of(jwt).unwrap_or_default();
        let end = DateTime::from_timestamp(claims.exp, 0).filter(|_| claims.exp > 0);
        let remedy = match end {
            Some(end) if end < chrono::Utc::now() => format!("they expired on {end}: renew them"),
            _ => "check that the broker trusts their account".to_owned(),
        };
        Ok(Self {
            name: format!(
                "the credentials of user {} ({source})",
                quoted(&claims.name)
            ),
            kind: Kind::Credentials {
                jwt: jwt.to_owned(),
                nkey,
            },
            remedy,
            warning,
        })
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        matches!(self.kind, Kind::None)
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What to do when a broker refuses it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// That others can read its file.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// The line CONNECT; `None` if it needs a signature and the broker sent nothing to sign.
    pub(super) fn connect(&self, info: &Info, has_tls: bool) -> Option<String> {
        let mut options = json!({
            "verbose": false,
            "pedantic": false,
            "protocol": 0,
            "lang": "rust",
            "name": "check_nats",
            "version": env!("CARGO_PKG_VERSION"),
            "tls_required": has_tls,
        });
        let signed =
            |nkey: &Nkey| (!info.nonce.is_empty()).then(|| Value::from(nkey.sign(&info.nonce)));
        match &self.kind {
            Kind::None => (),
            Kind::Password { user, password } => {
                options["user"] = user.as_str().into();
                options["pass"] = password.text().into();
            }
            Kind::Token(token) => options["auth_token"] = token.text().into(),
            Kind::Nkey(nkey) => {
                options["nkey"] = nkey.public_key().into();
                options["sig"] = signed(nkey)?;
            }
            Kind::Credentials { jwt, nkey } => {
                options["jwt"] = jwt.as_str().into();
                options["sig"] = signed(nkey)?;
            }
        }
        Some(format!("CONNECT {options}\r\n"))
    }
}

/// What is read of a JWT. The broker verifies it, not the check.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    name: String,
    /// Seconds since 1970; 0 for no end.
    exp: i64,
}

impl Claims {
    fn of(jwt: &str) -> Option<Self> {
        let payload = jwt.split('.').nth(1)?;
        let json = BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// The secret, and that others can read its file.
fn one_line(source: &SecretSource) -> Result<(Secret, Option<String>), Failure> {
    match source {
        SecretSource::Variable { secret, .. } => Ok((secret.clone(), None)),
        SecretSource::File { option, path } => {
            secret::read(path).map_err(|error| Failure::unknown(format!("{option} {error}")))
        }
    }
}

fn parse_seed(seed: &str, source: &SecretSource) -> Result<Nkey, Failure> {
    Nkey::parse(seed).map_err(|why| Failure::unknown(format!("{source} {why}")))
}

/// The line in the block whose BEGIN line ends with this word.
fn block<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| {
        let title = line.trim_matches('-');
        line.starts_with("---") && title.starts_with("BEGIN") && title.ends_with(word)
    })?;
    lines
        .find(|line| !line.is_empty())
        .filter(|line| !line.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SEED: &str = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";

    fn credentials(text: &str) -> Result<Login, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("user.creds");
        fs::write(&path, text).unwrap();
        let option = "--creds";
        Login::read(&LoginSource::Credentials(SecretSource::File {
            option,
            path,
        }))
    }

    fn file_of(claims: &str, seed: &str) -> String {
        let payload = BASE64URL_NOPAD.encode(claims.as_bytes());
        format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.{payload}.c2ln\n------END NATS USER JWT------\n\n\
             *** IMPORTANT ***\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n\
             ------END USER NKEY SEED------\n"
        )
    }

    #[test]
    fn credentials_are_signed_and_named() {
        let text = file_of("{\"name\":\"nagios\",\"exp\":1000}", SEED);
        for text in [text.clone(), text.replace('\n', "\r\n")] {
            let login = credentials(&text).unwrap();
            assert!(
                login
                    .name()
                    .starts_with("the credentials of user \"nagios\" (--creds /")
            );
            assert_eq!(
                login.remedy(),
                "they expired on 1970-01-01 00:16:40 UTC: renew them"
            );
            let mut info = Info::default();
            assert!(login.connect(&info, false).is_none());
            info.nonce = "nonce".into();
            let line = login.connect(&info, true).unwrap();
            let json = line.strip_prefix("CONNECT ").unwrap();
            let options: Value = serde_json::from_str(json).unwrap();
            assert_eq!(options["tls_required"], true);
            assert_eq!(options["sig"].as_str().map(str::len), Some(86));
            assert!(options["jwt"].as_str().unwrap().starts_with("eyJ0."));
            assert!(!line.contains(SEED));
        }
    }

    #[test]
    fn what_a_credentials_file_lacks_is_named() {
        let whole = file_of("{}", SEED);
        for (text, words) in [
            ("", "holds no JWT"),
            (&*whole.replace("USER JWT", "USER"), "holds no JWT"),
            (&whole.replace("NKEY SEED", "NKEY"), "holds no seed"),
            (&whole.replace(SEED, ""), "holds no seed"),
            (&whole.replace(SEED, "SUBAD"), "58 characters"),
        ] {
            let why = credentials(text).err().expect("refused").text;
            assert!(why.contains(words) && !why.contains(SEED), "{why}");
        }
    }

    /// Whatever characters a user or password has, CONNECT is one line of JSON.
    #[test]
    fn connect_is_one_line() {
        let (user, text) = ("a\"b\\c\r\nPUB x 0", "p\"}\r\n");
        let login = Login::read(&LoginSource::Password {
            user: user.into(),
            password: SecretSource::Variable {
                name: "X",
                secret: Secret::new(text),
            },
        })
        .unwrap();
        let line = login.connect(&Info::default(), false).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        let options: Value = serde_json::from_str(&line["CONNECT ".len()..]).unwrap();
        assert_eq!(
            (&options["user"], &options["pass"]),
            (&user.into(), &text.into())
        );
    }
}
