//! Peers for the tests of the client: scripted HTTP servers and real brokers.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Serves every connection with `answer`, which gets the request's head. The thread ends with the
/// test process.
pub(crate) fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let head = read_head(&stream);
            answer(&head, &mut stream);
        }
    });
    url(address)
}

/// Serves several requests on each connection, and reports the number of answers on each one that has
/// ended. `goes_on` gets the number of answers so far, before the first and after each one.
pub(crate) fn keep_serving(
    goes_on: fn(usize, &mut TcpStream) -> bool,
) -> (String, Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (ended, connections) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut answered = 0;
            while goes_on(answered, &mut stream) {
                let head = read_head(&stream);
                if head.is_empty() {
                    break;
                }
                let status = match head.starts_with("GET /missing ") {
                    true => "404 Not Found",
                    false => "200 OK",
                };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
                answered += 1;
            }
            // The test may be over.
            let _ = ended.send(answered);
        }
    });
    (url(address), connections)
}

/// Serves every connection with a fixed status line and body.
pub(crate) fn serve_text(status: &'static str, body: &'static str) -> String {
    serve(move |_, stream| {
        let length = body.len();
        // The client may close early.
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    })
}

/// The URL of a port that no process listens on.
pub(crate) fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    url(listener.local_addr().expect("bound"))
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn read_head(stream: &TcpStream) -> String {
    let mut head = String::new();
    let mut lines = BufReader::new(stream);
    while lines.read_line(&mut head).is_ok_and(|read| read > 2) {}
    head
}

/// A real nats-server on free ports, killed when dropped.
pub(crate) struct NatsServer {
    child: Child,
    _dir: TempDir,
    /// Address of the client port, `host:port`.
    pub(crate) client: String,
    /// URL of the monitoring port.
    pub(crate) monitoring: String,
}

impl NatsServer {
    /// Starts `program` and waits until it has written its ports.
    pub(crate) fn start(program: &str) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let child = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", "-1", "-m", "-1"])
            .arg("--ports_file_dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}: install a nats-server there"));
        let ports = wait_for_ports(&dir, child.id());
        let address = |kind: &str| ports[kind][0].as_str().expect("a URL").to_owned();
        Self {
            child,
            client: address("nats").replace("nats://", ""),
            monitoring: address("monitoring"),
            _dir: dir,
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for_ports(dir: &TempDir, pid: u32) -> serde_json::Value {
    let file = dir.path().join(format!("nats-server_{pid}.ports"));
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        // The file may be incomplete and not parse yet.
        if let Ok(text) = fs::read_to_string(&file)
            && let Ok(ports) = serde_json::from_str(&text)
        {
            return ports;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("nats-server wrote no {} within 30 s", file.display());
}
