//! What the two processes of an upgrade say to each other: messages of JSON behind their length, on
//! a stream of Unix sockets, which also carries descriptors.
//!
//! Sizes and times are bounded. Unknown fields are ignored, so that either process may be the newer
//! one.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{broker::halt::ClientState, protocol::json_fault, route::PeerAddress};

/// The form of the messages. A process that knows another one only refuses.
pub(super) const FORMAT: u32 = 2;

/// Bytes of the longest message: that of a mesh with some hundred members is far shorter.
const MESSAGE_MAX: usize = 1024 * 1024;

/// Descriptors that come with one message.
const DESCRIPTORS_MAX: usize = 8;

/// How long the other process may take to accept a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// What the old process offers to the new one that it has started. The descriptors of the listeners
/// come with it, and behind them its end of the route between the two.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Offer {
    /// [`FORMAT`].
    pub(super) format: u32,
    /// Version of the old process.
    pub(super) version: String,
    /// Its id.
    pub(super) server_id: String,
    /// The generated name of its cluster, if it has one.
    pub(super) cluster_name: Option<String>,
    /// What the listeners serve, in the order of their descriptors.
    pub(super) listeners: Vec<String>,
    /// The first connection id that the new process may assign.
    pub(super) first_cid: u64,
    /// Whether the file of the Unix socket is the broker's, and not the service manager's.
    pub(super) owns_socket_file: bool,
    /// The peers that it has routes to.
    pub(super) peers: Vec<PeerAddress>,
    /// Its INFO for the route between the two, as JSON.
    pub(super) info: String,
}

/// What the old process says afterwards.
#[derive(Deserialize, Serialize)]
pub(super) enum Decision {
    /// The new process is to get its routes.
    Go,
    /// A client; its socket comes with it.
    Client(Box<ClientState>),
    /// There are no more clients.
    NoMore,
    /// The new process is to serve, once it has seen this mark of the old one's interest.
    Serve(u64),
}

/// What the new process says.
#[derive(Deserialize, Serialize)]
pub(super) enum Report {
    /// It has read its configuration and has all that it needs.
    Ready(Ready),
    /// It has its routes: clients may be handed over.
    Joined,
    /// It has got clients, and does not read from them yet.
    Taken(Taken),
    /// It serves: the clients that it has got are its own from here on.
    Serving,
    /// It has served for a moment, and its threads work.
    Steady,
    /// It cannot serve.
    Failed(String),
    /// It was asked to stop, and so is the old one.
    Stopping,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Ready {
    /// Its version.
    pub(super) version: String,
    /// Whether it listens on the old one's Unix socket.
    pub(super) has_unix_socket: bool,
    /// Its INFO for the route between the two, as JSON.
    pub(super) info: String,
}

/// What the new process has got.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Taken {
    /// How many clients.
    pub(super) clients: usize,
    /// The mark behind their interest.
    pub(super) mark: u64,
}

/// A message that is short enough to be sent.
pub(super) struct Encoded(Vec<u8>);

impl Encoded {
    /// Encodes it.
    ///
    ///  # Errors
    ///
    /// It is too long.
    pub(super) fn new(message: &impl Serialize) -> io::Result<Self> {
        let body = serde_json::to_vec(message)?;
        match body.len() {
            0..=MESSAGE_MAX => Ok(Self(body)),
            len => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a message of {len} bytes, where {MESSAGE_MAX} are the most"),
            )),
        }
    }
}

/// One end.
pub(super) struct Channel(UnixStream);

