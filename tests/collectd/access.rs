//! The ways to a broker: URL and Unix socket, logins, https; files that are renewed while collectd
//! runs; and what the log says of a broker that refuses.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use test_support::{Broker, free_port, pki::Pki, wait_until};

use crate::{
    broker::{pretend_answers, pretend_text, varz},
    collectd::{Collectd, Setup, block, instance},
};

/// The values of one instance.
fn up(name: &str) -> String {
    format!("test/nats-{name}/bool-up")
}

/// Waits until the last value of `up` is this one.
fn wait_for_up(collectd: &Collectd, name: &str, state: f64) {
    collectd.wait_for(&format!("{name} with up = {state}"), |lines| {
        let values = lines.values(&up(name));
        values.last().is_some_and(|last| *last == [state])
    });
}

/// A file with a secret, and its path as collectd writes it.
fn secret(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    write_secret(&path, text);
    path.display().to_string()
}

fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("own file");
}

/// Half of the interval is the time limit of a poll: enough for handshakes on a busy machine.
fn setup(blocks: &str) -> Setup {
    Setup {
        interval: 4.0,
        ..Setup::new(blocks)
    }
}

/// A broker whose monitoring port speaks https with this certificate, and the URL of the port.
pub(crate) fn https_broker(pki: &Pki, name: &str, port: u16) -> (Broker, String) {
    let config = format!(
        "https: \"127.0.0.1:{port}\"\ntls {{ cert_file: {:?}, key_file: {:?} }}\n",
        pki.text(&format!("{name}.pem")),
        pki.text(&format!("{name}.key"))
    );
    let broker = Broker::midge().without_monitoring().config(config).start();
    (broker, format!("https://localhost:{port}"))
}

/// Through the Unix socket, with a token, and with a password: each has what it needs, and those
/// without are refused for a reason that is logged. No secret is logged anywhere.
#[test]
fn logins_and_the_unix_socket_lead_to_the_broker() {
    let folder = TempDir::new().expect("a folder");
    let socket = folder.path().join("monitor.sock").display().to_string();
    let with_token = Broker::midge()
        .config(format!(
            "monitor {{ unix: {socket:?}, token: \"canary-token\" }}\n"
        ))
        .start();
    let with_password = Broker::midge()
        .config("monitor { user: ops, password: \"canary-password\" }\n")
        .start();
    let (token, password) = (
        secret(&folder, "token", "canary-token\n"),
        secret(&folder, "password", "canary-password\n"),
    );
    let wrong = secret(&folder, "wrong", "canary-wrong\n");
    let (first, second) = (with_token.monitor_url(), with_password.monitor_url());
    let served = [
        ("socket", block("socket", &format!("Socket {socket:?}"))),
        ("unix", instance("unix", &format!("unix:{socket}"), "")),
        (
            "token",
            instance("token", &first, &format!("TokenFile {token:?}")),
        ),
        (
            "password",
            instance(
                "password",
                &second,
                "User \"ops\"\nPassword \"canary-password\"",
            ),
        ),
        (
            "file",
            instance(
                "file",
                &second,
                &format!("User \"ops\"\nPasswordFile {password:?}"),
            ),
        ),
    ];
    let needs = "HTTP status 401: This monitoring port needs a login";
    let is_wrong = "HTTP status 401: The login is wrong: send the token or the user and password of \
                    the block \"monitor\"";
    let missing = folder.path().join("missing").display().to_string();
    let refused = [
        ("none", instance("none", &first, ""), needs),
        (
            "wrong",
            instance("wrong", &first, &format!("TokenFile {wrong:?}")),
            is_wrong,
        ),
        (
            "user",
            instance("user", &second, "User \"ops\"\nPassword \"canary-wrong\""),
            is_wrong,
        ),
        (
            "missing",
            instance("missing", &first, &format!("TokenFile {missing:?}")),
            "missing: there is no such file",
        ),
    ];
    let blocks = served.iter().map(|(_, block)| block.as_str());
    let blocks = blocks.chain(refused.iter().map(|(_, block, _)| block.as_str()));
    let collectd = Collectd::start(&setup(&blocks.collect::<String>()));
    for (name, _) in &served {
        wait_for_up(&collectd, name, 1.0);
    }
    for (name, ..) in &refused {
        collectd.wait_for_lines(&format!("PUTVAL {}", up(name)), 3);
    }
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    for (name, _, reason) in &refused {
        let log = lines.with(&format!("nats plugin: instance \"{name}\": "));
        assert_eq!(log.len(), 1, "{log:#?}");
        assert!(log[0].contains(reason), "{}", log[0]);
        assert_eq!(lines.values(&up(name))[0], [0.0]);
    }
    assert!(lines.with("canary").is_empty(), "{lines:#?}");
}

