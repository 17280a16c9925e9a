//! Certificates, keys, CAs and CRLs of two brokers are renewed repeatedly, by changed
//! files and by reloads, while messages are counted: over mutual TLS, without TLS, and
//! over the TLS route between the brokers. No message is lost or duplicated, and only
//! revoked clients are disconnected.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use test_support::{PATIENCE, pki::Pki, pki::Term, tls_client::Speaker, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

const ROUNDS: usize = 6;

/// A socket, with TLS or without.
trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// Two brokers with the same CAs and CRLs, and a route between them.
struct Stage {
    pki: Pki,
    /// Another CA, which is trusted in some rounds.
    other: Pki,
    members: Vec<Member>,
}

impl Stage {
    fn new() -> Self {
        let pki = Pki::new(&["n0", "n1", "node", "victim"]);
        let other = pki.below("/CN=Puppet CA: other", &["guest"]);
        let stage = Self {
            pki,
            other,
            members: Vec::new(),
        };
        stage.join(false);
        let ports = [free_port(), free_port()];
        let members = ["n0", "n1"].into_iter().zip(ports).map(|(name, port)| {
            let routes = if name == "n1" { &ports[..1] } else { &[] };
            let mut plan = Plan::new(Kind::Midge, name, port, routes);
            let tls = stage.block(name);
            plan.cluster = format!("name: mesh\n  {tls}");
            plan.config = format!("{tls}\nallow_non_tls: true\n");
            plan.start()
        });
        let members: Vec<Member> = members.collect();
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
        Self { members, ..stage }
    }

    fn block(&self, name: &str) -> String {
        let file = |file: &str| self.pki.text(file);
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, crl_file: {:?}, verify: true }}",
            file(&format!("{name}.pem")),
            file(&format!("{name}.key")),
            file("cas.pem"),
            file("crls.pem")
        )
    }

    /// Writes the files of CAs and CRLs, with the other CA or without.
    fn join(&self, with_other: bool) {
        for (file, all) in [("crl.pem", "crls.pem"), ("ca.pem", "cas.pem")] {
            let mut files = vec![self.pki.path(file)];
            files.extend(with_other.then(|| self.other.path(file)));
            Pki::join(&files, &self.pki.path(all));
        }
    }

    /// New keys and certificates for both brokers, a new certificate of the CA,
    /// new CRLs.
    fn renew(&self, round: usize) {
        let days = format!(
            "x509 -in ca.pem -signkey ca.key -days {} -out ca.new",
            20 + round
        );
        self.pki.openssl(&days, &[]);
        fs::rename(self.pki.path("ca.new"), self.pki.path("ca.pem")).expect("replace the CA");
        self.pki.write_crl();
        self.other.write_crl();
        self.join(round % 2 == 1);
        for name in ["n0", "n1"] {
            fs::remove_file(self.pki.path(&format!("{name}.key"))).expect("remove the old key");
            self.pki.sign(name, Term::Valid);
        }
        // Otherwise the files are checked every second.
        if round.is_multiple_of(2) {
            for member in &self.members {
                member.broker.signal(libc::SIGHUP);
            }
        }
    }

    fn speaker(&self, name: &str) -> Speaker {
        let pki = if name == "guest" {
            &self.other
        } else {
            &self.pki
        };
        let files = [format!("{name}.pem"), format!("{name}.key")].map(|file| pki.path(&file));
        Speaker::believing(&self.pki.path("ca.pem")).showing(&files[0], &files[1])
    }

    fn addr(&self, member: usize) -> SocketAddr {
        self.members[member].broker.client_addr()
    }

    fn secured(&self, name: &str, member: usize) -> Box<dyn Stream> {
        let (stream, _) = self
            .speaker(name)
            .connect(self.addr(member))
            .expect("gets in");
        stream.sock.set_read_timeout(Some(POLL)).expect("a bound");
        Box::new(stream)
    }

    /// Whether new connections see a member's certificate as it is on disk, as a client
    /// and as a route.
    fn shows_new(&self, member: usize) -> bool {
        let name = &self.members[member].name;
        let file = self.pki.path(&format!("{name}.pem"));
        let Ok(on_disk) = CertificateDer::from_pem_file(file) else {
            return false;
        };
        // Routes start with TLS.
        let route = SocketAddr::from(([127, 0, 0, 1], self.members[member].route_port));
        [
            self.speaker("node").connect(self.addr(member)),
            self.speaker("node").first().connect(route),
        ]
        .into_iter()
        .all(|connected| {
            connected.is_ok_and(|(stream, _)| {
                let shown = stream.conn.peer_certificates().expect("a certificate");
                shown[0] == on_disk
            })
        })
    }

    /// The id of the route between both; another route would have another id.
    fn route(&self) -> u64 {
        let routes = self.members[0].routes();
        assert_eq!(routes.len(), 1, "{routes:?}");
        routes[0]["rid"].as_u64().expect("a number")
    }
}

