//! Proves what a broker does for old client libraries in Rust.
//!
//! Usage: old-crates CRATE VERSION, with URL, TLS_URL, VERIFYING_URL, CA, OTHER_CA, CERT and KEY in
//! the environment. Prints a line per feature and ends with 0 when all work. "restart" on a line
//! of its own asks for the broker to be killed and started again, "restarted" is the answer.

mod blocking;
mod tokio_based;

use std::{env, io, process, thread, time::Duration};

/// Bounds a failing run.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    thread::spawn(|| {
        thread::sleep(PATIENCE);
        eprintln!("not done in time");
        process::exit(1);
    });
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["nats", "0.9.18"] => blocking::nats_0_9::prove(),
        ["nats", "0.24.1"] => blocking::nats_0_24::prove(),
        ["async-nats", "0.10.1"] => blocking::async_nats_0_10::prove(),
        ["async-nats", "0.33.0"] => tokio_based::prove(),
        _ => panic!("no such client: {arguments:?}"),
    }
}

fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn proven(feature: &str) {
    println!("{feature}: ok");
}

fn restart_broker() {
    println!("restart");
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("an answer");
    assert_eq!(line, "restarted\n");
}

/// Whether a client found that it does not know who signed the broker's certificate.
fn assert_refused(error: &dyn std::fmt::Debug) {
    let text = format!("{error:?}");
    let known = ["UnknownIssuer", "InvalidCertificate", "certificate"];
    assert!(known.iter().any(|word| text.contains(word)), "{text}");
}
