//! Two thousand nodes connect over TLS at the same time.

use std::{
    io::{Read, Write},
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::block;
use test_support::{
    Broker,
    pki::{Pki, Term},
    tls_client::Speaker,
};

const NODES: usize = 2000;

/// Threads that each connect nodes one after the other.
const THREADS: usize = 50;

/// 2000 clients with certificates connect at the same time to a broker whose key and CA
/// are RSA-4096, as Puppet's: all are accepted, and existing clients are served all the
/// time.
#[test]
fn two_thousand_nodes_connect_while_others_are_served() {
    let pki = Pki::new(&["node"]);
    pki.openssl("genrsa -out ca4096.key 4096", &[]);
    pki.openssl(
        "req -x509 -new -key ca4096.key -days 30 -out ca.pem -config ca.cnf -extensions v3_ca -subj",
        &["/CN=Puppet CA: test"],
    );
    std::fs::rename(pki.path("ca4096.key"), pki.path("ca.key")).expect("another CA");
    pki.openssl("genrsa -out broker.key 4096", &[]);
    pki.sign("broker", Term::Valid);
    pki.sign("node", Term::Valid);
    let broker = Broker::midge()
        .config(block(&pki, "verify: true, timeout: 60"))
        .start();
    let addr = broker.client_addr();
    let speaker = Speaker::believing(&pki.path("ca.pem"))
        .showing(&pki.path("node.pem"), &pki.path("node.key"));

    let over = AtomicBool::new(false);
    let (served, slowest) = (AtomicU64::new(0), AtomicU64::new(0));
    let gate = Barrier::new(THREADS + 1);
    let begin = Instant::now();
    let refused: Vec<String> = thread::scope(|scope| {
        scope.spawn(|| {
            let (stream, _) = speaker.connect(addr).expect("gets in before");
            let mut old = Node::new(stream).expect("logs in");
            gate.wait();
            while !over.load(Ordering::Relaxed) {
                let took = old.ping().expect("is served");
                served.fetch_add(1, Ordering::Relaxed);
                slowest.fetch_max(took.as_micros() as u64, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let crowds: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    gate.wait();
                    let node = || {
                        let (stream, _) = speaker.connect(addr)?;
                        let mut node = Node::new(stream)?;
                        node.ping()?;
                        Ok(node)
                    };
                    // They stay until all nodes of this thread are connected.
                    let nodes: Vec<Result<_, String>> =
                        (0..NODES / THREADS).map(|_| node()).collect();
                    let refused = nodes.into_iter().filter_map(Result::err);
                    refused.collect::<Vec<_>>()
                })
            })
            .collect();
        let refused = crowds
            .into_iter()
            .flat_map(|many_connections| many_connections.join().expect("a crowd"))
            .collect();
        over.store(true, Ordering::Relaxed);
        refused
    });
    let tls = broker.get_json("/varz")["tls"].clone();
    println!(
        "{NODES} nodes in {:?}; {} pings of the old client, the slowest {} us; {tls}",
        begin.elapsed(),
        served.load(Ordering::Relaxed),
        slowest.load(Ordering::Relaxed)
    );
    assert!(
        refused.is_empty(),
        "{} refused: {:?}",
        refused.len(),
        refused.first()
    );
    assert_eq!(tls["handshakes"].as_u64(), Some(NODES as u64 + 1));
    assert!(
        served.load(Ordering::Relaxed) > 10,
        "the old client was not served"
    );
}

/// A client after its handshake.
struct Node<S>(S);

impl<S: Read + Write> Node<S> {
    fn new(mut stream: S) -> Result<Self, String> {
        stream
            .write_all(b"CONNECT {\"verbose\":false,\"tls_required\":true}\r\n")
            .map_err(|error| error.to_string())?;
        Ok(Self(stream))
    }

    /// The time from a PING to its PONG.
    fn ping(&mut self) -> Result<Duration, String> {
        let text = |error: std::io::Error| error.to_string();
        let begin = Instant::now();
        self.0.write_all(b"PING\r\n").map_err(text)?;
        let mut received = Vec::new();
        while !received.ends_with(b"PONG\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).map_err(text)?;
            received.push(byte[0]);
        }
        Ok(begin.elapsed())
    }
}
