//! Completions for shells, in the shells themselves.

use std::{fs, process::Command};

use check_nats::{args, modes::MODES};

use super::plugin::run;
use test_support::{generated, tools::on_path};

fn script(shell: &str) -> tempfile::NamedTempFile {
    let (code, script) = run(&["--completions", shell]);
    assert_eq!(code, 3);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), script).expect("written");
    file
}

/// Runs a shell; returns what it prints. An error message fails the test.
fn shell(program: &str, arguments: &[&str]) -> String {
    assert!(
        on_path(program).is_some(),
        "this test needs {program}: `apt-get install {program}`"
    );
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("run the shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{program}: {errors}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn bash_completes_options_and_their_values() {
    let file = script("bash");
    let complete = |words: &str, current: &str, previous: &str| {
        let text = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _check_nats check_nats {current:?} {previous:?}; echo \"${{COMPREPLY[@]}}\"",
            file.path().display()
        );
        shell("bash", &["--norc", "-c", &text])
    };
    let all = complete("check_nats -", "-", "check_nats");
    for option in args::command().get_arguments() {
        let long = option.get_long().expect("a long name");
        assert!(
            all.split_whitespace()
                .any(|word| word == format!("--{long}")),
            "{long}: {all}"
        );
    }
    let options = complete("check_nats --no-s", "--no-s", "check_nats");
    assert_eq!(options.trim(), "--no-state-update");
    let modes = complete("check_nats --mode ''", "", "--mode");
    for mode in MODES {
        assert!(
            modes.split_whitespace().any(|word| word == mode.name),
            "{modes}"
        );
    }
}

#[test]
fn zsh_and_fish_read_their_scripts() {
    let file = script("zsh");
    shell("zsh", &["-n", &file.path().display().to_string()]);
    let file = script("fish");
    let text = format!(
        "source {}; complete --do-complete 'check_nats --mode lo'",
        file.path().display()
    );
    let modes = shell("fish", &["--no-config", "-c", &text]);
    assert!(
        modes.contains("losses") && modes.contains("logins"),
        "{modes}"
    );
}

/// The installed scripts are those that the program prints.
#[test]
fn the_completions_are_up_to_date() {
    for (shell, file) in [
        ("bash", "bash/check_nats"),
        ("zsh", "zsh/_check_nats"),
        ("fish", "fish/check_nats.fish"),
    ] {
        let (_, script) = run(&["--completions", shell]);
        generated::assert_up_to_date(&format!("conf/completions/{file}"), &script);
    }
}
