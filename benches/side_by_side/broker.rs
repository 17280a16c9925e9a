//! A broker under test: started on free ports, observed from outside through its CPU clock, its
//! memory and its monitoring port, and killed on drop.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::ClientConfig;
use serde::Deserialize;
use tempfile::TempDir;

use crate::{
    endpoint::{Compresses, Endpoint},
    failure::{During, Failure, Result, fail},
    sys::{self, CpuClock},
};

/// Time limit until a broker has written its ports file.
const START_LIMIT: Duration = Duration::from_secs(15);

/// A broker's program and its name in the report.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) label: String,
    pub(crate) path: PathBuf,
    /// The output of `--version`.
    pub(crate) version: String,
}

impl Program {
    /// Asks `path` for its version, which also shows that it can be run. Without a label the
    /// version is the name.
    pub(crate) fn find(path: &Path, label: Option<&str>) -> Result<Self> {
        let output = Command::new(path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .during(format_args!("cannot run {}", path.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let label = match label {
            Some(label) => label.to_owned(),
            None => version.replace(": v", "-"),
        };
        if label.is_empty() {
            fail!(
                "{} says nothing for --version; give it a name: LABEL=PATH",
                path.display()
            );
        }
        Ok(Self {
            label,
            path: path.to_owned(),
            version,
        })
    }
}

/// A running broker.
pub(crate) struct Broker {
    /// The client port.
    pub(crate) clients: Endpoint,
    /// Arguments in addition to those that all brokers get.
    pub(crate) arguments: Vec<String>,
    /// The monitoring port.
    pub(crate) monitor: SocketAddr,
    /// The port for WebSockets, if there is one.
    websocket: Option<SocketAddr>,
    /// CPU time of the broker's process.
    pub(crate) cpu: CpuClock,
    pid: u32,
    child: Child,
    directory: TempDir,
}

/// Memory of a process, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) current: u64,
    pub(crate) peak: u64,
}

impl Broker {
    /// Starts the program on free loopback ports and waits until it listens. All settings except
    /// `arguments` are defaults; `tls` is the matching configuration of clients.
    pub(crate) fn start(
        program: &Program,
        arguments: Vec<String>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self> {
        let directory = tempfile::tempdir().during("cannot make a temporary directory")?;
        let log = File::create(directory.path().join("log")).during("cannot make a log file")?;
        let mut command = Command::new(&program.path);
        command
            .args(["-a", "127.0.0.1", "-p", "-1", "-m", "-1"])
            .args(&arguments)
            .arg("--ports_file_dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().during("cannot share the log file")?)
            .stderr(log);
        sys::die_with_parent(&mut command);
        let mut child = command
            .spawn()
            .during(format_args!("cannot start {}", program.path.display()))?;
        match await_ports(&mut child, directory.path()) {
            Ok((pid, [address, monitor], websocket)) => Ok(Self {
                clients: Endpoint {
                    address,
                    tls,
                    websocket: None,
                },
                websocket,
                arguments,
                monitor,
                cpu: CpuClock::of_process(pid).during("no CPU clock of the broker")?,
                pid,
                child,
                directory,
            }),
            Err(failure) => {
                sys::kill(child.id());
                child.wait().during("cannot end the broker")?;
                let log = log_tail(directory.path());
                fail!("{} did not start: {failure}{log}", program.label)
            }
        }
    }

    /// The same broker, to which clients connect by WebSocket.
    pub(crate) fn by_websocket(mut self, compresses: Compresses) -> Result<Self> {
        let Some(address) = self.websocket else {
            fail!("the broker has no port for WebSockets");
        };
        self.clients.address = address;
        self.clients.websocket = Some(compresses);
        Ok(self)
    }

    /// Resident memory now and at its peak.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).during(&path)?;
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next())
                .and_then(|kib| kib.parse::<u64>().ok())
                .map(|kib| kib * 1024)
                .ok_or_else(|| Failure(format!("{path} has no {name}")))
        };
        Ok(Memory {
            current: field("VmRSS:")?,
            peak: field("VmHWM:")?,
        })
    }

    /// The body of a monitoring page such as `/varz`.
    pub(crate) fn page(&self, path: &str) -> Result<Vec<u8>> {
        fetch(self.monitor, path)
    }

    /// Whether the broker has this page.
    pub(crate) fn has_page(&self, path: &str) -> Result<bool> {
        let answer = exchange(self.monitor, path)?;
        Ok(status(&answer) != Some(b"404"))
    }

    /// Kills the broker, like a crash.
    pub(crate) fn kill(&self) {
        sys::kill(self.pid);
    }

    /// The number in a field of `/varz`.
    pub(crate) fn varz(&self, field: &str) -> Result<u64> {
        let body = self.page("/varz")?;
        let varz: serde_json::Value = serde_json::from_slice(&body)
            .map_err(|error| Failure(format!("/varz is no JSON: {error}")))?;
        match varz[field].as_u64() {
            Some(number) => Ok(number),
            None => fail!("/varz has no number {field}"),
        }
    }

    /// The end of the broker's log, for a failure report.
    pub(crate) fn log_tail(&self) -> String {
        log_tail(self.directory.path())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The child may be a launcher that started the broker itself.
        sys::kill(self.pid);
        sys::kill(self.child.id());
        if let Err(error) = self.child.wait() {
            eprintln!("cannot wait for the broker {}: {error}", self.pid);
        }
    }
}

/// Gets a page by HTTP/1.0, so that the answer is not chunked.
pub(crate) fn fetch(monitor: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let mut answer = exchange(monitor, path)?;
    let head_end = memchr::memmem::find(&answer, b"\r\n\r\n");
    match (head_end, status(&answer)) {
        (Some(end), Some(b"200")) => Ok(answer.split_off(end + 4)),
        _ => {
            let line = answer.split(|byte| *byte == b'\r').next().unwrap_or(b"");
            fail!("GET {path}: {}", String::from_utf8_lossy(line))
        }
    }
}

fn exchange(monitor: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let request = || {
        let mut answer = Vec::new();
        let mut stream = TcpStream::connect(monitor)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").as_bytes())?;
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    request().during(format_args!("GET {path}"))
}

fn status(answer: &[u8]) -> Option<&[u8]> {
    answer.split(|byte| *byte == b' ').nth(1)
}

/// The content of the file `<program>_<pid>.ports` that a broker writes with `--ports_file_dir`.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
    monitoring: Vec<String>,
    #[serde(default)]
    websocket: Vec<String>,
}

/// The process id, the ports for clients and monitoring, and that for WebSockets.
type Started = (u32, [SocketAddr; 2], Option<SocketAddr>);

fn await_ports(child: &mut Child, directory: &Path) -> Result<Started> {
    let start = Instant::now();
    while start.elapsed() < START_LIMIT {
        // The file may exist before its content is written.
        if let Some((pid, text)) = ports_file(directory)?
            && let Ok(ports) = serde_json::from_str::<Ports>(&text)
        {
            let websocket = match ports.websocket[..] {
                [] => None,
                _ => Some(address(&ports.websocket)?),
            };
            let others = [address(&ports.nats)?, address(&ports.monitoring)?];
            return Ok((pid, others, websocket));
        }
        if let Some(status) = child.try_wait().during("cannot watch the broker")? {
            fail!("it ended with {status} before it wrote its ports file");
        }
        thread::sleep(Duration::from_millis(2));
    }
    fail!("no ports file within {} s", START_LIMIT.as_secs())
}

fn ports_file(directory: &Path) -> Result<Option<(u32, String)>> {
    for entry in fs::read_dir(directory).during("cannot list the ports directory")? {
        let path = entry.during("cannot list the ports directory")?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "ports")
        {
            continue;
        }
        let pid = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.rsplit('_').next())
            .and_then(|pid| pid.parse().ok());
        let Some(pid) = pid else {
            fail!("{} does not end with a process id", path.display());
        };
        let text = fs::read_to_string(&path).during(path.display())?;
        return Ok(Some((pid, text)));
    }
    Ok(None)
}

fn address(urls: &[String]) -> Result<SocketAddr> {
    let Some(url) = urls.first() else {
        fail!("the ports file names no address");
    };
    let address = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    address
        .parse()
        .map_err(|error| Failure(format!("address {url} in the ports file: {error}")))
}

fn log_tail(directory: &Path) -> String {
    let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(2)..]
        .iter()
        .map(|line| format!("\n      log: {line}"))
        .collect()
}
