//! A broker as a child process: midge, or a real nats-server to compare with.
//!
//! The broker listens on free ports of 127.0.0.1 with its own temporary directory and is
//! ready when [`BrokerBuilder::start`] returns. Its log is printed when the test fails.
//! Dropping it ends the process and removes the directory.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    HttpResponse, LogFile, RawClient, endpoints, http, log_file::read_lossy, tools, upgrade,
    wait_for, wait_until,
};

/// A broker to be started; see [`Broker::midge`].
pub struct BrokerBuilder {
    program: PathBuf,
    host: Ipv4Addr,
    port: u16,
    monitoring: bool,
    monitoring_flag: bool,
    greets: bool,
    flags: Vec<String>,
    config: Option<String>,
    environment: Vec<(String, String)>,
    passed: Vec<OwnedFd>,
    stderr: Option<Stdio>,
    on_start: Option<fn(&Broker)>,
}

/// A running broker.
pub struct Broker {
    child: Child,
    ports: Ports,
    folder: TempDir,
    log: LogFile,
}

#[derive(Clone, Copy)]
struct Ports {
    client: SocketAddr,
    monitoring: Option<SocketAddr>,
}

impl Broker {
    /// The midge of this build, or the one named by `MIDGE_BIN`.
    pub fn midge() -> BrokerBuilder {
        Self::program(tools::midge())
    }

    /// A real nats-server 2.15, the reference for midge's behaviour.
    pub fn nats_server() -> BrokerBuilder {
        Self::program(tools::nats_server())
    }

    /// Debian's nats-server 2.9.
    pub fn nats_server_29() -> BrokerBuilder {
        Self::program(tools::nats_server_29())
    }

    /// Any program that accepts nats-server's flags.
    pub fn program(program: impl Into<PathBuf>) -> BrokerBuilder {
        BrokerBuilder {
            program: program.into(),
            host: Ipv4Addr::LOCALHOST,
            port: 0,
            monitoring: true,
            monitoring_flag: true,
            greets: true,
            flags: Vec::new(),
            config: None,
            environment: Vec::new(),
            passed: Vec::new(),
            stderr: None,
            on_start: None,
        }
    }

    /// Address of the client listener.
    pub fn client_addr(&self) -> SocketAddr {
        self.ports.client
    }

    /// Address of the client listener as `nats://host:port`.
    pub fn client_url(&self) -> String {
        format!("nats://{}", self.ports.client)
    }

    /// Address of the monitoring listener.
    pub fn monitor_addr(&self) -> SocketAddr {
        self.ports
            .monitoring
            .expect("the broker was started without monitoring")
    }

    /// Address of the monitoring listener as `http://host:port`, without a slash at the
    /// end.
    pub fn monitor_url(&self) -> String {
        format!("http://{}", self.monitor_addr())
    }

    /// The response to a GET of `path_and_query` on the monitoring port.
    pub fn get(&self, path_and_query: &str) -> HttpResponse {
        http::get(self.monitor_addr(), path_and_query)
    }

    /// The JSON body of a GET that must return 200.
    pub fn get_json(&self, path_and_query: &str) -> Value {
        let response = self.get(path_and_query);
        assert_eq!(response.status, 200, "{path_and_query}: {response:?}");
        response.json()
    }

