//! `midge top` as an operator uses it: in a real terminal (tmux) beside a broker under
//! load, and as text for pipes; with midge and with both nats-servers.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
    thread,
    time::Duration,
};

use tempfile::TempDir;
use test_support::{Broker, generated, pki::Pki, tools, wait_for, wait_until};

/// A name that would clear the screen, set a colour and reverse its text.
const HOSTILE_NAME: &str = r"\u001b[2J\u001b[31mhostile\u202e\u0007";

/// A terminal of 80 by 24 characters.
struct Tmux {
    folder: TempDir,
}

impl Tmux {
    fn run(environment: &str, arguments: &str) -> Self {
        let tmux = Self {
            folder: TempDir::new().expect("a folder"),
        };
        let program = format!(
            "{environment} {} top {arguments}; echo \"ended with $?\"; sleep 600",
            tools::midge().display()
        );
        tmux.call(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            &program,
        ]);
        tmux
    }

    fn call(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(self.folder.path().join("socket"))
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR")
            .env_remove("TMUX")
            .output()
            .expect("tmux (`apt-get install tmux`, or run tests/run)");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What is on the screen.
    fn screen(&self) -> String {
        self.call(&["capture-pane", "-p"])
    }

    fn keys(&self, keys: &[&str]) {
        self.call(&[&["send-keys"], keys].concat());
    }

    fn wait_for(&self, parts: &[&str]) {
        wait_until(&format!("{parts:?} on the screen"), || {
            let screen = self.screen();
            parts.iter().all(|part| screen.contains(part))
        });
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // The server ends with its only session.
        self.call(&["kill-server"]);
    }
}

fn top(arguments: &[&str]) -> Output {
    Command::new(tools::midge())
        .arg("top")
        .args(arguments)
        .env_remove("MONITOR_TOKEN")
        .output()
        .expect("midge runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Publishes to `busy.subject`, to which `reader` subscribes, until the test ends.
fn traffic(broker: &Broker) -> impl Sized {
    let mut reader = broker.connect();
    reader.send(
        r#"CONNECT {"verbose":false,"name":"busy-reader"}"#.to_owned() + "\r\nSUB busy.> 1\r\n",
    );
    reader.sync();
    let mut hostile = broker.connect();
    hostile.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":\"{HOSTILE_NAME}\"}}\r\nSUB h 1\r\n"
    ));
    hostile.sync();
    let mut writer = broker.connect();
    writer.send("CONNECT {\"verbose\":false,\"name\":\"busy-writer\"}\r\n");
    writer.sync();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        // Ends when the other end is dropped, or when the broker has stopped.
        while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                writer.send("PUB busy.subject 5\r\nhello\r\n".repeat(50));
                reader.sync();
            }));
            if sent.is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    (stop, hostile)
}

#[test]
fn a_terminal_shows_the_broker_live_through_its_restart() {
    let broker = Broker::midge().start();
    let traffic_of_first = traffic(&broker);
    let tmux = Tmux::run("", &format!("--delay 0.3 {}", broker.monitor_url()));
    tmux.wait_for(&["midge", "messages in/s", "k/s", "? help"]);
    tmux.keys(&["2"]);
    tmux.wait_for(&["open connections, by pending", "busy-reader", "busy-writer"]);
    // The hostile name is readable and has no effect.
    tmux.wait_for(&["␛[2J␛[31mhosti", "WHO"]);
    tmux.keys(&["/", "busy-w", "Enter"]);
    tmux.wait_for(&["1 of 3 open connections with \"busy-w\""]);
    tmux.keys(&["Enter"]);
    tmux.wait_for(&["Connection", "busy-writer", "received"]);
    tmux.keys(&["Escape", "Escape", "4"]);
    tmux.wait_for(&["busy.subject"]);
    tmux.keys(&["6"]);
    tmux.wait_for(&["client.connected"]);
    tmux.keys(&["?"]);
    tmux.wait_for(&["Ctrl-C", "reverse the order"]);
    tmux.keys(&["x"]);
    tmux.call(&["resize-window", "-x", "40", "-y", "10"]);
    tmux.wait_for(&["midge"]);
    tmux.call(&["resize-window", "-x", "140", "-y", "40"]);
    tmux.keys(&["1"]);
    tmux.wait_for(&["messages in/s", "bytes waiting"]);

    let (clients, monitor) = (broker.client_addr(), broker.monitor_addr());
    drop(traffic_of_first);
    drop(broker);
    tmux.wait_for(&["NO ANSWER for", "connection refused"]);
    let again = Command::new(tools::midge())
        .args(["-a", "127.0.0.1", "-p", &clients.port().to_string()])
        .args(["-m", &monitor.port().to_string()])
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut again = again.expect("the broker starts again");
    wait_until("the response after the restart", || {
        !tmux.screen().contains("NO ANSWER")
    });
    tmux.wait_for(&["connections 0 of"]);
    tmux.keys(&["q"]);
    tmux.wait_for(&["ended with 0"]);
    again.kill().and_then(|()| again.wait()).expect("it ends");
}

