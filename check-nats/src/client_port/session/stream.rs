//! The connection of a session, with or without TLS, and what its errors mean.

use std::io::{self, ErrorKind, Read, Write};

use crate::{
    client_port::{
        socket::{Socket, is_timeout},
        tls::{self, Tls},
    },
    deadline::Deadline,
    status::Failure,
    target::Address,
};

/// Where the bytes of a session go.
pub(super) enum Stream<'a> {
    Plain(Socket<'a>),
    Tls(Box<tls::Stream<'a>>),
}

impl<'a> Stream<'a> {
    pub(super) fn socket(&mut self) -> &mut Socket<'a> {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &mut tls.sock,
        }
    }

    /// The socket, for a handshake on it.
    pub(super) fn into_socket(self) -> Socket<'a> {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.sock,
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// What an error on the connection means.
pub(super) fn io_failure(
    error: &io::Error,
    tls: Option<&Tls>,
    port: &Address,
    deadline: &Deadline,
) -> Failure {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match (tls, of_tls) {
        _ if is_timeout(error) => deadline.late(),
        (Some(tls), Some(error)) => tls.failure(error),
        _ if error.kind() == ErrorKind::UnexpectedEof => closed(port),
        _ => Failure::critical(format!("client port {port}: {error}")),
    }
}

/// The broker has closed the connection.
pub(super) fn closed(port: &Address) -> Failure {
    Failure::critical(format!("client port {port} closed the connection"))
}
