//! Mode `restarts`: whether the broker was started since the last run. Mode `uptime` needs no
//! state, but a restart between two runs that are far apart escapes it.

use monitor_client::Varz;

use super::{
    Check, Failure,
    need::{Need, of_run},
    since, uptime_of,
};
use crate::{
    baseline::{Look, Span},
    metric::{RESTARTS_NEW, UPTIME},
    text::{duration, quoted},
};

pub(super) static NEEDS: &[Need] = &[of_run(&[])];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    since::run(check, sample, judge)
}

fn sample(check: &mut Check) -> Result<(Varz, Look), Failure> {
    let varz = check.varz()?;
    let look = Look::of(&varz, [])?;
    Ok((varz, look))
}

fn judge(check: &mut Check, varz: &Varz, span: Option<&Span>) -> Result<(), Failure> {
    let uptime = uptime_of(varz)?;
    let up = format!("up {}", duration(uptime));
    let report = &mut check.report;
    // A name that was not configured is the id, which is new at each start.
    let name = match varz.server_name == varz.server_id {
        true => "the broker".to_owned(),
        false => quoted(&varz.server_name),
    };
    match span {
        None => {}
        Some(span) if span.restarted => {
            let phrase = format!("{name} was restarted {} ago", duration(uptime));
            report.state(RESTARTS_NEW.label, 1_u64, None, &phrase);
        }
        Some(span) => {
            let phrase = format!("no restart {span}");
            report.state(RESTARTS_NEW.label, 0_u64, None, &phrase);
        }
    }
    report.state(UPTIME.label, uptime, None, &up);
    Ok(())
}
