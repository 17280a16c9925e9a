//! HTTP over a Unix socket: replaces two parts of the HTTP library, resolving an address and
//! opening a connection.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

/// Resolves nothing: only the socket's path is needed.
#[derive(Debug)]
pub(crate) struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// Connects to one socket, whatever the URL says.
#[derive(Debug)]
pub(crate) struct UnixConnector {
    pub(crate) path: PathBuf,
}

impl Connector for UnixConnector {
    type Out = UnixTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _chained: Option<()>,
    ) -> Result<Option<UnixTransport>, Error> {
        let stream = UnixStream::connect(&self.path).map_err(explain)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(UnixTransport { stream, buffers }))
    }
}

/// A connection. The remaining time is set before each call, so that no call takes longer.
#[derive(Debug)]
pub(crate) struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let time_left = timeout.not_zero().map(|time_left| *time_left);
        self.stream.set_write_timeout(time_left)?;
        let output = &self.buffers.output()[..amount];
        (&self.stream)
            .write_all(output)
            .map_err(|error| failure(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let time_left = timeout.not_zero().map(|time_left| *time_left);
        self.stream.set_read_timeout(time_left)?;
        let input = self.buffers.input_append_buf();
        let amount = self
            .stream
            .read(input)
            .map_err(|error| failure(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    // Connections are not kept between requests.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// An error of the system with what to do about it.
fn explain(error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such socket: start the broker, with this path as \"unix\" in its block \
             \"monitor\""
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not open the socket: see \"unix_mode\" in the broker's block \
             \"monitor\", and the socket's group"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), advice)
}

fn failure(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        // The system reports a socket timeout in this way.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}