/// The first line of a refusal names the option to set; it is in the log and, shorter, in the
/// notification. An address that leads to this machine stands for an alias.
#[test]
fn a_refusal_is_shown_with_its_remedy() {
    let broker = Broker::midge().start();
    let alias = format!("http://0.0.0.0:{}", broker.monitor_addr().port());
    let long: &str = format!("{}\n<second line>", "x".repeat(5000)).leak();
    let blocks = [
        instance("alias", &alias, ""),
        instance(
            "proxy",
            &pretend_text("502 Bad Gateway", "<html>\n<b>502</b></html>"),
            "",
        ),
        instance(
            "teapot",
            &pretend_text("418 Teapot", "\n  short\u{1b}[2J and stout \nsecond line"),
            "",
        ),
        instance("long", &pretend_text("403 No", long), ""),
        instance(
            "moved",
            &pretend_text("301 Moved\r\nLocation: https://elsewhere/varz", ""),
            "",
        ),
    ];
    let collectd = Collectd::start(&setup(&blocks.concat()));
    for name in ["alias", "proxy", "teapot", "long", "moved"] {
        collectd.wait_for_lines(&format!("PUTVAL {}", up(name)), 2);
    }
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    let line = |name: &str| {
        let log = lines.with(&format!("nats plugin: instance \"{name}\": "));
        assert_eq!(log.len(), 1, "{log:#?}");
        log[0].to_owned()
    };
    let remedy = "HTTP status 421: The host \"0.0.0.0:";
    assert!(line("alias").contains(remedy), "{}", line("alias"));
    let notifications = lines.with("severity = FAILURE");
    let notified = notifications
        .iter()
        .find(|line| line.contains("plugin_instance = alias"))
        .expect("a notification");
    for text in [&line("alias"), *notified] {
        assert!(
            text.contains("option \"hosts\" of the block \"monitor\""),
            "{text}"
        );
    }
    assert!(
        line("proxy").ends_with("HTTP status 502"),
        "{}",
        line("proxy")
    );
    let teapot = line("teapot");
    assert!(
        teapot.ends_with("HTTP status 418: short\\u{1b}[2J and stout"),
        "{teapot}"
    );
    let long = line("long");
    assert!(long.len() < 700 && long.ends_with("xxx…"), "{long}");
    let moved = line("moved");
    assert!(
        moved.ends_with("leads to https://elsewhere/varz, which is not followed"),
        "{moved}"
    );
}

/// The broker's certificate must be signed by a CA that is named, for the host that is asked.
#[test]
fn https_needs_a_certificate_that_fits() {
    let pki = Pki::new(&["broker"]);
    let other = Pki::new(&[]);
    pki.sign_for("elsewhere", "elsewhere.example");
    let (_broker, url) = https_broker(&pki, "broker", free_port());
    let (_elsewhere, elsewhere) = https_broker(&pki, "elsewhere", free_port());
    let (ca, foreign) = (pki.text("ca.pem"), other.text("ca.pem"));
    let plain = Broker::midge().start();
    let https_at_plain = plain.monitor_url().replace("http:", "https:");
    let http_at_tls = url.replace("https:", "http:");
    let cases = [
        ("good", &url, format!("CACert {ca:?}"), None),
        ("careless", &elsewhere, "VerifyPeer false".to_owned(), None),
        (
            "system",
            &url,
            String::new(),
            Some("not signed by a known CA: name the file of its CA in CACert"),
        ),
        (
            "foreign",
            &url,
            format!("CACert {foreign:?}"),
            Some("not signed by a known CA"),
        ),
        (
            "name",
            &elsewhere,
            format!("CACert {ca:?}"),
            Some("elsewhere.example"),
        ),
        (
            "plain",
            &https_at_plain,
            format!("CACert {ca:?}"),
            Some("the port does not speak TLS"),
        ),
        ("clear", &http_at_tls, String::new(), Some("/varz: ")),
        (
            "empty",
            &url,
            format!("CACert {:?}", pki.text("broker.key")),
            Some("broker.key: no certificate in it"),
        ),
    ];
    let blocks = cases
        .iter()
        .map(|(name, url, options, _)| instance(name, url, options));
    let collectd = Collectd::start(&setup(&blocks.collect::<String>()));
    for (name, _, _, reason) in &cases {
        wait_for_up(&collectd, name, if reason.is_some() { 0.0 } else { 1.0 });
    }
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    for (name, _, _, reason) in &cases {
        let log = lines.with(&format!("nats plugin: instance \"{name}\": "));
        assert_eq!(log.len(), 1, "{log:#?}");
        let expected = reason.unwrap_or(" serves");
        assert!(log[0].contains(expected), "{expected}: {}", log[0]);
    }
}

