//! The blocking client of a monitoring port.
//!
//! The collectd plugin, `check_nats`, `midge top` and the tests use it. It connects exactly to the
//! given address: no proxy from the environment, no redirects, no connections kept between
//! requests, and every answer limited in time and size.

use std::{
    error, fmt, io,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use ureq::{
    Agent,
    http::{StatusCode, Uri},
};

use crate::{
    Access, Bounds, Connz, Field, Found, Healthz, Kind, Login, Subsz, Varz,
    inspect::{self, Mismatch},
    unix::{NoLookup, UnixConnector},
};

/// What an answer of `/healthz` must contain.
const HEALTHZ: &[Field<'_>] = &[Field {
    name: "status",
    kind: Kind::Word(&["ok", "unavailable", "error"]),
}];

const USER_AGENT: &str = concat!("midge-monitor-client/", env!("CARGO_PKG_VERSION"));

/// A client of one monitoring port.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    /// Without a final slash, so that a path can be appended.
    base_url: String,
    login: Option<Login>,
    /// The target in error messages: the base URL, or the socket.
    target: String,
    timeout: Duration,
}

impl Client {
    /// A client for `base_url` such as `http://127.0.0.1:8222`, including a path prefix
    /// (`http_base_path`). `timeout` limits a whole request, from name resolution to the last byte
    /// of the body. Does not send anything yet.
    ///
    ///  # Errors
    ///
    /// [`Error::InvalidUrl`] if `base_url` cannot be used.
    pub fn new(base_url: &str, timeout: Duration) -> Result<Self, Error> {
        Self::with_access(base_url, timeout, &Access::default())
    }

