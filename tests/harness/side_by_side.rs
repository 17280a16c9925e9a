//! Tests of the side-by-side benchmark: it runs, and it shows no result for a broker that
//! loses messages or does not start. No result is judged here. Needs `nats-server` on the
//! PATH.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

/// A short run of one scenario with nats-server on both sides succeeds.
#[test]
fn runs_and_reports_no_failure() {
    let output = side_by_side(&["--midge", "nats-server", "--peer", "peer=nats-server"]);
    let text = text(&output);
    assert!(
        output.status.success(),
        "needs nats-server on the PATH (a package of that name, or a release \
         from github.com/nats-io/nats-server):\n{text}"
    );
    assert!(text.contains("p2p-128: "), "{text}");
    assert!(text.contains("0 runs FAILED"), "{text}");
}

/// The scenarios with certificates, with a mesh and with a monitoring page work on
/// both brokers.
#[test]
fn runs_with_tls_on_a_mesh_and_beside_monitoring() {
    const SCENARIOS: [&str; 5] = [
        "page-metrics",
        "tls-fleet",
        "tls-storm",
        "mesh-fan",
        "mesh-subs-100k",
    ];
    let arguments = ["--peer", "peer=nats-server"];
    let output = side_by_side_of(&SCENARIOS.join(","), &arguments);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    for name in SCENARIOS {
        assert!(text.contains(&format!("{name}: ")), "{text}");
    }
    assert!(text.contains("0 runs FAILED"), "{text}");
}

/// A broker that drops a message from time to time gets no result.
#[test]
fn reports_lost_messages() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("the port's address");
    thread::spawn(move || lossy_broker(&listener));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = launcher(directory.path(), address);
    let output = side_by_side(&["--no-peer", "--midge", &program.display().to_string()]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("message 100 came where 99 was due"), "{text}");
    assert!(text.contains("1 runs FAILED"), "{text}");
}

/// A program that is not a broker is reported, too.
#[test]
fn reports_a_broker_that_does_not_start() {
    let output = side_by_side(&["--no-peer", "--midge", "true"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("before it wrote its ports file"), "{text}");
}

fn side_by_side(arguments: &[&str]) -> Output {
    side_by_side_of("p2p-128", arguments)
}

fn side_by_side_of(scenarios: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO"))
        .args(["bench", "--quiet", "--profile", "dev"])
        .args(["--bench", "side_by_side", "--"])
        .args(["--quick", "--only", scenarios, "--rounds", "1"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run")
}

fn text(output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A program that imitates the broker at `address`.
fn launcher(directory: &Path, address: SocketAddr) -> PathBuf {
    let path = directory.join("lossy");
    // The ports directory is the last argument of the benchmark.
    let script = format!(
        "#!/bin/sh\n\
         test \"$1\" = --version && exit\n\
         for directory; do :; done\n\
         echo '{{\"nats\":[\"nats://{address}\"],\"monitoring\":[\"http://{address}\"]}}' \
         >\"$directory/lossy_$$.ports\"\n\
         exec sleep 600\n"
    );
    fs::write(&path, script).expect("the script can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .expect("it can be made a program");
    path
}

/// Delivers all but one in a hundred messages to the last subscriber.
fn lossy_broker(listener: &TcpListener) {
    let subscriber = Arc::new(Mutex::new(None));
    for stream in listener.incoming() {
        let subscriber = Arc::clone(&subscriber);
        // A disconnecting client ends its thread; that is no failure here.
        thread::spawn(move || stream.and_then(|stream| serve(stream, &subscriber)));
    }
}

fn serve(stream: TcpStream, subscriber: &Mutex<Option<TcpStream>>) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    writer.write_all(b"INFO {}\r\n")?;
    let mut messages = 0;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        if line.starts_with("PING") {
            writer.write_all(b"PONG\r\n")?;
        } else if line.starts_with("SUB") {
            *subscriber.lock().expect("no thread panics") = Some(writer.try_clone()?);
        } else if let Some(rest) = line.strip_prefix("PUB ") {
            let (subject, size) = rest.trim_end().split_once(' ').expect("PUB subject size");
            let mut message = format!("MSG {subject} 1 {size}\r\n").into_bytes();
            let size: u64 = size.parse().expect("a size");
            reader.by_ref().take(size + 2).read_to_end(&mut message)?;
            messages += 1;
            if messages % 100 != 0
                && let Some(target) = &mut *subscriber.lock().expect("no thread panics")
            {
                target.write_all(&message)?;
            }
        }
        line.clear();
    }
    Ok(())
}
