//! Completions of `midge` and `midge top`, in the shells themselves.

use std::process::Command;

use test_support::tools::{on_path, project};

/// Runs a shell in the folder of its completions; returns the words that it prints. An error
/// message fails the test.
fn shell(program: &str, arguments: &[&str]) -> Vec<String> {
    assert!(
        on_path(program).is_some(),
        "this test needs {program}: `apt-get install {program}`"
    );
    let output = Command::new(program)
        .args(arguments)
        .current_dir(project().join("conf/completions").join(program))
        .output()
        .expect("run the shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{program} {arguments:?}: {errors}"
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().map(str::to_owned).collect()
}

/// What bash offers for the last of these words.
fn bash(words: &[&str]) -> Vec<String> {
    let [.., previous, current] = words else {
        panic!("the program and a word");
    };
    let text = format!(
        "compopt() {{ :; }}; source $PWD/midge; COMP_WORDS=({}); COMP_CWORD={}; \
         _midge midge '{current}' '{previous}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted(words),
        words.len() - 1,
    );
    shell("bash", &["--norc", "-c", &text])
}

/// What fish offers for the last word of this line.
fn fish(line: &str) -> Vec<String> {
    let text = format!("source midge.fish; source midge-top.fish; complete --do-complete '{line}'");
    shell("fish", &["--no-config", "-c", &text])
}

/// What zsh's completion asks `_arguments` for.
fn zsh(words: &[&str]) -> Vec<String> {
    let text = format!(
        "_arguments() {{ print -rl -- \"$@\" }}; _midge-top() {{ print -r -- top: $words }}; \
         compadd() {{ print -r -- compadd: ${{@:#--}} }}; \
         words=({}); CURRENT={}; f() {{ source ./_midge }}; f",
        quoted(words),
        words.len(),
    );
    shell("zsh", &["-f", "-c", &text])
}

/// The words, quoted for a shell.
fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    words.join(" ")
}

fn has(offered: &[String], word: &str) -> bool {
    offered.iter().any(|it| it == word)
}

#[test]
fn flags_and_signals_are_completed() {
    let offered = bash(&["midge", "--con"]);
    assert_eq!(offered, ["--config", "--connect_retries"]);
    let offered = bash(&["midge", ""]);
    for word in ["--addr", "-t", "-DV", "--routes", "top", "version"] {
        assert!(has(&offered, word), "{word}: {offered:?}");
    }
    assert_eq!(bash(&["midge", "-signal", "rel"]), ["reload"]);
    assert_eq!(bash(&["midge", "-c", "midge-t"]), ["midge-top"]);
    assert_eq!(bash(&["midge", "--port", ""]), [""; 0]);

    let offered = fish("midge --con");
    assert!(
        has(&offered, "--config") && has(&offered, "--connect_retries"),
        "{offered:?}"
    );
    assert!(has(&fish("midge --signal rel"), "reload"));
    assert!(has(&fish("midge -c midge-t"), "midge-top.fish"));
    assert!(has(&fish("midge to"), "top"));

    let offered = zsh(&["midge", ""]).join(" ");
    for spec in [
        "--config[Configuration file; flags override it]:file:_files",
        "-DVV[-D and -VV]",
        "--signal[Signal a running broker",
        ":signal:(ldm quit reload reopen stop term upgrade)",
    ] {
        assert!(offered.contains(spec), "{spec}: {offered}");
    }
}

#[test]
fn config_explain_is_completed() {
    assert!(has(&bash(&["midge", "conf"]), "config"));
    assert_eq!(bash(&["midge", "config", ""]), ["explain"]);
    let offered = bash(&["midge", "config", "explain", "max_p"]);
    for key in ["max_payload", "max_pending"] {
        assert!(has(&offered, key), "{offered:?}");
    }
    let offered = bash(&["midge", "config", "explain", "monitor.un"]);
    assert_eq!(offered, ["monitor.unix", "monitor.unix_mode"]);
    let offered = bash(&["midge", "config", "explain", "port", "--con"]);
    assert_eq!(offered, ["--config", "--connect_retries"]);

    assert!(has(&fish("midge conf"), "config"));
    assert!(has(&fish("midge config "), "explain"));
    assert!(has(&fish("midge config explain max_p"), "max_payload"));

    assert!(zsh(&["midge", ""]).join(" ").contains("config\\:"));
    assert_eq!(zsh(&["midge", "config", ""]), ["compadd:", "explain"]);
    let offered = zsh(&["midge", "config", "explain", ""]);
    assert!(has(&offered, "monitor.unix"), "{offered:?}");
    assert!(has(&offered, "-t[Test"), "{offered:?}");
}

#[test]
fn options_of_midge_top_are_completed() {
    assert_eq!(bash(&["midge", "top", "--so"]), ["--socket", "--sort"]);
    let offered = bash(&["midge", "top", "--state", ""]);
    assert_eq!(offered, ["open", "closed", "any"]);
    assert!(has(&fish("midge top --stat"), "--state"));
    assert!(has(&fish("midge top --state clo"), "closed"));
    assert_eq!(
        zsh(&["midge", "top", "--so"]).join(" "),
        "top: midge-top --so"
    );
}
