//! `midge -t` reads the files that a configuration names, as the start does.

use std::{fs, path::Path, process::Output};

use test_support::{Broker, pki::Pki};

/// Every place of a block `tls`; `TLS` is where it goes.
const PLACES: [(&str, &str); 6] = [
    ("tls", "TLS"),
    (
        "cluster tls",
        "cluster { name: c, listen: \"127.0.0.1:0\"\nTLS }",
    ),
    (
        "websocket tls",
        "websocket { listen: \"127.0.0.1:1\"\nTLS }",
    ),
    (
        "leafnodes tls",
        "leafnodes { listen: \"127.0.0.1:0\"\nTLS }",
    ),
    (
        REMOTES,
        "leafnodes { remotes: [ { url: \"tls://h:1\"\nTLS } ] }",
    ),
    (
        FEDERATION,
        "federation { name: f, upstream: \"tls://h:1\"\nTLS }",
    ),
];
const REMOTES: &str = "leafnodes remotes tls";
const FEDERATION: &str = "federation tls";

fn test(file: &Path, text: &str) -> (Output, String) {
    fs::write(file, text).expect("it can be written");
    let mut command = std::process::Command::new(Broker::midge().program_path());
    let output = command.args(["-t", "-c"]).arg(file).output();
    let output = output.expect("midge runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

fn passes(file: &Path, text: &str) {
    let (output, said) = test(file, text);
    assert_eq!(output.status.code(), Some(0), "{text}: {said}");
    assert!(said.contains("is valid"), "{text}: {said}");
}

fn fails(file: &Path, text: &str, parts: &[&str]) {
    let (output, said) = test(file, text);
    assert_eq!(output.status.code(), Some(1), "{text}: {said}");
    for part in parts {
        assert!(said.contains(part), "{text}: {part} is missing: {said}");
    }
}

#[test]
fn every_tls_block_is_opened() {
    let pki = Pki::new(&["here"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("test.conf");
    let [cert, key, ca, crl] = ["here.pem", "here.key", "ca.pem", "crl.pem"].map(|it| pki.text(it));
    let missing = folder.path().join("missing.pem").display().to_string();
    let block = |names: [&str; 4]| {
        let [cert, key, ca, crl] = names;
        format!(
            "tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, crl_file: {crl:?} }}"
        )
    };
    for (name, form) in PLACES {
        let with = |tls: &str| format!("{}\n", form.replace("TLS", tls));
        let line = 1 + form
            .split("TLS")
            .next()
            .unwrap_or_default()
            .matches('\n')
            .count();
        let place = format!("{}:{line}:", file.display());
        let good = [&*cert, &*key, &*ca, &*crl];
        passes(&file, &with(&block(good)));
        for at in 0..good.len() {
            let mut names = good;
            names[at] = &missing;
            let text = with(&block(names));
            fails(&file, &text, &[&place, &format!("{name}: "), &missing]);
        }
        // A key that is none.
        let text = with(&block([&cert, &ca, &ca, &crl]));
        fails(&file, &text, &[&place, &format!("{name}: "), &ca]);
        for (key, other) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
            let text = with(&format!("tls {{ {key}: {cert:?} }}"));
            fails(&file, &text, &[&place, &format!("{key} needs {other}")]);
        }
        let only_ca = with(&format!("tls {{ ca_file: {ca:?} }}"));
        match name {
            REMOTES | FEDERATION => passes(&file, &only_ca),
            _ => fails(&file, &only_ca, &[&place, "there is no certificate"]),
        }
    }
}

/// A remote's credentials file is read as well, and what is wrong with it is said without the seed.
#[test]
fn credentials_files_are_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, credentials) = (
        folder.path().join("test.conf"),
        folder.path().join("hub.creds"),
    );
    let text = format!(
        "leafnodes {{ remotes: [ {{ url: \"nats-leaf://h:1\", credentials: {credentials:?} }} ] }}\n"
    );
    let path = credentials.display().to_string();
    fails(
        &file,
        &text,
        &[&path, "No such file", "remote h:1 (account $G)"],
    );
    let seed = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";
    let jwt = "-----BEGIN NATS USER JWT-----\neyJ0.abc.def\n";
    let with = |seed: &str| format!("{jwt}-----BEGIN USER NKEY SEED-----\n{seed}\n");
    for (content, why) in [
        (jwt.to_owned(), "holds no seed of a user"),
        (with("SUSECRET"), "the credentials file"),
    ] {
        fs::write(&credentials, content).expect("it can be written");
        fails(&file, &text, &[&path, why]);
        assert!(!test(&file, &text).1.contains("SUSECRET"));
    }
    fs::write(&credentials, with(seed)).expect("it can be written");
    passes(&file, &text);
}
