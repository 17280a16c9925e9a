//! The broker that collectd polls, and fake servers that imitate one.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use monitor_client::{Client, Varz};

use test_support::{free_port, wait_until};

/// A broker on fixed ports, so that it can restart at the same address. Killed when
/// dropped.
pub(crate) struct Broker {
    child: Child,
    ports: Ports,
}

/// Two ports that were free a moment ago.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    client: u16,
    monitoring: u16,
}

impl Ports {
    pub(crate) fn free() -> Self {
        Self {
            client: free_port(),
            monitoring: free_port(),
        }
    }

    /// The monitoring port's URL.
    pub(crate) fn url(self) -> String {
        format!("http://127.0.0.1:{}", self.monitoring)
    }
}

impl Broker {
    /// Starts on free ports.
    pub(crate) fn start() -> Self {
        Self::start_on(Ports::free())
    }

    /// Starts and waits until it answers.
    pub(crate) fn start_on(ports: Ports) -> Self {
        let child = command(ports)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("midge: {error}"));
        let broker = Self { child, ports };
        wait_until("answer of the broker", || {
            broker.client().healthz().is_ok_and(|(code, _)| code == 200)
        });
        broker
    }

    /// The monitoring port's URL.
    pub(crate) fn url(&self) -> String {
        self.ports.url()
    }

    /// Its `/varz`.
    pub(crate) fn varz(&self) -> Varz {
        self.client().varz().expect("the broker answers")
    }

    /// A client that has subscribed to `subject`.
    pub(crate) fn subscribe(&self, subject: &str) -> Peer {
        let stream = TcpStream::connect(("127.0.0.1", self.ports.client)).expect("the client port");
        let mut peer = Peer {
            lines: BufReader::new(stream),
        };
        peer.send(&format!(
            "CONNECT {{\"verbose\":false}}\r\nSUB {subject} 1\r\n"
        ));
        peer
    }

    /// Sends it a signal such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(
            sent.is_ok_and(|sent| sent.success()),
            "kill -s {name} {pid}"
        );
    }

    fn client(&self) -> Client {
        Client::new(&self.url(), Duration::from_secs(5)).expect("a good URL")
    }
}

/// The only place that names the broker program.
fn command(ports: Ports) -> Command {
    let mut command = Command::new(test_support::tools::midge());
    command.args(["-a", "127.0.0.1", "-p", &ports.client.to_string()]);
    command.args(["-m", &ports.monitoring.to_string()]);
    command
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A raw client of a broker.
pub(crate) struct Peer {
    lines: BufReader<TcpStream>,
}

impl Peer {
    /// Publishes `count` messages of `size` bytes.
    pub(crate) fn publish(&mut self, subject: &str, count: usize, size: usize) {
        let message = format!("PUB {subject} {size}\r\n{}\r\n", "x".repeat(size));
        self.send(&message.repeat(count));
    }

    /// Sends and waits until the broker has processed it, deliveries to this client
    /// included.
    fn send(&mut self, text: &str) {
        let stream = self.lines.get_mut();
        stream.write_all(text.as_bytes()).expect("sent");
        stream.write_all(b"PING\r\n").expect("sent");
        let mut line = String::new();
        while line != "PONG\r\n" {
            line.clear();
            let read = self.lines.read_line(&mut line).expect("an answer");
            assert!(read > 0 && !line.starts_with("-ERR"), "{line}");
        }
    }
}

/// Serves every connection with `answer`, each in a thread, after its request was read.
pub(crate) fn pretend(answer: impl Fn(&mut TcpStream) + Clone + Send + 'static) -> String {
    pretend_requests(move |_, stream| answer(stream))
}

/// Serves every path with the body for it.
pub(crate) fn pretend_paths(body: fn(&str) -> &'static str) -> String {
    pretend_answers(move |path| ("200 OK", body(path).to_owned()))
}

/// Serves every path with the status and body for it.
pub(crate) fn pretend_answers(
    answer: impl Fn(&str) -> (&'static str, String) + Clone + Send + 'static,
) -> String {
    pretend_requests(move |request, stream| {
        let (status, body) = answer(request.split(' ').nth(1).unwrap_or_default());
        let length = body.len();
        // The client may disconnect early.
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    })
}

/// An answer of `/varz` with what the plugin expects of every broker.
pub(crate) fn varz(server_id: &str, start: &str) -> String {
    format!(
        "{{\"server_id\":\"{server_id}\",\"server_name\":\"name-{server_id}\",\
         \"version\":\"2.15.1\",\"start\":\"{start}\",\"now\":\"2026-01-02T00:00:00Z\",\
         \"connections\":3,\"total_connections\":1,\"in_msgs\":1,\"out_msgs\":2,\"in_bytes\":1,\
         \"out_bytes\":1,\"slow_consumers\":0,\"subscriptions\":0,\"mem\":1,\"cpu\":0}}"
    )
}

/// The same with the first line of the request.
fn pretend_requests(answer: impl Fn(&str, &mut TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let request = read_request(&stream);
                answer(&request, &mut stream);
            });
        }
    });
    format!("http://{address}")
}

/// Serves every connection with the same header lines and body.
pub(crate) fn pretend_text(head: &'static str, body: &'static str) -> String {
    pretend(move |stream| {
        let length = body.len();
        // The client may disconnect early.
        let _ = write!(
            stream,
            "HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    })
}

/// Passes connections on to a port of this host, and counts them.
pub(crate) fn relay(port: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let own = listener.local_addr().expect("bound").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            let far = TcpStream::connect(("127.0.0.1", port)).expect("the broker");
            let clones = (
                near.try_clone().expect("a clone"),
                far.try_clone().expect("a clone"),
            );
            for (mut from, mut to) in [(near, far), (clones.1, clones.0)] {
                thread::spawn(move || {
                    // Either side may end it.
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    (own, count)
}

/// Holds the connection until the client closes it.
pub(crate) fn stay_mute(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0]);
}

/// The first line of a request; the rest is read too.
fn read_request(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream);
    let mut first = String::new();
    let _ = lines.read_line(&mut first);
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|read| read > 2) {
        line.clear();
    }
    first
}
