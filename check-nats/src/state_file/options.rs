//! The options of the state: which runs share it, where it is, and for how long it says an
//! alert again.

use std::{path::PathBuf, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use clap::ArgMatches;

use crate::{
    args::verdict_arguments,
    modes::{Compares, Mode},
    options::parse_duration,
};

/// The longest time that an alert may be held.
const HOLD_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Characters of a name of `--state`.
const NAME_CHARS_MAX: usize = 64;

/// What a mode that compares with the last run keeps, and where.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// Folder of the state files; `None` for the default one.
    pub(super) folder: Option<PathBuf>,
    /// Begins the file's name.
    mode: &'static str,
    /// Name that the operator gave to the state.
    shared: Option<String>,
    /// All that was typed and that the verdict depends on.
    arguments: String,
    /// Whether the next run is to compare with this one.
    pub is_updated: bool,
    /// For how long an alert is said again.
    pub hold: Duration,
}

impl StateOptions {
    /// From the command line.
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn new(matches: &ArgMatches, mode: &Mode) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        for option in ["hold", "state"] {
            if text(option).is_none() {
                continue;
            }
            if mode.compares == Compares::Nothing {
                return Err(format!(
                    "--{option} has no effect in mode {}: it compares nothing",
                    mode.name
                ));
            }
            if text("sample").is_some() {
                return Err(format!("--{option} has no effect with --sample"));
            }
        }
        let hold = match text("hold") {
            Some(_) if mode.compares == Compares::Rates => {
                return Err(format!(
                    "--hold has no effect in mode {}: a rate is no event",
                    mode.name
                ));
            }
            Some(time) => parse_duration("--hold", time)?,
            None => Duration::ZERO,
        };
        if hold > HOLD_MAX {
            return Err("--hold: at most 7d".to_owned());
        }
        if let Some(name) = text("state") {
            check_name(name)?;
        }
        Ok(Self {
            folder: matches.get_one("state-dir").cloned(),
            mode: mode.name,
            shared: text("state").map(str::to_owned),
            arguments: verdict_arguments(matches),
            is_updated: !matches.get_flag("no-state-update"),
            hold,
        })
    }

    /// Name of the file for the broker at this monitoring port, without the part that is the same
    /// for all of a user.
    pub(super) fn name(&self, target: &str) -> String {
        match &self.shared {
            Some(name) => format!("{}-{name}-{}", self.mode, hash(target)),
            None => {
                let key = format!("{target}\n{}", self.arguments);
                format!("{}-{}", self.mode, hash(&key))
            }
        }
    }
}

/// A name that is a part of a file's name.
fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(()),
        false => Err(format!(
            "--state: a name has 1 to {NAME_CHARS_MAX} letters, digits, dots, hyphens and \
             underscores"
        )),
    }
}

/// The beginning of the SHA-256, in hexadecimal: the same in all versions.
fn hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let bytes = hash.as_ref().iter().take(16);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args, brokers::Brokers, options::Options};

    fn name_for(arguments: &[&str]) -> Result<String, String> {
        let arguments = ["check_nats"].iter().chain(arguments);
        match args::read(arguments.map(Into::into), "") {
            args::Asked::Check(matches) => {
                let options = Options::new(&matches)?;
                match &options.brokers {
                    Brokers::One(target) => Ok(options.state.name(&target.monitor_place())),
                    _ => Err("more than one broker".to_owned()),
                }
            }
            _ => Err("no check".to_owned()),
        }
    }

    #[test]
    fn a_state_belongs_to_all_that_the_verdict_depends_on() {
        let slow = |more: &[&str]| name_for(&[&["--mode", "slow"], more].concat()).unwrap();
        let plain = slow(&[]);
        assert_eq!(plain, slow(&["-v", "-t", "20", "--format", "json"]));
        assert_eq!(plain, slow(&["--no-state-update"]));
        let others = [
            &["--service-name", "NOC"][..],
            &["-w", "10"],
            &["-w", "10", "-c", "20"],
            &["--hold", "15m"],
            &["-m", "8223"],
            &["-u", "http://127.0.0.1:8222/base"],
            &["-H", "localhost"],
            &["-p", "4223"],
            // Text of one option that looks like two.
            &["--service-name", "NOC\"\nwarning=\"10"],
        ];
        let mut names: Vec<String> = others.map(slow).into();
        names.extend([plain, name_for(&["--mode", "traffic"]).unwrap()]);
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        for name in &names {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_state_with_a_name_is_shared() {
        let slow = |more: &[&str]| name_for(&[&["--mode", "slow"], more].concat());
        let shared = slow(&["--state", "both", "-w", "1"]).unwrap();
        assert_eq!(shared, slow(&["--state", "both", "-w", "2"]).unwrap());
        assert_ne!(shared, slow(&["--state", "other"]).unwrap());
        assert_ne!(shared, slow(&["--state", "both", "-m", "1"]).unwrap());
        for name in ["", "a/b", "../x", "ä", &"x".repeat(65)] {
            let error = slow(&["--state", name]).unwrap_err();
            assert!(error.starts_with("--state: a name has"), "{error}");
        }
    }

    #[test]
    fn options_without_effect_are_refused() {
        for (arguments, words) in [
            (&["--mode", "health", "--hold", "1m"][..], "mode health"),
            (&["--mode", "health", "--state", "x"], "mode health"),
            (&["--mode", "traffic", "--hold", "1m"], "no event"),
            (&["--mode", "slow", "--hold", "8d"], "at most 7d"),
            (&["--mode", "slow", "--hold", "x"], "--hold"),
            (
                &["--mode", "slow", "--hold", "1m", "--sample", "1s"],
                "with --sample",
            ),
        ] {
            let error = name_for(arguments).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
