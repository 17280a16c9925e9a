//! Mode `cluster`: whether all members of the mesh are there, and agree; of several brokers
//! also whether they are one cluster ([`agreement`]).

mod agreement;

use monitor_client::{Clusterz, Kind, Routez};

pub use self::agreement::Member;
pub(super) use self::agreement::compare;

use super::{
    Check, Failure, Status,
    need::{Need, must, of},
};
use crate::{
    deadline::Step,
    metric::{MEMBERS, MEMBERS_MISSING, MESH_PROBLEMS},
    text::{plural, quoted},
};

pub(super) static NEEDS: &[Need] = &[
    of(
        "/clusterz",
        Step::Clusterz,
        &[
            must("server_id", Kind::Text),
            must("expected", Kind::Positive),
            must("present", Kind::Positive),
            must("members", Kind::List),
            must("members.*.own", Kind::Flag),
            must("members.*.connected", Kind::Flag),
            must("members.*.leaving", Kind::Flag),
            must("disagreements", Kind::List),
            must("disagreements.*.code", Kind::Text),
            must(
                "disagreements.*.severity",
                Kind::Word(&["info", "warning", "critical"]),
            ),
        ],
    ),
    of(
        "/routez",
        Step::Clusterz,
        &[
            must("now", Kind::Text),
            must("num_routes", Kind::Count),
            must("routes", Kind::List),
            must("routes.*.remote_id", Kind::Text),
        ],
    ),
    // For the comparison with other brokers.
    of(
        "/varz",
        Step::Varz,
        &[must("server_id", Kind::Text), must("version", Kind::Text)],
    ),
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let mesh: Option<Clusterz> = check.ask_if_there("/clusterz")?;
    let of_midge = mesh.is_some();
    if let Some(mesh) = mesh {
        by_members(check, mesh);
    }
    if of_midge && check.among.is_none() {
        return Ok(());
    }
    let routez: Routez = check.ask("/routez")?;
    if !of_midge {
        by_routes(check, &routez);
    }
    if let Some(among) = check.among.clone() {
        let member = Member::new(check.varz()?, routez);
        among
            .shared
            .with_members(|members| members[among.number] = Some(member));
    }
    Ok(())
}

fn by_members(check: &mut Check, mesh: Clusterz) {
    let expected = check.options.expect.unwrap_or(mesh.expected);
    let missing: Vec<_> = mesh
        .members
        .iter()
        .filter(|m| !m.own && !m.connected && !m.leaving)
        .collect();
    members(check, mesh.present, expected);
    let problems = mesh.disagreements.len() as f64;
    check.report.total(MESH_PROBLEMS.label, Some(problems));
    for member in missing {
        let text = format!(
            "{} is missing: {}",
            quoted(&member.name),
            quoted(&member.error)
        );
        check.report.say(Status::Critical, &text);
    }
    for problem in &mesh.disagreements {
        let status = match &*problem.severity {
            "info" => Status::Ok,
            "warning" => Status::Warning,
            _ => Status::Critical,
        };
        let text = format!(
            "{} {}: {} (for {:.0} s)",
            problem.code,
            quoted(&problem.subject),
            problem.text,
            problem.age
        );
        // The missing ones were already listed in short.
        match problem.code == "route-missing" || status == Status::Ok {
            true => check.report.detail(1, &text),
            false => check.report.say(status, &text),
        }
    }
}

/// A nats-server has no `/clusterz`: it reports only its own routes.
fn by_routes(check: &mut Check, routez: &Routez) {
    let mut ids: Vec<&str> = routez
        .routes
        .iter()
        .map(|route| &*route.remote_id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let present = ids.len() + 1;
    let expected = check.options.expect.unwrap_or(present);
    check.report.detail(
        1,
        "the broker has no /clusterz: only its own routes were counted",
    );
    members(check, present, expected);
}

/// Judges the number of members that are there.
fn members(check: &mut Check, present: usize, expected: usize) {
    let missing = expected.saturating_sub(present);
    let (present, limit) = (present as f64, expected as f64);
    check.report.watch(MEMBERS.label, present, None, "");
    check
        .report
        .total(MEMBERS_MISSING.label, Some(missing as f64));
    let text = format!("{} of {limit}", plural(present, "member"));
    let status = match missing {
        0 => Status::Ok,
        _ => Status::Critical,
    };
    check.report.say(status, &text);
}
