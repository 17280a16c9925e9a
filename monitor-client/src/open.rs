//! What a client needs for its requests, made from the operator's settings and files: made at the
//! first request, again when a file changes, and again after a request that failed.

use std::{
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ureq::{Agent, config::Config};

use crate::{
    Access, Error, OptionNames, Secret,
    access::{DEFAULT_SOCKET, DEFAULT_URL},
    files::FileVersion,
    lookup::Lookup,
    place::{Place, Target, TcpTarget},
    tls,
    transport::{NoLookup, PlaceConnector, TlsSide, connect_unix},
};

const USER_AGENT: &str = concat!("midge-monitor-client/", env!("CARGO_PKG_VERSION"));

/// How long a socket may take to accept a connection when it is looked for. One that takes longer
/// is there.
const SOCKET_LIMIT: Duration = Duration::from_millis(100);

/// Bytes of an answer's head, and of the buffers of a request, which are smaller than the HTTP
/// library's: a collector holds many. A request with the longest secret fits into its buffer.
const HEAD_MAX: usize = 16 << 10;
const INPUT_BUFFER: usize = 32 << 10;
const OUTPUT_BUFFER: usize = 16 << 10;

/// Settings and files of a client.
#[derive(Debug)]
pub(crate) struct Opener {
    access: Access,
    names: &'static OptionNames,
    place: Place,
    /// Outlives what is opened again, so that a lookup that hangs is not started twice.
    lookup: Arc<Lookup>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    opened: Option<Arc<Opened>>,
    /// Whether the last request failed.
    has_failed: bool,
    /// Why changed files cannot be used.
    refused: Option<Error>,
}

/// What requests need.
#[derive(Debug)]
pub(crate) struct Opened {
    config: Config,
    connector: PlaceConnector,
    /// The URL before the path.
    pub(crate) url: String,
    /// The same for texts.
    pub(crate) place: String,
    /// The value of the header `Authorization`.
    pub(crate) login: Option<Secret>,
    warnings: Vec<String>,
    versions: Vec<(PathBuf, FileVersion)>,
}

impl Opener {
    /// Checks the settings.
    ///
    ///  # Errors
    ///
    /// [`Error::InvalidUrl`] or [`Error::Option`]
    pub(crate) fn new(access: Access, names: &'static OptionNames) -> Result<Self, Error> {
        Ok(Self {
            place: access.check(names)?,
            access,
            names,
            lookup: Arc::default(),
            state: Mutex::default(),
        })
    }

    /// The program's names of the options.
    pub(crate) fn names(&self) -> &'static OptionNames {
        self.names
    }

    /// What requests need, up to date. The lock is not held while files are read, so that texts
    /// about the client do not wait for a disk; two requests may both open everything.
    ///
    ///  # Errors
    ///
    /// [`Error::File`]: a file cannot be used, and none could before.
    pub(crate) fn open(&self) -> Result<Arc<Opened>, Error> {
        self.open_with(|| self.make())
    }

    fn open_with(
        &self,
        make: impl FnOnce() -> Result<Opened, Error>,
    ) -> Result<Arc<Opened>, Error> {
        let (former, has_failed) = {
            let mut state = self.lock();
            let has_failed = mem::take(&mut state.has_failed);
            (state.opened.clone(), has_failed)
        };
        if let Some(opened) = former
            && !has_failed
            && opened.is_current()
        {
            // It may be of another request, which has read the files before they were correct.
            self.lock().refused = None;
            return Ok(opened);
        }
        let made = make();
        let mut state = self.lock();
        // What another request has made meanwhile of older files is seen to be old by the next one.
        match (made, &state.opened) {
            (Ok(opened), _) => {
                let opened = Arc::new(opened);
                state.opened = Some(Arc::clone(&opened));
                state.refused = None;
                Ok(opened)
            }
            (Err(error), None) => Err(error),
            // A file that is being replaced must not interrupt anything.
            (Err(error), Some(former)) => {
                let former = Arc::clone(former);
                state.refused = Some(error);
                Ok(former)
            }
        }
    }

    /// Makes the next request open everything again.
    pub(crate) fn note_failure(&self) {
        self.lock().has_failed = true;
    }

    /// Where requests go, for texts.
    pub(crate) fn place(&self) -> String {
        let state = self.lock();
        let opened = state.opened.as_ref();
        opened.map_or_else(|| self.place.shown(), |opened| opened.place.clone())
    }

    /// Problems with files in spite of which requests are made.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let state = self.lock();
        let refused = state.refused.as_ref();
        let refused = refused.map(|error| format!("{error}; the former content stays in force"));
        let opened = state.opened.iter();
        opened
            .flat_map(|opened| opened.warnings.iter().cloned())
            .chain(refused)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self) -> Result<Opened, Error> {
        // Before the files are read: a change meanwhile is noticed by the next request.
        let versions = self.access.files();
        let versions = versions
            .map(|path| (path.clone(), FileVersion::of(path)))
            .collect();
        let login = self.access.login()?;
        let mut warnings = login.warnings;
        let target = match &self.place {
            Place::ThisHost => this_host(Path::new(DEFAULT_SOCKET), DEFAULT_URL, &mut warnings)?,
            Place::Named(target) => target.clone(),
        };
        let place = target.shown();
        let (connector, url) = self.connector(target, &mut warnings)?;
        let config = Agent::config_builder()
            .user_agent(USER_AGENT)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_idle_connections(1)
            .max_response_header_size(HEAD_MAX)
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .build();
        Ok(Opened {
            config,
            connector,
            url,
            place,
            login: login.header,
            warnings,
            versions,
        })
    }

    /// What connects, and the URL before the path.
    fn connector(
        &self,
        target: Target,
        warnings: &mut Vec<String>,
    ) -> Result<(PlaceConnector, String), Error> {
        let target = match target {
            Target::Unix { socket, url } => return Ok((PlaceConnector::Unix(socket), url)),
            Target::Tcp(target) => target,
        };
        let mut tls = None;
        if let Some(name) = target.tls_name {
            let settings = tls::client_config(&self.access.tls)?;
            warnings.extend(settings.warning);
            tls = Some(TlsSide {
                config: Arc::new(settings.config),
                name,
            });
        }
        let connector = PlaceConnector::Tcp {
            host: target.host,
            port: target.port,
            lookup: Arc::clone(&self.lookup),
            tls,
        };
        Ok((connector, target.url))
    }
}

