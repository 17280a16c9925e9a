//! Completions of `midge-top` for shells, made from the command line. The test compares the
//! files in `conf/completions`.

use clap_complete::{Shell, generate};
use test_support::generated::assert_up_to_date;

use super::arguments::command;

#[test]
fn the_completions_are_up_to_date() {
    for (shell, file) in [
        (Shell::Bash, "bash/midge-top"),
        (Shell::Zsh, "zsh/_midge-top"),
        (Shell::Fish, "fish/midge-top.fish"),
    ] {
        let mut script = Vec::new();
        let mut command = command().bin_name("midge-top");
        generate(shell, &mut command, "midge-top", &mut script);
        let script = String::from_utf8(script).expect("text");
        assert_up_to_date(&format!("conf/completions/{file}"), &script);
    }
}
