//! Completions of `midge` for shells, made from the table of flags. The tests here compare the
//! files in `conf/completions`; those in `tests/operations` load them in the shells.

use std::fmt::Write as _;

use test_support::generated::assert_up_to_date;

use crate::config::options::{keys::TOP, table::Described as _};

use super::{
    Signal,
    list::FLAGS,
    table::{Flag, dashed},
};

const MADE: &str = "# Made from the table of src/config/flags: do not edit.\n";

/// What may follow a flag.
#[derive(PartialEq, Eq)]
enum Follows {
    Nothing,
    File,
    Folder,
    Signal,
    /// Something that no shell can know.
    Other,
}

fn follows(flag: &Flag) -> Follows {
    match flag.value {
        "" => Follows::Nothing,
        "FILE" => Follows::File,
        "DIR" => Follows::Folder,
        "SIGNAL[=PID]" => Follows::Signal,
        _ => Follows::Other,
    }
}

/// The names of the signals, separated by blanks.
fn signals() -> String {
    Signal::NAMES.replace(',', "")
}

/// What `config explain` takes: the keys, and those of their blocks, separated by blanks.
fn keys() -> String {
    let mut keys = Vec::new();
    for row in TOP.table().rows.iter().filter(|row| row.is_served) {
        keys.push(row.names[0].to_owned());
        // Elsewhere names of the operator's choice are in between.
        if row.form == "block" {
            let inner = row.blocks.iter().flat_map(|table| &table.rows);
            let inner = inner.filter(|inner| inner.is_served);
            keys.extend(inner.map(|inner| format!("{}.{}", row.names[0], inner.names[0])));
        }
    }
    keys.join(" ")
}

fn bash() -> String {
    let cases = [
        (
            Follows::File,
            "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$2\")",
        ),
        (
            Follows::Folder,
            "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$2\")",
        ),
        (
            Follows::Signal,
            "mapfile -t COMPREPLY < <(compgen -W \"$signals\" -- \"$2\")",
        ),
        (Follows::Other, ":"),
    ];
    let cases: String = cases
        .into_iter()
        .map(|(what, action)| {
            let flags = FLAGS.iter().filter(|flag| follows(flag) == what);
            let names: Vec<String> = flags
                .flat_map(|flag| flag.names)
                .map(|name| format!("-{name} | --{name}"))
                .collect();
            format!("    {})\n        {action}\n        ;;\n", names.join(" | "))
        })
        .collect();
    let flags: Vec<String> = FLAGS
        .iter()
        .flat_map(|flag| flag.names)
        .map(|name| dashed(name))
        .collect();
    format!(
        "{MADE}\
_midge() {{
    local signals='{signals}'
    local flags='{flags}'
    if [ \"$COMP_CWORD\" -gt 1 ] && [ \"${{COMP_WORDS[1]}}\" = top ]; then
        # As if midge-top were typed; its completion is beside this one.
        declare -F _midge__top >/dev/null || . \"${{BASH_SOURCE[0]%/*}}/midge-top\"
        COMP_WORDS=(midge-top \"${{COMP_WORDS[@]:2}}\")
        COMP_CWORD=$((COMP_CWORD - 1))
        _midge__top midge-top \"$2\" \"$3\"
        return
    fi
    COMPREPLY=()
    if [ \"$COMP_CWORD\" -gt 1 ] && [ \"${{COMP_WORDS[1]}}\" = config ]; then
        case $COMP_CWORD in
        2) flags=explain ;;
        3) flags+=' {keys}' ;;
        esac
    fi
    case $3 in
{cases}    *)
        [ \"$COMP_CWORD\" -gt 1 ] || flags+=' config top help version'
        mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- \"$2\")
        ;;
    esac
}}
complete -F _midge midge
",
        signals = signals(),
        flags = flags.join(" "),
        keys = keys(),
    )
}

fn zsh() -> String {
    let mut specs = String::new();
    for flag in FLAGS {
        let doc = flag.doc();
        let doc = doc.replace('\'', "'\\''");
        // Signs that end the text for zsh.
        let doc = doc
            .replace('[', "\\[")
            .replace(']', "\\]")
            .replace(':', "\\:");
        let value = match follows(flag) {
            Follows::Nothing => String::new(),
            Follows::File => ":file:_files".into(),
            Follows::Folder => ":folder:_files -/".into(),
            Follows::Signal => format!(":signal:({})", signals()),
            Follows::Other => format!(":{}: ", flag.value.replace(':', "\\:")),
        };
        for name in flag.names {
            let _ = writeln!(specs, "    '{}[{doc}]{value}' \\", dashed(name));
        }
    }
    format!(
        "#compdef midge\n{MADE}\
if (( CURRENT > 2 )) && [[ $words[2] == top ]]; then
  shift words
  (( CURRENT-- ))
  words[1]=midge-top
  _midge-top
  return
fi
if (( CURRENT > 2 )) && [[ $words[2] == config ]]; then
  if (( CURRENT == 3 )); then
    compadd explain
    return
  fi
  if (( CURRENT == 4 )); then
    compadd -- {keys}
  fi
  shift 2 words
  (( CURRENT -= 2 ))
fi
_arguments \\
{specs}    '1:command:((config\\:\"explain the configuration\" top\\:\"what is wrong with a broker, live\" help\\:\"show the help\" version\\:\"show the version\"))'
",
        keys = keys(),
    )
}

fn fish() -> String {
    let mut text = format!(
        "{MADE}\
complete -c midge -f
complete -c midge -n __fish_use_subcommand -a config -d 'Explain the configuration'
complete -c midge -n '__fish_seen_subcommand_from config; and not __fish_seen_subcommand_from explain' -a explain -d 'Each setting, its value and where it comes from'
complete -c midge -n '__fish_seen_subcommand_from config; and __fish_seen_subcommand_from explain' -a '{keys}'
complete -c midge -n __fish_use_subcommand -a top -d 'What is wrong with a broker, live'
complete -c midge -n __fish_use_subcommand -a help -d 'Show the help'
complete -c midge -n __fish_use_subcommand -a version -d 'Show the version'
complete -c midge -n '__fish_seen_subcommand_from top' -a '(complete --do-complete (string replace --regex \"^\\\\s*\\\\S+\\\\s+top\" midge-top (commandline --cut-at-cursor)))'
",
        keys = keys()
    );
    for flag in FLAGS {
        let names: Vec<String> = flag
            .names
            .iter()
            .map(|name| match (name.len(), dashed(name).starts_with("--")) {
                (1, _) => format!("-s {name}"),
                (_, true) => format!("-l {name}"),
                (_, false) => format!("-o {name}"),
            })
            .collect();
        let value = match follows(flag) {
            Follows::Nothing => "",
            Follows::File => " -r -F",
            Follows::Folder => " -x -a '(__fish_complete_directories)'",
            Follows::Signal => &format!(" -x -a '{}'", signals()),
            Follows::Other => " -x",
        };
        let doc = flag.doc().replace('\\', "\\\\").replace('\'', "\\'");
        let _ = writeln!(
            text,
            "complete -c midge -n 'not __fish_seen_subcommand_from top' {}{value} -d '{doc}'",
            names.join(" ")
        );
    }
    text
}

#[test]
fn the_completions_are_up_to_date() {
    assert_up_to_date("conf/completions/bash/midge", &bash());
    assert_up_to_date("conf/completions/zsh/_midge", &zsh());
    assert_up_to_date("conf/completions/fish/midge.fish", &fish());
}