/// The time after which a reader checks whether everything has arrived.
const POLL: Duration = Duration::from_millis(100);

/// Publishes numbers until it is stopped; returns the last one.
fn publish(mut stream: Box<dyn Stream>, name: &str, stop: &AtomicBool) -> u64 {
    let mut last = 0;
    let connect = "CONNECT {\"verbose\":false,\"tls_required\":true}\r\n";
    stream.write_all(connect.as_bytes()).expect("write");
    while !stop.load(Ordering::Relaxed) {
        let mut batch = String::new();
        for _ in 0..10 {
            last += 1;
            let number = last.to_string();
            batch += &format!("PUB count.{name} {}\r\n{number}\r\n", number.len());
        }
        stream
            .write_all(batch.as_bytes())
            .expect("the broker takes it");
        thread::sleep(Duration::from_millis(2));
    }
    stream.write_all(b"PING\r\n").expect("write");
    let mut lines = Lines::new(stream);
    while lines.next(|| false).expect("an answer") != b"PONG" {}
    last
}

/// Lines of a socket that is read again after a timeout.
struct Lines(BufReader<Box<dyn Stream>>, Vec<u8>);

impl Lines {
    fn new(stream: Box<dyn Stream>) -> Self {
        Self(BufReader::new(stream), Vec::new())
    }

    /// The next line; `None` at the end, or after a timeout when `enough` says that
    /// nothing more is expected.
    fn next(&mut self, enough: impl Fn() -> bool) -> Option<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.0.read_until(b'\n', &mut self.1) {
                Ok(0) => return None,
                Ok(_) => {
                    let line = std::mem::take(&mut self.1);
                    return Some(line.trim_ascii_end().to_vec());
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if enough() {
                        return None;
                    }
                    assert!(Instant::now() < deadline, "nothing came for {PATIENCE:?}");
                }
                // With or without a TLS close_notify.
                Err(_) => return None,
            }
        }
    }
}

/// Subscribes to all numbers; returns once the broker has processed it.
fn subscriber(mut stream: Box<dyn Stream>) -> Lines {
    stream
        .write_all(
            b"CONNECT {\"verbose\":false,\"tls_required\":true}\r\nSUB count.> 1\r\nPING\r\n",
        )
        .expect("write");
    let mut lines = Lines::new(stream);
    while lines.next(|| false).expect("an answer") != b"PONG" {}
    lines
}

/// Reads numbers until all have arrived, or the broker closes: none may be missing,
/// duplicate or out of order. Returns the last of each publisher.
fn count(mut lines: Lines, expected: &AtomicU64) -> HashMap<String, u64> {
    let mut last: HashMap<String, u64> = HashMap::new();
    loop {
        let seen: u64 = last.values().sum();
        let Some(line) = lines.next(|| seen == expected.load(Ordering::Relaxed)) else {
            return last;
        };
        let line = String::from_utf8(line).expect("text");
        let Some(message) = line.strip_prefix("MSG count.") else {
            assert!(
                line.starts_with("PING") || line.starts_with("INFO "),
                "{line}"
            );
            continue;
        };
        let publisher = message.split(' ').next().expect("a name").to_owned();
        let Some(number) = lines.next(|| false) else {
            return last;
        };
        let number: u64 = String::from_utf8_lossy(&number).parse().expect("a number");
        let before = last.entry(publisher).or_default();
        assert_eq!(number, *before + 1, "{line}");
        *before = number;
    }
}