    /// A raw client that has read the INFO.
    pub fn connect(&self) -> RawClient {
        RawClient::connect(self.ports.client)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The temporary directory of this broker, with its configuration, ports file and
    /// log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the broker writes to standard output and error.
    pub fn log(&self) -> &LogFile {
        &self.log
    }

    /// All that it has written. Fails if it has not ended.
    pub fn final_log(&mut self) -> String {
        assert!(self.has_exited(), "the broker still writes its log");
        self.log.to_string()
    }

    /// Replaces the configuration file, and waits until it was read again.
    pub fn reload(&self, text: &str) {
        const DONE: &str = "Reloaded server configuration";
        let before = self.log.so_far().count(DONE);
        fs::write(self.folder().join("broker.conf"), text).expect("write the configuration");
        self.signal(libc::SIGHUP);
        wait_until("it has reloaded", || self.log.so_far().count(DONE) > before);
    }

    /// Sends a signal such as `libc::SIGHUP`.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a pid fits in an i32");
        // SAFETY: kill takes two integers and touches no memory of ours; the child has
        // not been waited for, so its pid cannot belong to another process.
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0, "kill({pid}, {signal}) failed");
        if signal == libc::SIGSTOP {
            // A running thread continues for a moment.
            wait_until("all threads are stopped", || self.is_stopped());
        }
    }

    /// Whether each of its threads is stopped.
    fn is_stopped(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        tasks.flatten().all(|task| {
            // A thread that has ended in the meantime does not run either.
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_none_or(|(_, state)| state.starts_with('T'))
        })
    }

    /// All paths of the monitoring port that answer GET.
    pub fn endpoints(&self) -> Vec<String> {
        endpoints::of(&self.get("/").body)
    }

    /// Stops the broker with SIGTERM and returns its exit status.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait_exit()
    }

    /// Kills the broker with SIGKILL, like a crash.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill the broker");
        self.child.wait().expect("wait for the broker");
    }

    /// Waits until `/varz` shows this many open client connections: a broker notices a
    /// closed connection a moment after the client.
    pub fn wait_for_connections(&self, count: u64) {
        wait_until(&format!("{count} open connections"), || {
            self.get_json("/varz")["connections"] == count
        });
    }

    /// Waits until the broker ends by itself.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the broker ends", || {
            child.try_wait().expect("wait for the broker")
        })
    }

    /// Whether the process has ended.
    pub fn has_exited(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("ask for the broker's state")
            .is_some()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Failures do not matter here: the child has ended, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What it has handed over to, or was about to.
        for pid in self.processes() {
            upgrade::kill(pid, libc::SIGKILL);
        }
        if thread::panicking() {
            eprintln!(
                "--- log of the broker on {} ---\n{}--- end of log ---",
                self.ports.client,
                self.log()
            );
        }
    }
}

impl BrokerBuilder {
    /// The program to be started.
    pub fn program_path(&self) -> PathBuf {
        self.program.clone()
    }

    /// Adds a command-line flag or its value.
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Starts with a configuration file of this text.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }

    /// Starts with this variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Passes listening sockets to it, as a service manager does, with these names if there are
    /// any.
    pub fn pass(mut self, sockets: Vec<OwnedFd>, names: Option<&str>) -> Self {
        self = self.env("LISTEN_FDS", &sockets.len().to_string());
        if let Some(names) = names {
            self = self.env("LISTEN_FDNAMES", names);
        }
        self.passed = sockets;
        self
    }

    /// Redirects standard error, which is then missing in [`Broker::log`].
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.stderr = Some(to.into());
        self
    }

    /// Calls this with the broker as soon as it accepts clients.
    pub fn on_start(mut self, call: fn(&Broker)) -> Self {
        self.on_start = Some(call);
        self
    }

    /// Listens on this client port instead of a free one, for restarts.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Listens on another address of this machine, such as 127.0.0.2, so that several brokers
    /// can have the same ports.
    pub fn host(mut self, host: Ipv4Addr) -> Self {
        self.host = host;
        self
    }

    /// Its configuration says where the monitoring port is.
    pub fn without_monitoring_flag(mut self) -> Self {
        self.monitoring_flag = false;
        self
    }

    /// Clients send first: the broker sends no INFO to a client that only connects.
    pub fn without_greeting(mut self) -> Self {
        self.greets = false;
        self
    }

    /// Starts without a monitoring port.
    pub fn without_monitoring(mut self) -> Self {
        self.monitoring = false;
        self
    }

    /// Starts the broker and waits until it accepts clients.
    ///
    /// Panics with the broker's log if it ends or does not get ready.
    pub fn start(mut self) -> Broker {
        let folder = tempfile::Builder::new()
            .prefix("broker-")
            .tempdir()
            .expect("make a temporary folder");
        let log_file = folder.path().join("output.log");
        let mut child = self.spawn(folder.path(), &log_file);
        let ports = wait_for_ports(&mut child, folder.path(), self.monitoring)
            .unwrap_or_else(|why| panic!("{why}; its output:\n{}", read_lossy(&log_file)));
        let broker = Broker {
            child,
            ports,
            folder,
            log: LogFile::new(log_file),
        };
        match self.greets {
            true => drop(RawClient::connect(broker.client_addr())),
            false => drop(TcpStream::connect(broker.client_addr()).expect("connect")),
        }
        if let Some(call) = self.on_start {
            call(&broker);
        }
        broker
    }

    fn spawn(&mut self, folder: &Path, log_file: &Path) -> Child {
        let log = fs::File::create(log_file).expect("create the log of the broker");
        let mut command = self.command();
        let port = match self.port {
            0 => "-1".to_owned(),
            port => port.to_string(),
        };
        command.args(["-a", &self.host.to_string(), "-p", &port]);
        if self.monitoring && self.monitoring_flag {
            command.args(["-m", "-1"]);
        }
        command.arg("--ports_file_dir").arg(folder);
        if let Some(text) = &self.config {
            let file = folder.join("broker.conf");
            fs::write(&file, text).expect("write the configuration");
            command.arg("-c").arg(file);
        }
        command
            .args(&self.flags)
            .envs(self.environment.iter().cloned())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log of the broker"))
            .stderr(self.stderr.take().unwrap_or_else(|| log.into()))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()))
    }
}

