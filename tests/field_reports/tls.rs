//! Certificates that expired or were revoked unnoticed, handshakes that never finished,
//! and port probes without a handshake.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::fs::symlink,
    path::Path,
    time::Duration,
};

use crate::{both, check, closed, findings, number, read_until};
use test_support::{
    Broker, PATIENCE, free_port,
    mesh::{self, Kind, Plan},
    pki::{Pki, Term},
    tls_client::Speaker,
    wait_until,
};

const DAY: u32 = 24 * 3600;

fn block(pki: &Pki, more: &str) -> String {
    format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {more} }}\n",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem")
    )
}

fn speaker(pki: &Pki, name: &str) -> Speaker {
    let file = |end: &str| pki.path(&format!("{name}.{end}"));
    Speaker::believing(&pki.path("ca.pem")).showing(&file("pem"), &file("key"))
}

/// The author of Choria asked that a removed node cannot return with its old files: a
/// local list of revoked certificates, loaded while the broker runs. The node must be
/// disconnected and refused; its neighbour is not affected.
#[test]
fn nats_server_929_a_revoked_node_is_disconnected_when_the_crl_changes() {
    let pki = Pki::new(&["broker", "leaver", "stayer"]);
    let crl = format!("verify: true, crl_file: {:?}", pki.text("crl.pem"));
    let broker = Broker::midge().config(block(&pki, &crl)).start();
    let address = broker.client_addr();
    let connect = |name: &str| {
        let (mut stream, _) = speaker(&pki, name).connect(address).expect("gets in");
        let hello =
            format!("CONNECT {{\"verbose\":false,\"name\":{name:?}}}\r\nSUB x 1\r\nPING\r\n");
        stream.write_all(hello.as_bytes()).expect("write");
        read_until(&mut stream, "PONG\r\n");
        stream
    };
    let (mut leaver, mut stayer) = (connect("leaver"), connect("stayer"));
    pki.revoke("leaver");
    // Nobody sends a signal.
    let _ = leaver.read_to_end(&mut Vec::new());
    assert_eq!(closed(&broker, "leaver")["reason"], "Certificate Revoked");
    assert!(speaker(&pki, "leaver").attempt(address).is_err());
    stayer.write_all(b"PUB x 2\r\nhi\r\n").expect("write");
    read_until(&mut stayer, "MSG x 1 2\r\nhi\r\n");
    speaker(&pki, "stayer").attempt(address).expect("gets in");
    wait_until("the finding", || {
        !findings(&broker, "revoked-clients").is_empty()
    });
}

/// The brokers' certificate expired, because nobody had reloaded them, and probes had
/// only checked the port. The expiry must be visible days before, for clients and routes:
/// in the check, the findings and the metrics.
#[test]
fn nats_server_4763_an_expiring_certificate_is_reported_before_its_expiry() {
    let pki = Pki::new(&[]);
    pki.sign("broker", Term::Seconds(3 * DAY));
    let tls = block(&pki, "verify: true");
    let cluster = format!("cluster {{ name: c, listen: \"127.0.0.1:-1\"\n {tls} }}\n");
    let diagnosis = "diagnosis { interval: 50ms, appear_after: 100ms, clear_after: 200ms }\n";
    let config = format!("{diagnosis}{tls}{cluster}");
    let broker = Broker::midge().config(config).start();
    let arguments = [
        "--mode",
        "cert",
        "--cert-warning",
        "30:",
        "--cert-critical",
        "7:",
        "--ca-warning",
        "7:",
    ];
    let result = check(&broker, &arguments);
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(
        result.output.contains("\"CN=broker\" expires in"),
        "{result:?}"
    );
    assert!(result.output.contains("route_cert_days="), "{result:?}");
    wait_until("the finding", || {
        !findings(&broker, "certificate-expiry").is_empty()
    });
    let varz = broker.get_json("/varz");
    assert!(varz["tls_cert_not_after"].is_string(), "{varz}");
    assert!(varz["cluster"]["tls_cert_not_after"].is_string(), "{varz}");
    // A new one is loaded automatically, and the finding clears.
    pki.sign("broker", Term::Seconds(60 * DAY));
    wait_until("the finding is gone", || {
        findings(&broker, "certificate-expiry").is_empty()
    });
    let result = check(
        &broker,
        &[
            "--mode",
            "cert",
            "--ca-warning",
            "7:",
            "--route-ca-warning",
            "7:",
        ],
    );
    assert_eq!(result.code, Some(0), "{result:?}");
}

