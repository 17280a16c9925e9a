//! Mode `config`: whether the broker runs the configuration that it should.

use monitor_client::Kind;

use super::{
    Check, Failure, Status,
    need::{Need, must, of},
    seconds_between,
};
use crate::{
    deadline::Step,
    metric::CONFIG_AGE,
    text::{duration, quoted},
};

pub(super) static NEEDS: &[Need] = &[of(
    "/varz",
    Step::Varz,
    &[
        must("server_id", Kind::Text),
        must("now", Kind::Text),
        must("config_load_time", Kind::Text),
    ],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let varz = check.varz()?;
    match seconds_between(&varz.config_load_time, &varz.now) {
        Some(age) => {
            let phrase = format!("configuration loaded {} ago", duration(age));
            check.report.state(CONFIG_AGE.label, age, None, &phrase);
        }
        None => {
            let why = "the broker does not report when it loaded its configuration";
            check.report.missing(CONFIG_AGE.label, why);
        }
    }
    let expected = check.options.digest.as_deref();
    let (status, text) = judge(&varz.config_digest, expected);
    check.report.say(status, &text);
    Ok(())
}

fn judge(running: &str, expected: Option<&str>) -> (Status, String) {
    match (running, expected) {
        ("", None) => (Status::Ok, "no digest".to_owned()),
        ("", Some(_)) => (
            Status::Unknown,
            "the broker reports no digest: it has no configuration file or is too old".to_owned(),
        ),
        (running, None) => (Status::Ok, format!("digest {}", quoted(running))),
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
