//! The configurations that docs/from-choria-broker.md shows are valid.

use std::{fs, process::Command};

use test_support::tools;

use super::{super::puppet::run, ca::Ca};

#[test]
fn the_examples_for_users_of_chorias_broker_are_valid() {
    let page = tools::project().join("docs/from-choria-broker.md");
    let page = fs::read_to_string(page).expect("the page");
    let ca = Ca::new();
    let ssl_dir = ca.issue("choria1.example.net", "localhost");
    let mut examples = 0;
    for example in page.split("```").skip(1).step_by(2) {
        let tls = format!(
            "tls {{ puppet: true, ssldir: {:?} }}",
            ssl_dir.display().to_string()
        );
        let text = example.replace("tls { puppet: true }", &tls);
        assert_ne!(text, example, "without TLS");
        let file = ssl_dir.join("midge.conf");
        fs::write(&file, text).expect("write the example");
        let (code, written) = run(Command::new(tools::midge())
            .args(["-t", "-c"])
            .arg(&file)
            .env("NODE_PASSWORD", "s3cret"));
        assert_eq!(code, Some(0), "{example}: {written}");
        examples += 1;
    }
    assert_eq!(examples, 2);
}
