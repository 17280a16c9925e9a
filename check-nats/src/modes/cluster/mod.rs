//! Mode `cluster`: whether all members of the mesh are there, and agree; of several brokers
//! also whether they are one cluster ([`agreement`]). A midge has a list of members; of a
//! nats-server its configuration is compared with its routes ([`configured`]).

mod agreement;
mod configured;

use monitor_client::{Clusterz, Kind, Routez, Varz};

pub use self::agreement::Member;
pub(super) use self::agreement::compare;

use self::configured::Configured;
use super::{
    Check, Failure, Status,
    need::{Need, SEVERITY, must, of},
};
use crate::{
    deadline::Step,
    metric::{MEMBERS, MEMBERS_MISSING, MESH_PROBLEMS},
    text::{listed, plural, quoted},
};

/// What to do where the broker does not know its members.
const EXPECT: &str = "give --expect NUMBER, the number of members with this one";

/// What to do about a configured peer without a route.
const NO_ROUTE: &str = "the configuration names it: look at that broker, and for errors about \
                        routes in the log of this one; if it is its own address, or not one of a \
                        member, give --expect NUMBER";

/// Addresses that are named.
const NAMED_MAX: usize = 8;

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
            must("disagreements.*.severity", SEVERITY),
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
            must("routes.*.is_configured", Kind::Flag),
        ],
    ),
    // For the comparison with other brokers, and for what the configuration of a nats-server
    // names.
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
    let varz = check.varz()?;
    if !of_midge {
        by_routes(check, &varz, &routez)?;
    }
    if let Some(among) = check.among.clone() {
        let member = Member::new(varz, routez);
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
    members(check, mesh.present, Some(expected));
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

/// A nats-server has no `/clusterz`: what its configuration names is compared with its routes.
fn by_routes(check: &mut Check, varz: &Varz, routez: &Routez) -> Result<(), Failure> {
    let mut ids: Vec<&str> = routez
        .routes
        .iter()
        .map(|route| &*route.remote_id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let present = ids.len() + 1;
    if let Some(expected) = check.options.expect.filter(|expected| present >= *expected) {
        members(check, present, Some(expected));
        return Ok(());
    }
    let configured = configured::compare(check, varz, routez)?;
    let is_known = configured.names_others || !configured.is_clustered;
    let named = (is_known && !configured.is_doubtful).then_some(present + configured.missing);
    members(check, present, check.options.expect.or(named));
    say_configured(check, &configured);
    Ok(())
}

fn say_configured(check: &mut Check, configured: &Configured) {
    let names = listed(&configured.candidates, NAMED_MAX);
    match configured.missing {
        0 => {}
        _ if configured.is_doubtful && check.options.expect.is_none() => {
            let text = format!("{names} has no route, or is the broker's own address");
            check.report.advise(Status::Unknown, &text, EXPECT);
        }
        missing => {
            let which = match missing == configured.candidates.len() {
                true => names,
                false => format!("{missing} of {names}"),
            };
            let text = format!("no route to {which}");
            check.report.advise(Status::Critical, &text, NO_ROUTE);
        }
    }
    for name in &configured.discovered {
        let text = format!(
            "{name} is not named in the broker's configuration: its loss is seen \
                            with --expect only"
        );
        check.report.detail(1, &text);
    }
    // Several brokers are compared with each other.
    let is_decided = check.options.expect.is_some() || check.among.is_some();
    if configured.is_clustered && !configured.names_others && !is_decided {
        let text = "the broker's configuration names no other member: whether one is missing \
                    cannot be seen";
        check.report.advise(Status::Unknown, text, EXPECT);
    }
}

/// Judges the number of members that are there; how many there should be may not be known.
fn members(check: &mut Check, present: usize, expected: Option<usize>) {
    let missing = expected.map(|expected| expected.saturating_sub(present));
    let shown = plural(present, "member");
    check.report.watch(MEMBERS.label, present, None, &shown);
    check.report.total(MEMBERS_MISSING.label, missing);
    let text = match expected {
        Some(expected) => format!("{shown} of {expected}"),
        None => shown,
    };
    let status = match missing {
        None | Some(0) => Status::Ok,
        Some(_) => Status::Critical,
    };
    check.report.say(status, &text);
}
