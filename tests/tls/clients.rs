//! Real client libraries with certificates, without, and with revoked ones: at
//! midge, and, to prove the test, at a real nats-server.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::{
    block,
    support::{
        Broker,
        pki::{Pki, Term},
        tools,
    },
};

/// Every library does the same: argument 1 is the port, 2 the CA's file, 3 and 4
/// certificate and key if there are any. It sends itself a message and says
/// `served`, or ends with another code than 0.
#[test]
fn libraries_get_in_with_their_certificate_only() {
    let pki = Pki::new(&["broker", "node", "gone"]);
    pki.sign("late", Term::Expired);
    pki.revoke("gone");
    let folder = tempfile::tempdir().expect("a folder");
    let c_client = folder.path().join("tls_c_client");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    tools::compile_c_client(&scripts.join("tls_c_client.c"), &c_client);
    let crl = format!("verify: true, crl_file: {:?}", pki.text("crl.pem"));
    for (builder, more, knows_crls) in [
        (Broker::midge(), &*crl, true),
        (Broker::nats_server(), "verify: true", false),
    ] {
        let broker = builder.config(block(&pki, more)).start();
        let port = broker.client_addr().port().to_string();
        for (certificate, gets_in) in [
            ("node", true),
            ("", false),
            ("late", false),
            ("gone", !knows_crls),
        ] {
            let mut arguments = vec![port.clone(), pki.text("ca.pem")];
            if !certificate.is_empty() {
                arguments.push(pki.text(&format!("{certificate}.pem")));
                arguments.push(pki.text(&format!("{certificate}.key")));
            }
            let python = Command::new(tools::python_with_nats())
                .arg(scripts.join("tls_py_client.py"))
                .args(&arguments)
                .output();
            let javascript = Command::new(tools::node_with_nats())
                .env("NODE_PATH", tools::node_modules())
                .arg(scripts.join("tls_js_client.cjs"))
                .args(&arguments)
                .output();
            let c = Command::new(&c_client).args(&arguments).output();
            for (library, output) in [("nats.py", python), ("nats.js", javascript), ("C", c)] {
                let output = output.expect("start the client");
                assert_eq!(
                    was_served(&output),
                    gets_in,
                    "{library}: {certificate:?}: {output:?}"
                );
            }
        }
    }
}

fn was_served(output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stdout).contains("served");
    assert_eq!(said, output.status.success(), "{output:?}");
    said
}