impl BrokerBuilder {
    /// The program; with sockets as its descriptors from 3 on, if it is to get some.
    fn command(&self) -> Command {
        if self.passed.is_empty() {
            return Command::new(&self.program);
        }
        // The shell becomes the broker, so that its process id is the broker's.
        let mut command = Command::new("sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]);
        command.arg(&self.program);
        let sockets: Vec<i32> = self.passed.iter().map(AsRawFd::as_raw_fd).collect();
        // SAFETY: between fork and exec it only makes system calls on numbers that it has.
        unsafe { command.pre_exec(move || place(&sockets)) };
        command
    }
}

/// Makes these descriptors those from 3 on, in a process that is about to become another program.
fn place(sockets: &[i32]) -> io::Result<()> {
    let check = |result: i32| match result {
        -1 => Err(io::Error::last_os_error()),
        number => Ok(number),
    };
    let mut beyond = [0; 16];
    for (at, socket) in beyond.iter_mut().zip(sockets) {
        // One of them may have a number that another one is to get.
        // SAFETY: takes no pointer.
        *at = check(unsafe { libc::fcntl(*socket, libc::F_DUPFD_CLOEXEC, 100) })?;
    }
    for (number, socket) in (3..).zip(&beyond[..sockets.len()]) {
        // SAFETY: takes no pointer. What had this number is not used before the exec, unless it is
        // the pipe by which the standard library reports a failed exec: then that is not reported.
        check(unsafe { libc::dup2(*socket, number) })?;
    }
    Ok(())
}

/// Waits for the ports file; an error says why there will be none.
fn wait_for_ports(child: &mut Child, folder: &Path, monitoring: bool) -> Result<Ports, String> {
    wait_for("the broker writes its ports file", || {
        if let Some(ports) = read_ports(folder, monitoring) {
            return Some(Ok(ports));
        }
        let status = child.try_wait().expect("ask for the broker's state")?;
        Some(Err(format!("the broker ended at start with {status}")))
    })
}

/// The ports file of the broker, as soon as it exists and is complete.
fn read_ports(folder: &Path, monitoring: bool) -> Option<Ports> {
    let file = fs::read_dir(folder)
        .expect("read the broker's folder")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "ports"))?;
    let ports: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    Some(Ports {
        client: address(&ports["nats"][0])?,
        monitoring: match monitoring {
            true => Some(address(&ports["monitoring"][0])?),
            false => None,
        },
    })
}

/// The socket address in a URL such as `nats://127.0.0.1:4222`.
fn address(url: &Value) -> Option<SocketAddr> {
    url.as_str()?.split_once("://")?.1.parse().ok()
}

/// Whether something listens on `address`.
pub fn is_listening(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}