impl Opened {
    /// What makes requests, over one connection as long as the broker leaves it open. It is closed
    /// with the agent.
    pub(crate) fn agent(&self) -> Agent {
        Agent::with_parts(self.config.clone(), self.connector.clone(), NoLookup)
    }

    /// Whether the files have not changed.
    fn is_current(&self) -> bool {
        let mut versions = self.versions.iter();
        versions.all(|(path, version)| FileVersion::of(path) == *version)
    }
}

/// The broker on this host: its socket, unless that is not there or this user is kept out of it.
fn this_host(socket: &Path, url: &str, warnings: &mut Vec<String>) -> Result<Target, Error> {
    match connect_unix(socket, Instant::now() + SOCKET_LIMIT) {
        // An error that is not of the system says that it was late.
        Ok(_) | Err(ureq::Error::Other(_)) => Target::of_socket(socket.into(), url),
        Err(error) => {
            if let ureq::Error::Io(error) = error
                && error.kind() == io::ErrorKind::PermissionDenied
            {
                warnings.push(format!("unix:{} is not used: {error}", socket.display()));
            }
            TcpTarget::of_url(url).map(Target::Tcp)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::access::PLAIN_NAMES;

    /// A socket file alone, left behind by a broker that was killed, does not count.
    #[test]
    fn the_socket_of_this_host_is_used_if_somebody_listens() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let mut warnings = Vec::new();
        let mut shown = || {
            let target = this_host(&path, "http://127.0.0.1:8222", &mut warnings);
            target.expect("a good URL").shown()
        };
        assert_eq!(shown(), "http://127.0.0.1:8222");
        let listener = UnixListener::bind(&path).expect("bound");
        assert_eq!(shown(), format!("unix:{}", path.display()));
        drop(listener);
        assert_eq!(shown(), "http://127.0.0.1:8222");
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    /// Texts about a client are to be had while its files are read, however long that takes.
    #[test]
    fn the_lock_is_free_while_files_are_read() {
        let access = Access {
            url: Some("http://127.0.0.1:8222".to_owned()),
            ..Access::default()
        };
        let client = Opener::new(access, &PLAIN_NAMES).expect("good settings");
        let is_free = || client.state.try_lock().is_ok();
        for _ in 0..2 {
            let opened = client.open_with(|| {
                assert!(is_free());
                client.make()
            });
            opened.expect("no files to be read");
            client.note_failure();
        }
        // Made again after a failure only.
        client.open().expect("opened");
        let opened = client.open_with(|| panic!("nothing has changed"));
        assert_eq!(opened.expect("open").place, client.place());
    }
}