/// Probes of the client and route ports flooded the log with TLS errors. One line for
/// each source and port must suffice, and no failed handshake is counted.
#[test]
fn nats_server_1203_probes_of_tls_ports_do_not_flood_the_log() {
    const PROBES: u64 = 300;
    let pki = Pki::new(&["broker"]);
    let tls = block(&pki, "verify: true");
    let route_port = free_port();
    let cluster = format!("cluster {{ name: c, listen: \"127.0.0.1:{route_port}\"\n {tls} }}\n");
    let broker = Broker::midge().config(format!("{tls}{cluster}")).start();
    // The log may be a moment behind the ports.
    broker.log().wait_for("Server is ready");
    let before = broker.log().so_far().lines().count();
    for port in [broker.client_addr().port(), route_port] {
        for _ in 0..PROBES {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            // Closed at once, like a probe.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
    wait_until("all are counted", || {
        let metrics = broker.get("/metrics").body;
        let counted: u64 = metrics
            .lines()
            .filter(|line| line.starts_with("midge_connections_bare_total"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum();
        counted >= 2 * PROBES
    });
    let log = broker.log().so_far();
    let more: Vec<&str> = log.lines().skip(before).collect();
    assert!(more.len() < 10, "{} lines: {more:?}", more.len());
    assert!(findings(&broker, "handshake-failures").is_empty());
    // They are distinguished from clients that TLS refuses.
    let failed = broker.get_json("/varz")["tls"]["failed"].clone();
    let kinds: Vec<&String> = failed.as_object().expect("counts").keys().collect();
    assert_eq!(kinds, ["silent"], "{failed}");
}

/// In a container the files of a secret are links into a directory that is swapped as a
/// whole; the broker continued with the old certificate until it got a signal. The new
/// one must be served automatically.
#[test]
fn nats_server_3475_a_certificate_in_a_swapped_directory_is_reloaded() {
    let pki = Pki::new(&["broker"]);
    let secret = tempfile::tempdir().expect("a folder");
    let path = |name: &str| secret.path().join(name);
    let fill = |version: &str| {
        let folder = path(version);
        fs::create_dir(&folder).expect("make a folder");
        for file in ["broker.pem", "broker.key"] {
            fs::copy(pki.path(file), folder.join(file)).expect("copy");
        }
        symlink(version, path("..new")).expect("make a link");
        fs::rename(path("..new"), path("..data")).expect("swap the link");
    };
    fill("..v1");
    for file in ["broker.pem", "broker.key"] {
        symlink(Path::new("..data").join(file), path(file)).expect("make a link");
    }
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}\n",
        path("broker.pem").display().to_string(),
        path("broker.key").display().to_string()
    );
    let broker = Broker::midge().config(tls).start();
    let ends = || broker.get_json("/varz")["tls_cert_not_after"].clone();
    let first = ends();
    // Another key as well: the two must be loaded together.
    fs::remove_file(pki.path("broker.key")).expect("remove the key");
    pki.sign("broker", Term::Seconds(5 * DAY));
    fill("..v2");
    fs::remove_dir_all(path("..v1")).expect("remove the folder of before");
    wait_until("the new one is served", || ends() != first);
    let speaker = Speaker::believing(&pki.path("ca.pem"));
    let (stream, _) = speaker.connect(broker.client_addr()).expect("gets in");
    let shown = stream.conn.peer_certificates().expect("a certificate")[0].clone();
    let pem = fs::read(pki.path("broker.pem")).expect("read");
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    assert_eq!(
        shown,
        CertificateDer::from_pem_slice(&pem).expect("a certificate")
    );
    assert!(findings(&broker, "tls-files").is_empty());
}

/// Clients that did not finish the handshake were counted as slow consumers, and caused
/// an alarm. Only a logged-in client can be one.
#[test]
fn nats_server_861_a_hanging_handshake_is_no_slow_consumer() {
    let pki = Pki::new(&["broker"]);
    for builder in both() {
        let config = format!("write_deadline: \"1ms\"\n{}", block(&pki, "timeout: 0.2"));
        let broker = builder.config(config).start();
        let mut hanging: Vec<TcpStream> = (0..5)
            .map(|_| TcpStream::connect(broker.client_addr()).expect("it listens"))
            .collect();
        for stream in &mut hanging {
            stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
            // INFO, and nothing more until the broker closes.
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            assert!(all.starts_with(b"INFO "));
        }
        let varz = broker.get_json("/varz");
        assert_eq!(varz["slow_consumers"], 0);
        assert_eq!(varz["slow_consumer_stats"]["clients"], 0);
    }
}

/// A client library wrote CONNECT in plain text before TLS had started, under load only.
/// That client must be closed and counted, and others still connect.
#[test]
fn nats_rb_164_plain_text_instead_of_tls_closes_that_client_only() {
    let pki = Pki::new(&["broker", "node"]);
    for builder in both() {
        let broker = builder.config(block(&pki, "verify: true")).start();
        for _ in 0..20 {
            let mut hasty = TcpStream::connect(broker.client_addr()).expect("it listens");
            hasty.set_read_timeout(Some(PATIENCE)).expect("a bound");
            let words = b"CONNECT {\"verbose\":false,\"tls_required\":true}\r\nPING\r\n";
            hasty.write_all(words).expect("write");
            let mut all = Vec::new();
            let _ = hasty.read_to_end(&mut all);
            let all = String::from_utf8_lossy(&all).into_owned();
            assert!(!all.contains("PONG"), "{all}");
        }
        speaker(&pki, "node")
            .attempt(broker.client_addr())
            .expect("gets in");
        wait_until("they are remembered", || {
            let closed = broker.get_json("/connz?state=closed")["connections"].to_string();
            closed.matches("TLS Handshake Failure").count() >= 20
        });
    }
}

/// Half a second for TLS was too little for distant nodes and for manual tests. The
/// default is two seconds, and it can be configured.
#[test]
fn choria_228_a_late_handshake_is_accepted() {
    let pki = Pki::new(&["broker"]);
    for builder in both() {
        let broker = builder.config(block(&pki, "")).start();
        assert_eq!(broker.get_json("/varz")["tls_timeout"], 2.0);
    }
    for builder in both() {
        let broker = builder.config(block(&pki, "timeout: 9")).start();
        let late = Speaker::believing(&pki.path("ca.pem")).pausing(Duration::from_millis(700));
        late.attempt(broker.client_addr()).expect("gets in");
    }
}

/// Members whose certificates have host names and an empty subject were refused, though
/// the names were right. The names must be accepted.
#[test]
fn nats_server_8099_certificates_without_a_subject_are_matched_by_their_names() {
    let pki = Pki::new(&["broker"]);
    for name in ["n0", "n1"] {
        sign_without_a_subject(&pki, name);
    }
    let ports = [free_port(), free_port()];
    let members: Vec<_> = (0..2)
        .map(|at| {
            let name = format!("n{at}");
            let mut plan = Plan::new(Kind::Midge, &name, ports[at], &[ports[1 - at]]);
            plan.cluster = format!(
                "name: mesh\n tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, \
                 verify_cert_and_check_known_urls: true }}",
                pki.text(&format!("{name}.pem")),
                pki.text(&format!("{name}.key")),
                pki.text("ca.pem")
            );
            // Known hosts are names.
            let text = plan.text().replace("@127.0.0.1", "@localhost");
            plan.start_with(text)
        })
        .collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
}

/// A certificate that names its host only in the extension.
fn sign_without_a_subject(pki: &Pki, name: &str) {
    let extensions = "subjectAltName = critical,DNS:localhost,IP:127.0.0.1\n\
                      extendedKeyUsage = serverAuth,clientAuth\n";
    fs::write(pki.path("names.ext"), extensions).expect("write");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    pki.openssl(
        &format!("req -new {key} -keyout {name}.key -out {name}.csr -config ca.cnf -subj /"),
        &[],
    );
    pki.openssl(
        &format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial 7{} -days 10 \
             -extfile names.ext -out {name}.pem",
            &name[1..]
        ),
        &[],
    );
}

/// Something that was not a member repeatedly wrote to the route port, and the log filled
/// with unclear errors. A client at the wrong port must be recognised, many of them cause
/// few lines, and both ports continue to work.
#[test]
fn nats_server_270_a_client_on_the_wrong_port_does_not_fill_the_log() {
    let pki = Pki::new(&["broker"]);
    for tls in ["", &block(&pki, "verify: true")] {
        let route_port = free_port();
        let cluster =
            format!("cluster {{ name: c, listen: \"127.0.0.1:{route_port}\"\n {tls} }}\n");
        let broker = Broker::midge().config(cluster).start();
        let before = broker.log().so_far().lines().count();
        let route = SocketAddr::from(([127, 0, 0, 1], route_port));
        for address in [route, broker.monitor_addr()] {
            for words in [
                "CONNECT {\"verbose\":false}\r\nPING\r\n",
                "\"\"} {\r\n",
                "SUB > 1\r\n",
            ] {
                for _ in 0..20 {
                    let mut stream = TcpStream::connect(address).expect("it listens");
                    stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
                    stream.write_all(words.as_bytes()).expect("write");
                    stream.shutdown(Shutdown::Write).expect("say no more");
                    let mut result = Vec::new();
                    let _ = stream.read_to_end(&mut result);
                    let result = String::from_utf8_lossy(&result).into_owned();
                    assert!(!result.contains("PONG"), "{address}: {result}");
                }
            }
        }
        let log = broker.log().so_far();
        let more: Vec<&str> = log.lines().skip(before).collect();
        assert!(
            (1..30).contains(&more.len()),
            "{} lines: {more:#?}",
            more.len()
        );
        assert!(broker.connect().sync().is_empty());
        assert_eq!(broker.get("/healthz").status, 200);
        assert_eq!(number(&broker.get_json("/varz")["routes"]), 0);
    }
}
