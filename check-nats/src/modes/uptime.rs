//! Mode `uptime`: whether the broker was restarted lately.

use monitor_client::Kind;

use super::{
    Check, Failure,
    need::{Need, must, of},
    uptime_of,
};
use crate::{deadline::Step, metric::UPTIME_SHORT, text::duration};

pub(super) static NEEDS: &[Need] = &[of(
    "/varz",
    Step::Varz,
    &[
        must("server_id", Kind::Text),
        must("start", Kind::Text),
        must("now", Kind::Text),
    ],
)];

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