/// Colours are on by default and off with `NO_COLOR`; bold and the like remain.
#[test]
fn colours_can_be_disabled() {
    let broker = Broker::midge().start();
    for (environment, coloured) in [("", true), ("NO_COLOR=1", false)] {
        let tmux = Tmux::run(environment, &broker.monitor_url());
        tmux.wait_for(&["Nothing is wrong"]);
        let screen = tmux.call(&["capture-pane", "-p", "-e"]);
        let has_colour = ["\x1b[3", "\x1b[9"].iter().any(|start| {
            screen
                .split(start)
                .skip(1)
                .any(|rest| rest.as_bytes()[0].is_ascii_digit() && rest.as_bytes()[0] != b'9')
        });
        assert_eq!(has_colour, coloured, "{screen:?}");
    }
}

#[test]
fn a_pipe_gets_one_report_of_every_broker() {
    for (broker, name, own) in [
        (Broker::midge().start(), "midge 0.", true),
        (Broker::nats_server().start(), "nats-server 2.15", false),
        (Broker::nats_server_29().start(), "nats-server 2.9", false),
    ] {
        let _traffic = traffic(&broker);
        let output = top(&["--delay", "0.5", &broker.monitor_url()]);
        let report = text(&output);
        assert!(output.status.success(), "{output:?}");
        assert!(report.contains(name), "{report}");
        let rate = report
            .lines()
            .find(|line| line.starts_with("  in "))
            .expect("a line");
        assert!(rate.contains("/s") && !rate.contains(" 0/s"), "{rate}");
        for part in [
            "busy-reader",
            "␛[2J␛[31mhostile\u{fffd}␇",
            "Connections: 3 of 3 open, by pending",
        ] {
            assert!(report.contains(part), "{part} is missing: {report}");
        }
        let harmful = |c: char| c != '\n' && c.is_control();
        assert!(!report.contains(harmful), "{report:?}");
        for part in ["Findings:", "Ceilings", "Events"] {
            assert_eq!(report.contains(part), own, "{part}: {report}");
        }
    }
}

#[test]
fn unreachable_or_invalid_targets_give_an_exit_code() {
    let nobody = top(&["http://127.0.0.1:1", "--once"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("connection refused"));
    let wrong = top(&["--sort", "size"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty());
    let help = top(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help).contains("Sort keys:"));
}

#[test]
fn connections_can_be_written_as_json() {
    let broker = Broker::midge().start();
    let _traffic = traffic(&broker);
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("connections");
    let path = file.to_string_lossy();
    let output = top(&[
        "-o",
        &path,
        "-l",
        ";",
        "-sort",
        "name",
        "-b",
        &broker.monitor_url(),
    ]);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    let lines = fs::read_to_string(&file).expect("written");
    let lines: Vec<Vec<&str>> = lines
        .lines()
        .map(|line| line.split(';').collect())
        .collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[0][..2], ["CID", "WHO"]);
    // A program finds the columns by name.
    let names: BTreeSet<&str> = lines[0].iter().copied().collect();
    assert_eq!(names.len(), lines[0].len(), "{:?}", lines[0]);
    assert_eq!(lines[1][1], "busy-reader");
    assert!(
        lines.iter().all(|line| line.len() == lines[0].len()),
        "{lines:?}"
    );
    let missing = top(&["-o", "/no/such/folder/x", &broker.monitor_url()]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/folder/x"));
}

/// Through the Unix socket, with a token, with a password, and over https with its own
/// CA: each succeeds with what it needs and fails without.
#[test]
fn each_target_uses_its_own_credentials() {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    };
    let (token, wrong) = (
        write("token", "canary-token\n"),
        write("wrong", "nonsense\n"),
    );
    let password = write("password", "canary-password\n");
    let socket = folder
        .path()
        .join("monitor.sock")
        .to_string_lossy()
        .into_owned();
    let fails = |arguments: &[&str], why: &str| {
        let output = top(&[arguments, &["--once"]].concat());
        let reported = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            reported.contains(why) && !reported.contains("canary"),
            "{reported}"
        );
    };
    let works = |arguments: &[&str]| {
        let output = top(&[&["--delay", "0.2"], arguments, &["--once"]].concat());
        assert!(
            output.status.success() && text(&output).contains("Findings:"),
            "{output:?}"
        );
    };

    let broker = Broker::midge()
        .config(format!(
            "monitor {{ unix: \"{socket}\", token: \"canary-token\" }}\n"
        ))
        .start();
    let url = broker.monitor_url();
    fails(&[&url], "401");
    fails(&[&url, "--token-file", &wrong], "401");
    works(&[&url, "--token-file", &token]);
    works(&["--socket", &socket]);
    works(&[&format!("unix:{socket}")]);
    fails(
        &["unix:/no/such.sock"],
        "unix:/no/such.sock /varz: there is no such socket",
    );
    drop(broker);

    let broker = Broker::midge()
        .config("monitor { user: ops, password: \"canary-password\" }\n")
        .start();
    let url = broker.monitor_url();
    fails(&[&url], "401");
    works(&[&url, "--user", "ops", "--password-file", &password]);
    drop(broker);
}

