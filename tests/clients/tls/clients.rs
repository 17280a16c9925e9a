//! Real client libraries with certificates, without one, and with revoked ones, at midge
//! and, to prove the test, at a real nats-server.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use super::block;
use test_support::{
    Broker,
    pki::{Pki, Term},
    tools,
};

#[test]
fn libraries_connect_only_with_their_certificate() {
    let pki = Pki::new(&["broker", "node", "gone"]);
    pki.sign("late", Term::Expired);
    pki.revoke("gone");
    let libraries = Libraries::new();
    let crl = format!(
        "verify: true, timeout: 10, crl_file: {:?}",
        pki.text("crl.pem")
    );
    for (builder, more, knows_crls) in [
        (Broker::midge(), &*crl, true),
        (Broker::nats_server(), "verify: true, timeout: 10", false),
    ] {
        let broker = builder.config(block(&pki, more)).start();
        for (certificate, gets_in) in [
            ("node", true),
            ("", false),
            ("late", false),
            ("gone", !knows_crls),
        ] {
            let own = [format!("{certificate}.pem"), format!("{certificate}.key")];
            let own = own.map(|file| pki.path(&file));
            let own = (!certificate.is_empty()).then_some(&own);
            libraries.expect(&broker, &pki.path("ca.pem"), own, gets_in);
        }
    }
}

/// Client libraries, each in a program that does the same: argument 1 is the port, 2 the
/// CA's file, 3 and 4 certificate and key if there are any. It sends a message to itself
/// and prints `served`, or exits with another code than 0.
pub(crate) struct Libraries {
    scripts: PathBuf,
    folder: TempDir,
}

impl Libraries {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let program = folder.path().join("tls_c_client");
        tools::compile_c_client(&scripts.join("tls_c_client.c"), &program);
        Self { scripts, folder }
    }

    /// Runs each of them with a CA's file, and a certificate and its key if there are
    /// any; all must be served, or none.
    pub(crate) fn expect(
        &self,
        broker: &Broker,
        ca: &Path,
        own: Option<&[PathBuf; 2]>,
        gets_in: bool,
    ) {
        let scripts = &self.scripts;
        let mut arguments = vec![broker.client_addr().port().to_string(), text(ca)];
        arguments.extend(own.into_iter().flatten().map(|file| text(file)));
        let python = Command::new(tools::python_with_nats())
            .arg(scripts.join("tls_py_client.py"))
            .args(&arguments)
            .output();
        let javascript = Command::new(tools::node_with_nats())
            .env("NODE_PATH", tools::node_modules())
            .arg(scripts.join("tls_js_client.cjs"))
            .args(&arguments)
            .output();
        let c = Command::new(self.folder.path().join("tls_c_client"))
            .args(&arguments)
            .output();
        for (library, output) in [("nats.py", python), ("nats.js", javascript), ("C", c)] {
            let output = output.expect("start the client");
            let got_in = was_served(&output);
            assert_eq!(got_in, gets_in, "{library}: {own:?}: {output:?}");
        }
    }
}

fn text(file: &Path) -> String {
    file.display().to_string()
}

fn was_served(output: &Output) -> bool {
    let result = String::from_utf8_lossy(&output.stdout).contains("served");
    assert_eq!(result, output.status.success(), "{output:?}");
    result
}
