//! The blocking client of a monitoring port.
//!
//! Used by the collectd plugin, `check_nats`, `midge top` and the tests. It asks exactly the
//! address it was given: no proxy from the environment, no redirect followed,
//! no connection kept between requests, every answer bounded in time and size.

use std::{error, fmt, io, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use ureq::{
    Agent,
    http::{StatusCode, Uri},
};

use crate::{
    Access, Connz, Healthz, Login, Subsz, Varz,
    unix::{NoLookup, UnixConnector},
};

/// Most bytes of an answer. The largest honest one, a full page of `/connz`
/// with its subscriptions, stays well below.
pub const BODY_LIMIT: u64 = 8 << 20;

const USER_AGENT: &str = concat!("midge-monitor-client/", env!("CARGO_PKG_VERSION"));

/// Asks one monitoring port.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    /// Without a slash at the end, so that a path can follow.
    base_url: String,
    login: Option<Login>,
    /// What an error calls the place: the base URL, or the socket.
    place: String,
    timeout: Duration,
}

impl Client {
    /// A client for `base_url` such as `http://127.0.0.1:8222`, a path prefix
    /// (`http_base_path`) included. `timeout` bounds one whole request, from
    /// the look-up of the name to the last byte of the body. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`] when `base_url` cannot be asked.
    pub fn new(base_url: &str, timeout: Duration) -> Result<Self, Error> {
        Self::with_access(base_url, timeout, &Access::default())
    }

    /// The same, with a Unix socket, a login or TLS. With a socket the URL's path
    /// alone counts: `http://localhost`.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`] when `base_url` cannot be asked, [`Error::File`] when
    /// a file for TLS cannot be used.
    pub fn with_access(base_url: &str, timeout: Duration, access: &Access) -> Result<Self, Error> {
        #[cfg(feature = "tls")]
        let tls = access.tls.as_ref().map(crate::tls::config).transpose()?;
        #[cfg(feature = "tls")]
        let https = tls.is_some();
        #[cfg(not(feature = "tls"))]
        let https = false;
        check_url(base_url, https)?;
        let config = Agent::config_builder()
            .user_agent(USER_AGENT)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(timeout));
        #[cfg(feature = "tls")]
        let config = match tls {
            Some(tls) => config.tls_config(tls),
            None => config,
        };
        let base_url = base_url.trim_end_matches('/').to_owned();
        let (agent, place) = match &access.unix_socket {
            Some(path) => {
                let place = format!("unix:{}", path.display());
                let connector = UnixConnector { path: path.clone() };
                (
                    Agent::with_parts(config.build(), connector, NoLookup),
                    place,
                )
            }
            None => (config.build().into(), base_url.clone()),
        };
        Ok(Self {
            agent,
            base_url,
            login: access.login.clone(),
            place,
            timeout,
        })
    }

    /// The URL that is asked, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Settings, totals and resources of the broker.
    ///
    /// # Errors
    /// Any [`Error`] but `InvalidUrl`, as with all requests.
    pub fn varz(&self) -> Result<Varz, Error> {
        self.get("/varz")
    }

    /// One page of connections; `query` such as `sort=pending&limit=5`, or empty.
    ///
    /// # Errors
    /// As [`Client::varz`].
    pub fn connz(&self, query: &str) -> Result<Connz, Error> {
        if query.is_empty() {
            return self.get("/connz");
        }
        self.get(&format!("/connz?{query}"))
    }

    /// The state of the subscription index.
    ///
    /// # Errors
    /// As [`Client::varz`].
    pub fn subsz(&self) -> Result<Subsz, Error> {
        self.get("/subsz")
    }

    /// Status code and body of `/healthz`. 500 and 503 are answers, not errors.
    ///
    /// # Errors
    /// As [`Client::varz`].
    pub fn healthz(&self) -> Result<(u16, Healthz), Error> {
        let url = self.place("/healthz");
        let (status, body) = self.fetch("/healthz")?;
        match status {
            StatusCode::OK
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::SERVICE_UNAVAILABLE => Ok((status.as_u16(), parse(&url, &body)?)),
            other => Err(Error::Status {
                url,
                code: other.as_u16(),
            }),
        }
    }

    /// The JSON object at `path`, which begins with a slash and may carry a query.
    ///
    /// # Errors
    /// As [`Client::varz`]; every status but 200 is an error.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let url = self.place(path);
        let (status, body) = self.fetch(path)?;
        if status != StatusCode::OK {
            let code = status.as_u16();
            return Err(Error::Status { url, code });
        }
        parse(&url, &body)
    }

    fn place(&self, path: &str) -> String {
        format!("{}{path}", self.place)
    }

    fn fetch(&self, path: &str) -> Result<(StatusCode, Vec<u8>), Error> {
        let fail = |error| self.error(&self.place(path), error);
        let mut request = self.agent.get(format!("{}{path}", self.base_url));
        if let Some(login) = &self.login {
            request = request.header("Authorization", login.header());
        }
        let mut response = request.call().map_err(fail)?;
        // Refused by its announced length, a huge body is not even read.
        if response.body().content_length() > Some(BODY_LIMIT) {
            return Err(fail(ureq::Error::BodyExceedsLimit(BODY_LIMIT)));
        }
        let status = response.status();
        let body = response.body_mut().with_config().limit(BODY_LIMIT);
        Ok((status, body.read_to_vec().map_err(fail)?))
    }

    fn error(&self, url: &str, error: ureq::Error) -> Error {
        let url = url.to_owned();
        match error {
            ureq::Error::BodyExceedsLimit(_) => Error::TooLarge { url },
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Error::Refused { url }
            }
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => Error::Timeout {
                url,
                after: self.timeout,
            },
            ureq::Error::Io(error) => Error::Connection {
                url,
                detail: error.to_string(),
            },
            ureq::Error::Timeout(_) => Error::Timeout {
                url,
                after: self.timeout,
            },
            other => Error::Connection {
                url,
                detail: other.to_string(),
            },
        }
    }
}