impl Channel {
    /// On a stream in blocking mode.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self(stream))
    }

    /// Sends a message with descriptors.
    pub(super) fn send(
        &mut self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.send_encoded(&Encoded::new(message)?, descriptors)
    }

    /// Sends an encoded message with descriptors.
    pub(super) fn send_encoded(
        &mut self,
        Encoded(body): &Encoded,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let len = u32::try_from(body.len()).ok();
        let len = len.filter(|_| descriptors.len() <= DESCRIPTORS_MAX);
        let head = len.ok_or(io::ErrorKind::InvalidInput)?.to_be_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            // The space is that of the most that there may be.
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let flags = SendFlags::NOSIGNAL;
        let sent = sendmsg(&self.0, &[IoSlice::new(&head)], &mut control, flags)?;
        self.0.write_all(&head[sent..])?;
        self.0.write_all(body)
    }

    /// The next message and its descriptors, if it is complete before the deadline.
    ///
    ///  # Errors
    ///
    /// `UnexpectedEof` if the other process has ended.
    pub(super) fn receive<M: DeserializeOwned>(
        &mut self,
        deadline: Instant,
    ) -> io::Result<(M, Vec<OwnedFd>)> {
        let mut head = [0; 4];
        let mut descriptors = Vec::new();
        let mut read = 0;
        while read < head.len() {
            self.wait_until(deadline)?;
            match self.receive_part(&mut head[read..], &mut descriptors)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => read += len,
            }
        }
        let len = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
        if len > MESSAGE_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a message of {len} bytes"),
            ));
        }
        let mut body = vec![0; len];
        let mut read = 0;
        while read < len {
            self.wait_until(deadline)?;
            match self.0.read(&mut body[read..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(part) => read += part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // The error's own text may quote a secret.
        let message = serde_json::from_slice(&body)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, json_fault(&error)))?;
        Ok((message, descriptors))
    }

    /// Reads a part of a head, and what comes with it.
    fn receive_part(&self, into: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = loop {
            let mut parts = [IoSliceMut::new(into)];
            match recvmsg(&self.0, &mut parts, &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                received => break received?,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other(
                "some descriptors are missing; raise LimitNOFILE",
            ));
        }
        Ok(received.bytes)
    }

    /// Bounds the next read.
    fn wait_until(&self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.0.set_read_timeout(Some(left))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd, thread};

    use super::*;

    fn pair() -> (Channel, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one).unwrap(), other)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn messages_carry_descriptors_that_no_program_inherits() {
        let (mut one, other) = pair();
        let mut other = Channel::new(other).unwrap();
        let mut folder = tempfile::tempfile().unwrap();
        folder.write_all(b"handed over").unwrap();
        let offer = Offer {
            server_id: "N".into(),
            ..Offer::default()
        };
        one.send(&offer, &[folder.as_fd()]).unwrap();
        one.send(&Decision::Serve(7), &[]).unwrap();
        let (received, mut descriptors) = other.receive::<Offer>(soon()).unwrap();
        assert_eq!(received.server_id, "N");
        let file = File::from(descriptors.pop().unwrap());
        assert!(descriptors.is_empty());
        assert_eq!(file.metadata().unwrap().len(), 11);
        let flags = rustix::io::fcntl_getfd(&file).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert!(matches!(
            other.receive::<Decision>(soon()).unwrap().0,
            Decision::Serve(7)
        ));
    }

    #[test]
    fn a_message_that_the_other_end_would_refuse_is_not_sent() {
        let client = |len: usize| {
            Encoded::new(&Decision::Client(Box::new(ClientState {
                connect: Some("x".repeat(len)),
                ..ClientState::default()
            })))
        };
        let longest = MESSAGE_MAX - client(0).unwrap().0.len();
        assert!(client(longest).is_ok());
        assert!(client(longest + 1).is_err());
    }

    #[test]
    fn a_newer_process_may_say_more() {
        let (mut one, mut other) = pair();
        let body = br#"{"server_id":"N","new":[{"x":1}]}"#;
        other.write_all(&(body.len() as u32).to_be_bytes()).unwrap();
        other.write_all(body).unwrap();
        assert_eq!(one.receive::<Offer>(soon()).unwrap().0.server_id, "N");
    }

    #[test]
    fn nonsense_silence_and_the_end_are_errors_in_time() {
        for (sent, kind) in [
            (&b"\xff\xff\xff\xff"[..], io::ErrorKind::InvalidData),
            (b"\0\0\0\x05nonse", io::ErrorKind::InvalidData),
            (b"\0\0\0\x05no", io::ErrorKind::UnexpectedEof),
            (b"", io::ErrorKind::UnexpectedEof),
        ] {
            let (mut one, mut other) = pair();
            other.write_all(sent).unwrap();
            drop(other);
            let error = one.receive::<Report>(soon()).err().unwrap();
            assert_eq!(error.kind(), kind, "{sent:?}");
        }
        let (mut one, other) = pair();
        let deadline = Instant::now() + Duration::from_millis(30);
        let waiting = thread::spawn(move || one.receive::<Report>(deadline).err().unwrap().kind());
        assert!(matches!(
            waiting.join().unwrap(),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
        ));
        drop(other);
    }
}