#[test]
fn https_is_trusted_by_the_given_ca_only() {
    let pki = Pki::new(&["broker"]);
    let config = format!(
        "https_port: -1\ntls {{ cert_file: {:?}, key_file: {:?} }}\n",
        pki.text("broker.pem"),
        pki.text("broker.key")
    );
    let broker = Broker::midge().without_monitoring().config(config).start();
    let port = wait_for("the log names the monitoring port", || {
        let log = broker.log().so_far();
        let line = log
            .lines()
            .find(|line| line.contains("Starting https monitor on"))?;
        line.rsplit(':').next()?.trim().parse::<u16>().ok()
    });
    let url = format!("https://localhost:{port}");
    let trusting = top(&[
        "--once",
        "--delay",
        "0.2",
        "--cacert",
        &pki.text("ca.pem"),
        &url,
    ]);
    assert!(trusting.status.success(), "{trusting:?}");
    let careless = top(&["--once", "--delay", "0.2", "-k", "-ms", &port.to_string()]);
    assert!(careless.status.success(), "{careless:?}");
    let untrusted_peer = top(&["--once", &url]);
    assert_eq!(untrusted_peer.status.code(), Some(1), "{untrusted_peer:?}");
    assert!(
        String::from_utf8_lossy(&untrusted_peer.stderr).contains("certificate"),
        "{untrusted_peer:?}"
    );
}

/// `midge top` is the program `midge-top` beside midge, else that of `PATH`; with neither
/// it says what is missing.
#[test]
fn top_is_found_beside_midge_or_on_the_path() {
    let (folder, path) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let midge = folder.path().join("midge");
    fs::copy(tools::midge(), &midge).expect("a copy of midge");
    let run = || {
        let mut command = Command::new(&midge);
        command
            .args(["top", "a b", "--once"])
            .env("PATH", path.path());
        command.output().expect("midge runs")
    };
    let missing = run();
    let reported = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(1), "{reported}");
    for part in ["midge-top", "PATH", &folder.path().display().to_string()] {
        assert!(reported.contains(part), "{part}: {reported}");
    }
    for (place, name) in [(&path, "on the path"), (&folder, "beside")] {
        let program = place.path().join("midge-top");
        let script = format!("#!/bin/sh\nprintf '{name}: <%s> <%s>' \"$@\"; exit 7\n");
        fs::write(&program, script).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        let output = run();
        assert_eq!(
            text(&output),
            format!("{name}: <a b> <--once>"),
            "{output:?}"
        );
        assert_eq!(output.status.code(), Some(7));
    }
}

/// `conf/man/midge-top.1` is what `midge top --man` prints.
#[test]
fn the_manual_page_is_up_to_date() {
    generated::assert_up_to_date("conf/man/midge-top.1", &text(&top(&["--man"])));
}

/// `--path` asks who would get a message, and sends nothing.
#[test]
fn the_path_of_a_message_is_told_as_text() {
    let users = "authorization { users: [\n\
         { user: a, password: a, permissions: { publish: \"orders.>\" } }\n\
         { user: limited, password: h, permissions: { publish: \"x\" } } ] }";
    let broker = Broker::midge().config(users).start();
    let mut client = broker.connect();
    let login = "{\"verbose\":false,\"user\":\"a\",\"pass\":\"a\",\"name\":\"billing\"}";
    client.send(format!("CONNECT {login}\r\nSUB orders.* 1\r\n"));
    client.sync();
    let url = format!("http://{}", broker.monitor_addr());
    let told = text(&top(&["--path", "orders.create", "--as-user", "a", &url]));
    for part in ["orders.create", "billing", "orders.*"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(client.sync().is_empty(), "nothing is sent");
    let refused = text(&top(&[
        "--path",
        "orders.create",
        "--as-user",
        "limited",
        &url,
    ]));
    let denied = "denied: no rule of publish.allow matches";
    assert!(refused.contains(denied), "{refused}");
    let unknown = top(&["--path", "orders.create", "--as-user", "nobody", &url]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let words = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(words.contains("nobody"), "{words}");
}
