//! Mode `config`: whether the broker runs the configuration that it should.
//!
//! A midge says itself whether its last reload failed, and whether the file on disk is what
//! it runs. Of any broker the digest can be compared, or the time of the file: one that was
//! changed after it was loaded was not reloaded, or not with success.

use std::{fs, path::Path};

use chrono::{DateTime, SecondsFormat, Utc};
use monitor_client::{Explainz, Finding, Kind, Varz};

use super::{
    Check, Failure, Status, explain,
    need::{Need, must, of, of_findings},
    seconds_between,
};
use crate::{
    deadline::Step,
    metric::CONFIG_AGE,
    text::{duration, quoted},
};

/// The findings about the configuration.
const CODES: [&str; 2] = ["reload-failed", "config-differs"];

/// What to do about a file that is newer than what runs.
const RELOAD: &str = "check the file, and reload the broker; its log says why a reload failed";

pub(super) static NEEDS: &[Need] = &[
    of(
        "/varz",
        Step::Varz,
        &[
            must("server_id", Kind::Text),
            must("now", Kind::Text),
            must("config_load_time", Kind::Text),
        ],
    ),
    // Of other brokers the digest and the time of the file are enough.
    of_findings("", &[]),
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let varz = check.varz()?;
    say_findings(check)?;
    if let Some(file) = check.options.file.clone() {
        compare_file(check, &varz, &file);
    }
    let (status, text) = judge(&varz.config_digest, check.options.digest.as_deref());
    check.report.say(status, &text);
    let (loaded, now) = (&varz.config_load_time, &varz.now);
    match seconds_between(loaded, now).filter(|age| *age >= 0.0) {
        Some(age) => {
            let phrase = format!("configuration loaded {} ago", duration(age));
            check.report.state(CONFIG_AGE.label, age, None, &phrase);
        }
        None => {
            let why = format!(
                "the broker's times make no age of its configuration: loaded {}, now {}",
                quoted(loaded),
                quoted(now)
            );
            check.report.missing(CONFIG_AGE.label, &why);
        }
    }
    Ok(())
}

/// States what a midge knows of its configuration.
fn say_findings(check: &mut Check) -> Result<(), Failure> {
    let Some(explained) = check.ask_if_there::<Explainz>("/explainz")? else {
        let text = "the broker has no /explainz: only midge says whether a reload failed";
        check.report.detail(1, text);
        return Ok(());
    };
    let is_about_it = |finding: &&Finding| CODES.contains(&&*finding.code);
    for finding in explained.findings.iter().filter(is_about_it) {
        explain::say(check, finding);
    }
    Ok(())
}

/// Compares the time of a file of this machine with the time at which the broker loaded it.
fn compare_file(check: &mut Check, varz: &Varz, file: &Path) {
    let shown = file.display();
    let changed = match fs::metadata(file).and_then(|metadata| metadata.modified()) {
        Ok(changed) => DateTime::<Utc>::from(changed),
        Err(error) => {
            check
                .report
                .say(Status::Unknown, &format!("{shown}: {error}"));
            return;
        }
    };
    let changed = changed.to_rfc3339_opts(SecondsFormat::Millis, true);
    let loaded = &varz.config_load_time;
    match seconds_between(loaded, &changed) {
        None => {
            let text = format!("the time of the last load is no time: {}", quoted(loaded));
            check.report.say(Status::Unknown, &text);
        }
        Some(later) if later > 0.0 => {
            let text = format!(
                "{shown} was changed {} after the broker loaded it",
                duration(later)
            );
            check.report.advise(Status::Warning, &text, RELOAD);
            check.report.about(&format!("changed: {changed}"));
            check.report.about(&format!("loaded: {loaded}"));
        }
        Some(_) => check
            .report
            .say(Status::Ok, &format!("{shown} not changed since")),
    }
}

fn judge(running: &str, expected: Option<&str>) -> (Status, String) {
    match (running, expected) {
        ("", None) => (Status::Ok, "no digest".to_owned()),
        ("", Some(_)) => (
            Status::Unknown,
            "the broker reports no digest: it has no configuration file or is too old".to_owned(),
        ),
        (running, None) => (Status::Ok, format!("digest {running}")),
        (running, Some(expected)) if bare(running).eq_ignore_ascii_case(bare(expected)) => {
            (Status::Ok, "digest as expected".to_owned())
        }
        (running, Some(_)) => (
            Status::Warning,
            format!("another configuration than expected runs: digest {running}"),
        ),
    }
}

/// The digest without the name of its algorithm, which may be left out.
fn bare(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}
