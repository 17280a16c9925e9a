//! The blocking client of a monitoring port.
//!
//! The collectd plugin, `check_nats`, `midge top` and the tests use it. It connects exactly to the
//! given address: no proxy from the environment, no redirects, a connection kept between requests
//! only if the caller wants that ([`Client::with_one_connection`]), and every answer limited in time
//! and size.

mod request;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::de::DeserializeOwned;
use ureq::http::StatusCode;

use self::request::{Kept, Method, TIMEOUT_MIN, first_line};
use crate::{
    Access, Bounds, Connz, Error, Field, Found, Healthz, Kind, OptionNames, Subsz, Varz,
    access::PLAIN_NAMES,
    inspect::{self, Mismatch},
    open::Opener,
    select,
};

/// What an answer of `/healthz` must contain.
const HEALTHZ: &[Field<'_>] = &[Field {
    name: "status",
    kind: Kind::Word(&["ok", "unavailable", "error"]),
}];

/// Statuses of `/healthz` whose body is an answer.
const HEALTHZ_STATUSES: &[StatusCode] = &[
    StatusCode::OK,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// A client of one monitoring port. Clones share the files and their state.
#[derive(Clone, Debug)]
pub struct Client {
    opener: Arc<Opener>,
    timeout: Duration,
    /// The connection that is kept; `None` for one for each request.
    kept: Option<Arc<Mutex<Option<Kept>>>>,
}

impl Client {
    /// A client for `base_url` such as `http://127.0.0.1:8222`, including a path prefix
    /// (`http_base_path`). `timeout` limits a whole request, from name resolution to the last byte
    /// of the body; reading the files of the settings is not limited. Does not send anything yet.
    ///
    ///  # Errors
    ///
    /// [`Error::InvalidUrl`] if `base_url` cannot be used.
    pub fn new(base_url: &str, timeout: Duration) -> Result<Self, Error> {
        let access = Access {
            url: Some(base_url.to_owned()),
            ..Access::default()
        };
        Self::with_access(access, &PLAIN_NAMES, timeout)
    }

    /// The same with all settings; `names` are those of the program's options. Opens no file and no
    /// socket: that is done by the first request, again when a file has changed, and again after a
    /// request that failed, so that renewed certificates and tokens are used.
    ///
    ///  # Errors
    ///
    /// [`Error::InvalidUrl`] or [`Error::Option`] if the settings cannot be used.
    pub fn with_access(
        access: Access,
        names: &'static OptionNames,
        timeout: Duration,
    ) -> Result<Self, Error> {
        Ok(Self {
            opener: Arc::new(Opener::new(access, names)?),
            timeout,
            kept: None,
        })
    }

    /// The same client with another time limit, for one limit of several requests.
    pub fn within(&self, timeout: Duration) -> Self {
        Self {
            timeout: timeout.max(TIMEOUT_MIN),
            ..self.clone()
        }
    }

    /// The same client for several requests in a row over one connection, so that a connection with
    /// TLS has one handshake. A connection that the broker closes is made again. It is closed with
    /// this client and its clones.
    pub fn with_one_connection(&self) -> Self {
        Self {
            kept: Some(Arc::default()),
            ..self.clone()
        }
    }

    /// Reads the files now, for a program that refuses to start without them.
    ///
    ///  # Errors
    ///
    /// [`Error::File`] for a file that cannot be used.
    pub fn read_files(&self) -> Result<(), Error> {
        self.opener.open().map(|_| ())
    }

    /// What is asked, for texts: the URL as it was written, or `unix:PATH`.
    pub fn place(&self) -> String {
        self.opener.place()
    }

    /// Problems with files, in spite of which requests are made: secrets that every user of the host
    /// can read, and a changed file that cannot be used, so that the former one stays in force.
    pub fn warnings(&self) -> Vec<String> {
        self.opener.warnings()
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
        let (status, body) = self.fetch(Method::Get, path, HEALTHZ_STATUSES)?;
        let (answer, found) = match self.parse(path, &body, HEALTHZ) {
            // It comes from a proxy.
            Err(Error::NotJson { url, .. }) if status != StatusCode::OK => {
                return Err(Error::Status {
                    url,
                    code: status.as_u16(),
                    detail: first_line(&body),
                });
            }
            answer => answer?,
        };
        self.require(path, HEALTHZ, &found)?;
        Ok((status.as_u16(), answer))
    }

    /// The JSON object at `path`, which begins with a slash and may have a query.
    ///
    ///  # Errors
    ///
    /// As for [`Client::varz`]; every status except 200 is an error.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.get_with(path, &[]).map(|(answer, _)| answer)
    }

    /// The text at `path`, for people: unsafe characters are not replaced.
    ///
    ///  # Errors
    ///
    /// As for [`Client::get`].
    pub fn text(&self, path: &str) -> Result<String, Error> {
        let body = self.fetch_ok(path)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The JSON object that a POST of `path` returns; only a Unix socket accepts one.
    ///
    ///  # Errors
    ///
    /// As for [`Client::get`].
    pub fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let (_, body) = self.fetch(Method::Post, path, &[StatusCode::OK])?;
        self.parse(path, &body, &[]).map(|(answer, _)| answer)
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

    /// The values at these places and nothing else, as a tree; what is absent in the answer is absent
    /// in it. `wanted` are keys separated by dots; `*` stands for each element of a list and each
    /// member of an object, 4096 at most.
    ///
    ///  # Errors
    ///
    /// As for [`Client::get`].
    pub fn select(&self, path: &str, wanted: &[&str]) -> Result<serde_json::Value, Error> {
        let body = self.fetch_ok(path)?;
        select::select(&body, wanted, Bounds::of(path)).map_err(|error| self.not_json(path, &error))
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

    /// The place with a path, for texts.
    pub fn target(&self, path: &str) -> String {
        target(&self.place(), path)
    }

    fn fetch_ok(&self, path: &str) -> Result<Vec<u8>, Error> {
        let (_, body) = self.fetch(Method::Get, path, &[StatusCode::OK])?;
        Ok(body)
    }
}

fn target(place: &str, path: &str) -> String {
    // A blank keeps a socket's path and the request's apart.
    let gap = if place.starts_with("unix:") { " " } else { "" };
    format!("{place}{gap}{path}")
}
