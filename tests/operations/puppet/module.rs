//! What Puppet's own tools say of the module.

use std::{collections::BTreeSet, env, fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::{module, run};

/// Runs a program in the module's folder; it must find nothing.
fn check(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    // puppet-lint asks the variable where it is.
    command
        .current_dir(module())
        .env("PWD", module())
        .args(arguments);
    let (code, written) = run(&mut command);
    assert_eq!(code, Some(0), "{program} {arguments:?}: {written}");
    assert_eq!(written.trim(), "", "{program} {arguments:?}");
}

/// The files of a folder of the module with this ending.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(module().join(folder)).expect("a folder of the module");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names = names.filter(|name| name.ends_with(ending));
    let names: Vec<_> = names.map(|name| format!("{folder}/{name}")).collect();
    assert!(!names.is_empty(), "no {ending} in {folder}");
    names
}

#[test]
fn the_module_is_valid_and_in_puppets_style() {
    check(
        "puppet",
        &["parser", "validate", "manifests", "types", "functions"],
    );
    let templates = files("templates", ".epp");
    let mut arguments = vec!["epp", "validate"];
    arguments.extend(templates.iter().map(String::as_str));
    check("puppet", &arguments);
    check(
        "puppet-lint",
        &["--fail-on-warnings", "manifests", "types", "functions"],
    );
    check("metadata-json-lint", &["metadata.json"]);
}

/// REFERENCE.md is made from the comments: `UPDATE_REFERENCE=1` makes it anew.
#[test]
fn the_reference_is_that_of_the_comments() {
    // The program leaves files in its folder.
    let folder = TempDir::new().expect("a folder");
    let copied = run(Command::new("cp")
        .arg("-r")
        .arg(module())
        .arg(folder.path()));
    assert_eq!(copied, (Some(0), String::new()));
    let made = folder.path().join("made.md");
    let (code, written) = run(Command::new("puppet")
        .current_dir(folder.path().join("nats"))
        .args(["strings", "generate", "--format", "markdown", "--out"])
        .arg(&made));
    assert_eq!(code, Some(0), "{written}");
    assert!(written.contains("100.00% documented"), "{written}");
    let made = fs::read_to_string(made).expect("the reference");
    let reference = module().join("REFERENCE.md");
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&reference, &made).expect("write the reference");
    }
    let kept = fs::read_to_string(reference).expect("the reference");
    assert!(
        made == kept,
        "REFERENCE.md is old: run this test with UPDATE_REFERENCE=1"
    );
}

#[test]
fn its_unit_tests_pass() {
    let (code, written) = run(Command::new("rspec").current_dir(module()));
    assert_eq!(code, Some(0), "{written}");
    let summary = written.lines().find(|line| line.contains(" examples, "));
    let count = summary.and_then(|line| line.split(' ').next()?.parse().ok());
    assert!(count > Some(50), "{written}");
}

/// The folders that packages are made from have the module's files, not copies of them.
#[test]
fn the_service_files_are_the_same_for_packages() {
    let project = test_support::tools::project();
    for (link, file) in [
        ("systemd/midge.service", "midge.service"),
        ("sysvinit/midge", "midge.init"),
        ("upstart/midge.conf", "midge.upstart"),
        ("logrotate/midge", "midge.logrotate"),
    ] {
        let target = fs::canonicalize(project.join("conf").join(link));
        let file: PathBuf = module().join("files").join(file);
        assert_eq!(target.expect(link), fs::canonicalize(file).expect("a file"));
    }
}

/// NRPE has the same commands on a host of Puppet's as on one that is set up by hand.
#[test]
fn the_commands_of_nrpe_are_those_that_are_shipped() {
    let commands = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().map(|line| line.trim_start_matches('#'));
        let lines = lines.filter(|line| line.starts_with("command["));
        lines.map(str::to_owned).collect()
    };
    let check = "/usr/lib/nagios/plugins/check_nats";
    let values = format!(
        "{{ health => '{check} --mode health', check => '{check}', \
         state_dir => '/var/lib/nagios/check_nats', members => 3 }}"
    );
    let template = module().join("templates/nrpe.cfg.epp");
    let (code, rendered) = run(Command::new("puppet")
        .args(["epp", "render", "--values", &values])
        .arg(template));
    assert_eq!(code, Some(0), "{rendered}");
    let shipped = test_support::tools::project().join("conf/nagios/nrpe.cfg");
    let shipped = commands(&fs::read_to_string(shipped).expect("the file"));
    assert!(shipped.len() > 5, "{shipped:?}");
    assert_eq!(commands(&rendered), shipped);
}