/// Why there is no answer to use. The text names the URL that was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The exchange failed otherwise: reset, host not found, not HTTP.
    Connection {
        /// What was asked.
        url: String,
        /// What the system or the HTTP parser says.
        detail: String,
    },
    /// A file for TLS cannot be used.
    File {
        /// Which.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The URL given to [`Client::new`] cannot be asked.
    InvalidUrl {
        /// The URL, without a password in it.
        url: String,
        /// What is wrong and what to write.
        reason: &'static str,
    },
    /// The answer is not the JSON that was expected.
    NotJson {
        /// What was asked.
        url: String,
        /// Which part does not fit.
        detail: String,
    },
    /// Nobody listens there.
    Refused {
        /// What was asked.
        url: String,
    },
    /// The answer has a status that carries no figures.
    Status {
        /// What was asked.
        url: String,
        /// HTTP status code.
        code: u16,
    },
    /// No complete answer within the time given to [`Client::new`].
    Timeout {
        /// What was asked.
        url: String,
        /// The time that was given.
        after: Duration,
    },
    /// The body is larger than [`BODY_LIMIT`].
    TooLarge {
        /// What was asked.
        url: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection { url, detail } => write!(f, "{url}: {detail}"),
            Self::File { path, detail } => write!(f, "{path}: {detail}"),
            Self::InvalidUrl { url, reason } => write!(f, "\"{url}\": {reason}"),
            Self::NotJson { url, detail } => write!(f, "{url}: answer not understood: {detail}"),
            Self::Refused { url } => write!(f, "{url}: connection refused"),
            Self::Status { url, code } => write!(f, "{url}: HTTP status {code}"),
            Self::Timeout { url, after } => {
                write!(f, "{url}: no answer within {} ms", after.as_millis())
            }
            Self::TooLarge { url } => {
                write!(f, "{url}: answer larger than {} MiB", BODY_LIMIT >> 20)
            }
        }
    }
}

impl error::Error for Error {}

fn check_url(url: &str, https: bool) -> Result<(), Error> {
    // What stands before an `@` may be a password: it must not reach a log.
    if let Some((_, host)) = url.split_once('@') {
        return Err(Error::InvalidUrl {
            url: format!("http://…@{host}"),
            reason: "a monitoring port takes no user and password: remove them",
        });
    }
    let fail = |reason| {
        Err(Error::InvalidUrl {
            url: url.to_owned(),
            reason,
        })
    };
    let Ok(uri) = url.parse::<Uri>() else {
        return fail("not a URL: write it like http://127.0.0.1:8222");
    };
    let Some(authority) = uri.authority() else {
        return fail("no host: write it like http://127.0.0.1:8222");
    };
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") if https => {}
        Some("https") => return fail("https is not supported: use http on a loopback address"),
        _ => return fail("must begin with http://"),
    }
    if authority.host().is_empty() {
        return fail("no host: write it like http://127.0.0.1:8222");
    }
    if authority.host() != authority.as_str() && authority.port_u16().is_none_or(|port| port == 0) {
        return fail("the port must be a number from 1 to 65535");
    }
    if uri.query().is_some() || url.contains('#') {
        return fail("must end with the host, the port or a path prefix");
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(url: &str, body: &[u8]) -> Result<T, Error> {
    let fail = |error: serde_json::Error| Error::NotJson {
        url: url.to_owned(),
        detail: error.to_string(),
    };
    // All answers are objects; serde would also fill a struct from an array.
    let object: Object<T> = serde_json::from_slice(body).map_err(fail)?;
    Ok(object.0)
}

/// A `T` that was written as a JSON object.
struct Object<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = serde_json::Map::deserialize(deserializer)?;
        T::deserialize(serde_json::Value::Object(map))
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}