/// Makes publishers stop, also when the test fails in between.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn renewals_lose_no_message() {
    let stage = Stage::new();
    let plain = |member: usize| -> Box<dyn Stream> {
        let mut stream = TcpStream::connect(stage.addr(member)).expect("connect");
        let mut byte = [0];
        while byte[0] != b'\n' {
            stream.read_exact(&mut byte).expect("an INFO");
        }
        stream.set_read_timeout(Some(POLL)).expect("a bound");
        Box::new(stream)
    };
    let route = stage.route();
    let readers = [
        subscriber(stage.secured("node", 0)),
        subscriber(plain(0)),
        subscriber(stage.secured("node", 1)),
        subscriber(plain(1)),
    ];
    let revoked_client = subscriber(stage.secured("victim", 0));
    for member in &stage.members {
        wait_until("each has the other's subscriptions", || {
            member.knows("count.>")
        });
    }
    let (stop, expected) = (AtomicBool::new(false), AtomicU64::new(u64::MAX));
    let (stop, expected) = (&stop, &expected);
    thread::scope(|scope| {
        let _stop = Stop(stop);
        let publishers = [
            ("secured", stage.secured("node", 0)),
            ("plain", plain(0)),
            ("far", stage.secured("node", 1)),
        ]
        .map(|(name, stream)| scope.spawn(move || publish(stream, name, stop)));
        let readers = readers.map(|lines| scope.spawn(move || count(lines, expected)));
        let revoked_client = scope.spawn(move || count(revoked_client, expected));

        for round in 0..ROUNDS {
            stage.renew(round);
            for member in 0..2 {
                wait_until(
                    &format!("round {round}: {member} uses the new files"),
                    || stage.shows_new(member),
                );
            }
            let anonymous_client = || stage.speaker("guest").attempt(stage.addr(0)).is_ok();
            wait_until("the other CA is trusted, or not", || {
                anonymous_client() == (round % 2 == 1)
            });
            match round {
                1 => breaks_nothing(&stage, "n0.pem"),
                2 => breaks_nothing(&stage, "n0.key"),
                3 => {
                    stage.pki.revoke("victim");
                    stage.join(true);
                    wait_until("the revoked client is disconnected", || {
                        revoked_client.is_finished()
                    });
                    wait_until("the revoked client is refused", || {
                        stage.speaker("victim").attempt(stage.addr(0)).is_err()
                    });
                }
                4 => breaks_nothing(&stage, "cas.pem"),
                5 => breaks_nothing(&stage, "crls.pem"),
                _ => {}
            }
        }

        stop.store(true, Ordering::Relaxed);
        let sent: Vec<u64> = publishers
            .map(|publisher| publisher.join().expect("publishes to the end"))
            .to_vec();
        expected.store(sent.iter().sum(), Ordering::Relaxed);
        let all = HashMap::from([
            ("secured".to_owned(), sent[0]),
            ("plain".to_owned(), sent[1]),
            ("far".to_owned(), sent[2]),
        ]);
        for reader in readers {
            assert_eq!(reader.join().expect("counts to the end"), all);
        }
        let of_victim = revoked_client
            .join()
            .expect("counts until it is disconnected");
        for (publisher, last) in of_victim {
            assert!(0 < last && last < all[&publisher], "{publisher}: {last}");
        }
        println!("{sent:?} messages, each at four readers, over {ROUNDS} renewals");
    });
    assert_eq!(stage.route(), route, "the route was never closed");
    let varz = stage.members[0].broker.get_json("/varz");
    assert_eq!(varz["tls"]["revoked_closed"], 1, "{}", varz["tls"]);
    assert_eq!(varz["cluster"]["revoked_closed"], 0);
    let closed = stage.members[0].broker.get_json("/connz?state=closed");
    let cut = closed["connections"].as_array().expect("a list").iter();
    let revoked = cut.filter(|closed| closed["reason"] == "Certificate Revoked");
    assert_eq!(revoked.count(), 1);
}

/// A file is broken for a while: the broker reports it, new clients see the previous
/// state, and the repaired file is loaded.
fn breaks_nothing(stage: &Stage, file: &str) {
    let path = stage.pki.path(file);
    let broker = &stage.members[0].broker;
    let good = fs::read(&path).expect("read the file");
    let refused = || broker.get_json("/varz")["tls"]["refused_files"].clone();
    assert!(refused().is_null(), "{}", refused());
    fs::write(&path, "-----BEGIN CERTIFICATE-----\nnonsense\n").expect("break the file");
    broker.signal(libc::SIGHUP);
    wait_until(&format!("{file} is refused"), || {
        refused().as_str().is_some_and(|text| text.contains(file))
    });
    let new_client = stage.speaker("node").attempt(stage.addr(0));
    new_client.unwrap_or_else(|why| panic!("{file}: {why}"));
    fs::write(&path, good).expect("mend the file");
    wait_until(&format!("{file} is accepted again"), || refused().is_null());
    assert!(stage.shows_new(0), "{file}");
}