/// A port that wants a certificate: openssl serves recorded answers there.
#[test]
fn a_certificate_is_shown_to_a_port_that_wants_one() {
    let pki = Pki::new(&["localhost", "collectd", "other"]);
    let server = OpensslServer::start(&pki);
    let files = |certificate: &str, key: &str| {
        format!(
            "CACert {:?}\nCertificateFile {:?}\nCertificateKey {:?}",
            pki.text("ca.pem"),
            pki.text(certificate),
            pki.text(key)
        )
    };
    let cases = [
        ("good", files("collectd.pem", "collectd.key"), None),
        (
            "none",
            format!("CACert {:?}", pki.text("ca.pem")),
            Some("the broker wants a certificate from its clients: name it in CertificateFile"),
        ),
        (
            "mixed",
            files("collectd.pem", "other.key"),
            Some("other.key: this key does not belong to the certificate"),
        ),
    ];
    // One at a time, since the server answers one at a time.
    for (name, options, reason) in &cases {
        let collectd = Collectd::start(&setup(&instance(name, &server.url, options)));
        wait_for_up(&collectd, name, if reason.is_some() { 0.0 } else { 1.0 });
        let (_, lines) = collectd.stop();
        let log = lines.log();
        let expected = reason.unwrap_or(" serves");
        assert!(log[0].contains(expected), "{expected}: {log:#?}");
    }
}

/// Without a restart of collectd: a token that is replaced, a CA that is replaced together with the
/// broker's certificate, and a file that cannot be used for a while.
#[test]
fn renewed_files_are_used() {
    let folder = TempDir::new().expect("a folder");
    let token = secret(&folder, "token", "canary-old\n");
    let broker = Broker::midge()
        .config("monitor { token: \"canary-new\" }\n")
        .start();
    let (before, after) = (Pki::new(&["broker"]), Pki::new(&["broker"]));
    let ca = folder.path().join("ca.pem");
    fs::copy(before.path("ca.pem"), &ca).expect("a copy");
    let port = free_port();
    let (tls_broker, url) = https_broker(&before, "broker", port);
    let blocks = instance(
        "token",
        &broker.monitor_url(),
        &format!("TokenFile {token:?}"),
    ) + &instance("tls", &url, &format!("CACert {ca:?}"));
    let collectd = Collectd::start(&setup(&blocks));
    wait_for_up(&collectd, "token", 0.0);
    wait_for_up(&collectd, "tls", 1.0);

    replace(Path::new(&token), "canary-new\n");
    wait_for_up(&collectd, "token", 1.0);
    // What every user can read is still used.
    fs::set_permissions(&token, Permissions::from_mode(0o644)).expect("own file");
    collectd.wait_for_lines("every user of this host can read it", 1);
    replace(Path::new(&token), "two\nlines\n");
    collectd.wait_for_lines("more than one line", 1);
    drop(tls_broker);
    let (_tls_broker, _) = https_broker(&after, "broker", port);
    collectd.wait_for_lines("not signed by a known CA", 1);
    let text = fs::read_to_string(after.path("ca.pem")).expect("a CA");
    replace(&ca, &text);
    wait_for_up(&collectd, "tls", 1.0);
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    // The former token served on meanwhile.
    assert_eq!(lines.values(&up("token")).last(), Some(&vec![1.0]));
    let warnings = lines.with("more than one line");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(
        warnings[0].contains("the former content stays in force"),
        "{warnings:#?}"
    );
    assert!(lines.with("canary").is_empty(), "{lines:#?}");
}

/// gnatsd 1.x has no `/healthz`: that is no trouble.
#[test]
fn a_broker_without_healthz_serves() {
    let url = pretend_answers(|path| match path {
        "/varz" => ("200 OK", varz("N", "2026-01-01T00:00:00Z")),
        _ => ("404 Not Found", "404 page not found\n".to_owned()),
    });
    let collectd = Collectd::start(&setup(&instance("a", &url, "")));
    collectd.wait_for_lines(&format!("PUTVAL {}", up("a")), 3);
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    let log = lines.log();
    assert_eq!(log.len(), 1, "{log:#?}");
    assert!(
        log[0].contains("[info]") && log[0].contains("it has no /healthz"),
        "{log:#?}"
    );
    // The first poll is reported whatever it shows, and that there are no findings.
    let notified = lines.with("severity = ");
    assert_eq!(notified.len(), 3, "{notified:#?}");
    let okay = lines.with("severity = OKAY");
    assert_eq!(okay, notified);
}

/// Replaces a file as tools that renew certificates do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    write_secret(&new, text);
    fs::rename(new, path).expect("replaced");
}

/// `openssl s_server`, which wants a certificate of the same CA and answers with recorded answers.
struct OpensslServer {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl OpensslServer {
    fn start(pki: &Pki) -> Self {
        let folder = TempDir::new().expect("a folder");
        let broker = Broker::midge().start();
        for path in ["varz", "healthz"] {
            let body = broker.get(&format!("/{path}")).body;
            let answer = format!(
                "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            fs::write(folder.path().join(path), answer).expect("written");
        }
        let port = free_port();
        let child = Command::new("openssl")
            .args(["s_server", "-accept", &format!("127.0.0.1:{port}")])
            .args(["-quiet", "-HTTP", "-Verify", "1", "-verify_return_error"])
            .args(["-cert", &pki.text("localhost.pem")])
            .args(["-key", &pki.text("localhost.key")])
            .args(["-CAfile", &pki.text("ca.pem")])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("openssl: {error}: install openssl"));
        let server = Self {
            child,
            url: format!("https://localhost:{port}"),
            _folder: folder,
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until("openssl s_server listens", || {
            test_support::broker::is_listening(address)
        });
        server
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
