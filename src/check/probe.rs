//! The client port, as a client meets it: connect, INFO, CONNECT, PING, PONG.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use serde::Deserialize;

/// Bytes that the broker may send before we give up on it.
const ANSWER_MAX: u64 = 256 * 1024;

/// What a client learns from a broker that serves.
#[derive(Debug)]
pub struct Served {
    /// Time to connect.
    pub connect_time: Duration,
    /// Time from PING to PONG on the connection that stands.
    pub rtt: Duration,
    /// What INFO says.
    pub info: Info,
}

/// The fields of INFO that the check looks at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The broker's name.
    pub server_name: String,
    /// The version clients gate on.
    pub version: String,
    /// midge's own version.
    pub midge: Option<String>,
    /// The broker wants credentials.
    pub auth_required: bool,
    /// The broker wants TLS.
    pub tls_required: bool,
    /// The broker is about to leave.
    pub ldm: bool,
}

/// Why no answer was had.
#[derive(Debug)]
pub enum ProbeError {
    /// Nobody serves there: refused, mute, or it ended the connection.
    NotServing(String),
    /// It could not be found out; the step is named.
    Unknown(String),
}

/// Talks to the broker at `host:port`, until `deadline` at the latest.
///
/// # Errors
///
/// Which step failed, and how.
pub fn probe(host: &str, port: u16, deadline: Instant) -> Result<Served, ProbeError> {
    let address = resolve(host, port)?;
    let started = Instant::now();
    let stream = TcpStream::connect_timeout(&address, left(deadline)).map_err(|error| {
        ProbeError::NotServing(format!("cannot connect to {host}:{port}: {error}"))
    })?;
    let connect_time = started.elapsed();
    let mut peer = Peer::new(stream, deadline)?;
    let line = peer.line().map_err(|error| {
        ProbeError::NotServing(format!("{host}:{port} sends no INFO: {}", describe(&error)))
    })?;
    let json = line.strip_prefix("INFO ").ok_or_else(|| {
        ProbeError::NotServing(format!(
            "{host}:{port} is no NATS broker: it says {line:.60?}"
        ))
    })?;
    let info: Info = serde_json::from_str(json)
        .map_err(|error| ProbeError::Unknown(format!("INFO of {host}:{port}: {error}")))?;
    if info.tls_required {
        return Err(ProbeError::Unknown(format!(
            "{host}:{port} wants TLS, which this check does not speak yet"
        )));
    }
    peer.send(concat!(
        r#"CONNECT {"verbose":false,"pedantic":false,"protocol":1,"name":"check_nats","#,
        r#""lang":"rust","version":""#,
        env!("CARGO_PKG_VERSION"),
        "\"}\r\nPING\r\n"
    ))?;
    peer.pong("the answer to CONNECT", host, port)?;
    let started = Instant::now();
    peer.send("PING\r\n")?;
    peer.pong("the answer to PING", host, port)?;
    Ok(Served {
        connect_time,
        rtt: started.elapsed(),
        info,
    })
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, ProbeError> {
    let unknown = |why: String| ProbeError::Unknown(format!("host {host} is not found: {why}"));
    (host, port)
        .to_socket_addrs()
        .map_err(|error| unknown(error.to_string()))?
        .next()
        .ok_or_else(|| unknown("it has no address".into()))
}

/// Time until the deadline; never nought, which would mean no bound.
fn left(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".into(),
        io::ErrorKind::UnexpectedEof => "the connection ended".into(),
        _ => error.to_string(),
    }
}

/// The broker, line by line.
struct Peer {
    reader: BufReader<io::Take<TcpStream>>,
    deadline: Instant,
}

impl Peer {
    fn new(stream: TcpStream, deadline: Instant) -> Result<Self, ProbeError> {
        stream
            .set_nodelay(true)
            .map_err(|error| ProbeError::Unknown(format!("socket: {error}")))?;
        Ok(Self {
            reader: BufReader::new(stream.take(ANSWER_MAX)),
            deadline,
        })
    }

    fn stream(&self) -> &TcpStream {
        self.reader.get_ref().get_ref()
    }

    fn send(&mut self, text: &str) -> Result<(), ProbeError> {
        self.stream()
            .set_write_timeout(Some(left(self.deadline)))
            .and_then(|()| self.stream().write_all(text.as_bytes()))
            .map_err(|error| ProbeError::NotServing(format!("cannot write: {}", describe(&error))))
    }

    /// The next line without its end, read in bounded time.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            self.stream().set_read_timeout(Some(left(self.deadline)))?;
            let piece = self.reader.fill_buf()?;
            if piece.is_empty() || Instant::now() >= self.deadline {
                return Err(match piece.is_empty() {
                    true => io::ErrorKind::UnexpectedEof.into(),
                    false => io::ErrorKind::TimedOut.into(),
                });
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(piece.len(), |end| end + 1);
            line.extend_from_slice(&piece[..taken]);
            self.reader.consume(taken);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Reads until PONG; INFO and PING may come before it.
    fn pong(&mut self, step: &str, host: &str, port: u16) -> Result<(), ProbeError> {
        loop {
            let line = self.line().map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    ProbeError::Unknown(format!("{host}:{port}: {step} did not come in time"))
                }
                _ => ProbeError::NotServing(format!(
                    "{host}:{port}: {step} did not come: {}",
                    describe(&error)
                )),
            })?;
            if line == "PONG" {
                return Ok(());
            }
            if line == "PING" {
                self.send("PONG\r\n")?;
            }
            if let Some(error) = line.strip_prefix("-ERR") {
                let text = format!("{host}:{port} refuses: {}", error.trim());
                return Err(match error.contains("Authorization") {
                    true => ProbeError::Unknown(text),
                    false => ProbeError::NotServing(text),
                });
            }
        }
    }
}
