//! Mode `uptime`: whether the broker was restarted lately.

use super::{
    Check, Failure,
    need::{Need, of_run},
    uptime_of,
};
use crate::{metric::UPTIME_SHORT, text::duration};

pub(super) static NEEDS: &[Need] = &[of_run(&[])];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let varz = check.varz()?;
    let uptime = uptime_of(&varz)?;
    let phrase = format!(
        "up {} since {}",
        duration(uptime),
        whole_seconds(&varz.start)
    );
    check
        .report
        .state(UPTIME_SHORT.label, uptime, None, &phrase);
    Ok(())
}

/// An RFC 3339 time without the fraction of its seconds.
fn whole_seconds(time: &str) -> String {
    match chrono::DateTime::parse_from_rfc3339(time) {
        Ok(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        Err(_) => time.to_owned(),
    }
}