    /// The same, with a Unix socket, a login or TLS. With a socket only the URL's path matters:
    /// `http://localhost`.
    ///
    ///  # Errors
    ///
    /// [`Error::InvalidUrl`] if `base_url` cannot be used, [`Error::File`] if a file for TLS cannot
    /// be used.
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
        let (agent, target) = match &access.unix_socket {
            Some(path) => {
                // A blank keeps the socket's path and the request's apart.
                let target = format!("unix:{} ", path.display());
                let connector = UnixConnector { path: path.clone() };
                (
                    Agent::with_parts(config.build(), connector, NoLookup),
                    target,
                )
            }
            None => (config.build().into(), base_url.clone()),
        };
        Ok(Self {
            agent,
            base_url,
            login: access.login.clone(),
            target,
            timeout,
        })
    }

    /// The base URL, without a final slash.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Settings, totals and resources of the broker.
    ///
    ///  # Errors
    ///
    /// Any [`Error`] except `InvalidUrl`, as for all requests.
    pub fn varz(&self) -> Result<Varz, Error> {
        self.get("/varz")
    }

    /// One page of connections; `query` is empty or such as `sort=pending&limit=5`.
    ///
    ///  # Errors
    ///
    /// As for [`Client::varz`].
    pub fn connz(&self, query: &str) -> Result<Connz, Error> {
        if query.is_empty() {
            return self.get("/connz");
        }
        self.get(&format!("/connz?{query}"))
    }

    /// The state of the subscription index.
    ///
    ///  # Errors
    ///
    /// As for [`Client::varz`].
    pub fn subsz(&self) -> Result<Subsz, Error> {
        self.get("/subsz")
    }

    /// Status code and body of `/healthz`. 500 and 503 are answers and not errors if the body has a
    /// status of a broker.
    ///
    ///  # Errors
    ///
    /// As for [`Client::varz`].
    pub fn healthz(&self) -> Result<(u16, Healthz), Error> {
        let path = "/healthz";
        let (status, body) = self.fetch(path)?;
        match status {
            StatusCode::OK
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::SERVICE_UNAVAILABLE => {
                let (answer, found) = self.parse(path, &body, HEALTHZ)?;
                self.require(path, HEALTHZ, &found)?;
                Ok((status.as_u16(), answer))
            }
            other => Err(self.status(path, other)),
        }
    }

    /// The JSON object at `path`, which begins with a slash and may have a query.
    ///
    ///  # Errors
    ///
    /// As for [`Client::varz`]; every status except 200 is an error.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.get_with(path, &[]).map(|(answer, _)| answer)
    }

    /// The same, with the values of these fields. Absent fields are up to the caller (see
    /// [`Client::require`]); the `T` has zero there.
    ///
    ///  # Errors
    ///
    /// As for [`Client::get`]; [`Error::Field`] if a field has a wrong value.
    pub fn get_with<T: DeserializeOwned>(
        &self,
        path: &str,
        fields: &[Field<'_>],
    ) -> Result<(T, Vec<Found>), Error> {
        let body = self.fetch_ok(path)?;
        self.parse(path, &body, fields)
    }

    /// Only the values of these fields: for callers that need a few values and do not want to keep
    /// the rest in memory.
    ///
    ///  # Errors
    ///
    /// As for [`Client::get_with`].
    pub fn inspect(&self, path: &str, fields: &[Field<'_>]) -> Result<Vec<Found>, Error> {
        let body = self.fetch_ok(path)?;
        self.inspect_body(path, &body, fields)
    }

    /// Fails if one of these fields is absent.
    ///
    ///  # Errors
    ///
    /// [`Error::Field`] with its name.
    pub fn require(&self, path: &str, fields: &[Field<'_>], found: &[Found]) -> Result<(), Error> {
        let missing = fields.iter().zip(found).find(|(field, found)| {
            // In an empty list no element lacks a field.
            **found == Found::Absent && !field.name.contains('*')
        });
        match missing {
            Some((field, _)) => Err(Error::Field {
                url: self.target(path),
                detail: format!("no \"{}\"", field.name),
            }),
            None => Ok(()),
        }
    }

    fn parse<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &[u8],
        fields: &[Field<'_>],
    ) -> Result<(T, Vec<Found>), Error> {
        let found = self.inspect_body(path, body, fields)?;
        let answer = serde_json::from_slice(body).map_err(|error| self.not_json(path, &error))?;
        Ok((answer, found))
    }

    fn inspect_body(
        &self,
        path: &str,
        body: &[u8],
        fields: &[Field<'_>],
    ) -> Result<Vec<Found>, Error> {
        inspect::inspect(body, fields, Bounds::of(path)).map_err(|mismatch| match mismatch {
            Mismatch::Json(error) => self.not_json(path, &error),
            Mismatch::Field(detail) => Error::Field {
                url: self.target(path),
                detail,
            },
        })
    }

    fn not_json(&self, path: &str, error: &serde_json::Error) -> Error {
        Error::NotJson {
            url: self.target(path),
            detail: error.to_string(),
        }
    }

    fn status(&self, path: &str, status: StatusCode) -> Error {
        Error::Status {
            url: self.target(path),
            code: status.as_u16(),
        }
    }

    fn target(&self, path: &str) -> String {
        format!("{}{path}", self.target)
    }

    fn fetch_ok(&self, path: &str) -> Result<Vec<u8>, Error> {
        match self.fetch(path)? {
            (StatusCode::OK, body) => Ok(body),
            (other, _) => Err(self.status(path, other)),
        }
    }

    fn fetch(&self, path: &str) -> Result<(StatusCode, Vec<u8>), Error> {
        let limit = Bounds::of(path).bytes;
        let begun = Instant::now();
        let fail = |error| self.error(&self.target(path), begun.elapsed(), error);
        let mut request = self.agent.get(format!("{}{path}", self.base_url));
        if let Some(login) = &self.login {
            request = request.header("Authorization", login.header());
        }
        let mut response = request.call().map_err(fail)?;
        // A body that announces too large a length is not read.
        if response.body().content_length() > Some(limit) {
            return Err(fail(ureq::Error::BodyExceedsLimit(limit)));
        }
        let status = response.status();
        let body = response.body_mut().with_config().limit(limit);
        Ok((status, body.read_to_vec().map_err(fail)?))
    }

    /// The error of an exchange that took `elapsed`.
    fn error(&self, url: &str, elapsed: Duration, error: ureq::Error) -> Error {
        let url = url.to_owned();
        let after = waited(elapsed, self.timeout);
        match error {
            ureq::Error::BodyExceedsLimit(limit) => Error::TooLarge { url, limit },
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Error::Refused { url }
            }
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                Error::Timeout { url, after }
            }
            ureq::Error::Io(error) => Error::Connection {
                url,
                detail: error.to_string(),
            },
            ureq::Error::Timeout(_) => Error::Timeout { url, after },
            other => Error::Connection {
                url,
                detail: match other.to_string() {
                    text if text.contains("http parse fail") => format!(
                        "{text}: this is not a monitoring port; the client port (4222) answers \
                         like this"
                    ),
                    text => text,
                },
            },
        }
    }
}

/// Why there is no usable answer. The text contains the URL.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The exchange failed: connection reset, host not found, not HTTP, and so on.
    Connection {
        /// The URL.
        url: String,
        /// The error of the system or of the HTTP parser.
        detail: String,
    },
    /// A field is absent or has a wrong value.
    Field {
        /// The URL.
        url: String,
        /// The field, and what is wrong with it.
        detail: String,
    },
    /// A file for TLS cannot be used.
    File {
        /// Its path.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The URL given to [`Client::new`] cannot be used.
    InvalidUrl {
        /// The URL, without a password.
        url: String,
        /// What is wrong and what to write.
        reason: &'static str,
    },
    /// The answer is not the JSON that was expected.
    NotJson {
        /// The URL.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// No process listens there.
    Refused {
        /// The URL.
        url: String,
    },
    /// The answer has an HTTP status other than 200.
    Status {
        /// The URL.
        url: String,
        /// HTTP status code.
        code: u16,
    },
    /// No complete answer in time.
    Timeout {
        /// The URL.
        url: String,
        /// How long it was waited for: the timeout, or less if the system gave up earlier.
        after: Duration,
    },
    /// The body is larger than an answer of this path may be ([`Bounds`]).
    TooLarge {
        /// The URL.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection { url, detail } => write!(f, "{url}: {detail}"),
            Self::Field { url, detail } => {
                write!(f, "{url}: not the answer of a NATS broker: {detail}")
            }
            Self::File { path, detail } => write!(f, "{path}: {detail}"),
            Self::InvalidUrl { url, reason } => write!(f, "\"{url}\": {reason}"),
            Self::NotJson { url, detail } => write!(f, "{url}: answer not understood: {detail}"),
            Self::Refused { url } => write!(f, "{url}: connection refused"),
            Self::Status { url, code } => write!(f, "{url}: HTTP status {code}"),
            Self::Timeout { url, after } => {
                write!(f, "{url}: no answer within {} ms", after.as_millis())
            }
            Self::TooLarge { url, limit } => {
                write!(f, "{url}: answer larger than {} KiB", limit >> 10)
            }
        }
    }
}

impl error::Error for Error {}

/// How long an answer was waited for. Usually that is the timeout; a system that gives up
/// earlier does so after about the same time each time, and the same text should result.
fn waited(elapsed: Duration, timeout: Duration) -> Duration {
    const STEP_MS: u64 = 100;
    let elapsed = Duration::from_millis(elapsed.as_millis() as u64 / STEP_MS * STEP_MS);
    match elapsed + Duration::from_millis(STEP_MS) < timeout {
        true => elapsed,
        false => timeout,
    }
}

fn check_url(url: &str, https: bool) -> Result<(), Error> {
    // The part before an `@` may be a password and must not get into a log.
    if let Some((_, host)) = url.split_once('@') {
        return Err(Error::InvalidUrl {
            url: format!("http://…@{host}"),
            reason: "the URL must have no user and password: remove them",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_says_how_long_it_was_waited_for() {
        let waited = |elapsed, timeout| {
            waited(
                Duration::from_millis(elapsed),
                Duration::from_millis(timeout),
            )
            .as_millis()
        };
        assert_eq!(waited(2003, 2000), 2000);
        assert_eq!(waited(1999, 2000), 2000);
        assert_eq!(waited(4013, 5999), 4000);
        assert_eq!(waited(4087, 5999), 4000);
        assert_eq!(waited(20, 50), 50);
    }
}
